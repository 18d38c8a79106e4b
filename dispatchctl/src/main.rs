//! The operator's command line: shows the chains and changes them.
#![forbid(unsafe_code)]

mod args;
mod changing;
mod digest;
mod failure;
mod json;
mod listing;
mod load;
mod map_type;
mod output;
mod remedy;
mod render;
#[cfg(test)]
mod samples;
mod table;
mod usage;
mod values;

use std::process::ExitCode;

use args::{Cli, Command};
use failure::Failure;
use libdispatch::{Client, NetNs};

fn main() -> ExitCode {
    let cli = Cli::parse_checked();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.command.wants_json()),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Status(args) => listing::status(&connect(cli, None, None)?, args),
        Command::List(args) => {
            let (netns, interface) = (&args.namespace.netns, &args.interface);
            let client = connect(cli, netns.as_deref(), interface.as_deref())?;
            listing::list(&client, args)
        }
        Command::Show(args) => {
            let netns = args.namespace.netns.as_deref();
            listing::show(&connect(cli, netns, Some(&args.interface))?, args)
        }
        Command::Load(args) => load::load(cli, args),
        Command::Unload(args) => changing::unload(cli, args),
        Command::Reorder(args) => changing::reorder(cli, args),
        Command::Set(args) => changing::set(cli, args),
        Command::Replace(args) => load::replace(cli, args),
        Command::Config(args) => changing::config(cli, args),
    }
}

/// A connection for a command about this interface, if it is about one.
fn connect(cli: &Cli, netns: Option<&str>, interface: Option<&str>) -> Result<Client, Failure> {
    let mut builder = Client::builder().name("dispatchctl");
    if let Some(socket) = &cli.socket {
        builder = builder.socket(socket);
    }
    if let Some(netns) = netns {
        builder = builder.netns(NetNs::from(netns));
    }
    builder.connect().map_err(|error| match interface {
        Some(interface) => Failure::on(interface)(error),
        None => error.into(),
    })
}
