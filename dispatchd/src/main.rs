//! `dispatchd`: see `dispatchd --help`.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use dispatchd::args::{Args, LogFormat};
use dispatchd::{daemon, loader};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    if loader::is_parent(std::env::args_os().next().as_deref()) {
        return loader::run_parent();
    }
    let args = Args::parse();
    init_log(args.log_format);
    match &args.flush {
        Some(interface) => daemon::flush(&args, interface),
        None => daemon::run(&args),
    }
}

fn init_log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("DISPATCHD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Standard error may be a pipe whose reader is gone: no reason to stop.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
