//! `firewall`: see `firewall --help` and docs/firewall.md.

mod args;
mod batch;
mod event;
mod file;
mod maps;
mod member;
mod parse;
mod rules;
mod run;
mod tables;
mod waves;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("firewall"),
    }
}
