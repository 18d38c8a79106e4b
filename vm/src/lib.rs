//! Runs programs under another kernel: a virtual machine for one command.
//!
//! ```no_run
//! # fn main() -> Result<(), vm::Error> {
//! let kernel = vm::Kernel::debian(vm::Series::V6_1)?;
//! let output = vm::Vm::new(&kernel)
//!     .binary("target/debug/dispatchctl".as_ref())
//!     .command(["dispatchctl", "--version"])
//!     .output()?;
//! assert_eq!(output.exit, vm::Exit::Code(0));
//! # Ok(())
//! # }
//! ```
//!
//! The machine has no disk and no network: an initial RAM disk carries the command, the files that it
//! is given, the shared libraries that they need, and ordinary tools (`ip`, `ping`, `ethtool`, `bpftool`,
//! `strace`, `xdp-loader` and its kin, busybox). `vm-init`, which cargo builds beside the program that
//! uses this library, is its first process: it mounts what programs expect, loads modules, runs the
//! command as root and says how it ended.
//!
//! Kernel log, standard output, standard error and the exit report have a serial port each, so nothing
//! that a program or a dying kernel prints can look like another. A machine that panics, hangs or stops
//! without a report is an [`Error::Guest`], which names the file that its console log was kept in.
//!
//! QEMU emulates the processor, so this runs where nested virtualisation doesn't. Nothing is left behind,
//! however the program that uses this library ends: the machine dies with it, and its files have no name.

#![forbid(unsafe_code)]

mod apt;
mod disk;
mod error;
mod host;
mod kernel;
mod libraries;
mod machine;
mod modules;
pub mod orders;
mod qemu;

pub use error::{Error, Problem, Result};
pub use host::cache;
pub use kernel::{Kernel, Series};
pub use machine::{Exit, Output, Vm};

/// Where the guest looks for programs.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/usr/sbin";
