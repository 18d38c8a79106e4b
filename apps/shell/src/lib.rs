//! What every application's process has in common: the signals that it waits for, what it shows,
//! its errors and its exit codes.
#![forbid(unsafe_code)]

mod failure;
mod show;
mod signals;

pub use failure::{Failure, means_unregistered};
pub use show::show;
pub use signals::{Signal, Signals, Woken};

/// The end of every application's `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done, or ended by a signal
  1  refused or failed; the reason is on standard error
  2  the command line makes no sense
  3  dispatchd can't be reached";

/// What `--help` says of `--socket`.
pub const SOCKET_HELP: &str =
    "Where dispatchd listens [default: $DISPATCHD_SOCKET, else /run/dispatchd/dispatchd.sock]";
