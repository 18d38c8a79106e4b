//! `stats`: see `stats --help` and docs/stats.md.
#![forbid(unsafe_code)]

mod args;
mod member;
mod report;
mod table;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match watch::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("stats"),
    }
}
