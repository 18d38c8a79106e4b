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
        Command::Status(args) => listing::status(&connect(cli, None)?, args),
        Command::List(args) => listing::list(&connect(cli, args.namespace.netns.as_deref())?, args),
        Command::Show(args) => listing::show(&connect(cli, args.namespace.netns.as_deref())?, args),
        Command::Load(args) => load::load(cli, args),
        Command::Unload(args) => changing::unload(cli, args),
        Command::Reorder(args) => changing::reorder(cli, args),
        Command::Set(args) => changing::set(cli, args),
        Command::Replace(args) => load::replace(cli, args),
        Command::Config(args) => changing::config(cli, args),
    }
}

fn connect(cli: &Cli, netns: Option<&str>) -> Result<Client, Failure> {
    let mut builder = Client::builder().name("dispatchctl");
    if let Some(socket) = &cli.socket {
        builder = builder.socket(socket);
    }
    if let Some(netns) = netns {
        builder = builder.netns(NetNs::from(netns));
    }
    builder.connect().map_err(Failure::from)
}
