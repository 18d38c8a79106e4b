//! `xsk-echo`: see `xsk-echo --help` and docs/xsk-echo.md.
#![forbid(unsafe_code)]

mod args;
mod local;
mod netns;
mod open;
mod report;
mod run;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("xsk-echo"),
    }
}
