//! The firewall application, and for tests and measurements what its rules are made of.

#![deny(unsafe_code)]

mod args;
mod client;
mod commands;
mod control;
mod event;
mod file;
mod half;
mod hits;
mod ids;
mod listing;
mod member;
#[expect(unsafe_code, reason = "maps as memory")]
mod memory;
mod parse;
mod rules;
mod run;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

pub use memory::{Descriptors, Memory};
pub use parse::{Fault, parse};
pub use rules::Policy;
pub use table::{Difference, NoRoom, Table};

/// The application: does what the command line says.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let done = match (&args.run, &args.command) {
        (_, Some(command)) => client::run(command),
        (Some(args), None) => run::run(args),
        (None, None) => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("firewall"),
    }
}
