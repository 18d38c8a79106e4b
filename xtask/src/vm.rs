//! Runs a command under another kernel, in QEMU.

mod artifacts;
mod lines;
pub(crate) mod suite;

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::time::Duration;

use vm::{Exit, Kernel, Series, Vm};

use crate::command::Failure;
use crate::packages;
use artifacts::Artifacts;

/// `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// 6.1 or 6.12 for Debian's, or a kernel image; modules of `…/boot/vmlinuz-RELEASE` are taken
    /// from `…/lib/modules/RELEASE`
    #[arg(long, value_name = "KERNEL", default_value = "6.1")]
    kernel: Choice,

    /// Run a shell
    #[arg(long, conflicts_with = "command")]
    shell: bool,

    /// Let the guest's clock count its instructions, on one processor
    #[arg(long)]
    icount: bool,

    /// Carry the tests' binaries as well: `tests-swap`, `dispatchd-objects`, …
    #[arg(long)]
    tests: bool,

    /// Stop the guest after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,

    /// What to run in the guest, as root
    #[arg(last = true, required_unless_present = "shell")]
    command: Vec<String>,
}

/// Which kernel to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Debian's newest of a series.
    Debian(Series),
    /// The one in this file.
    Image(PathBuf),
}

/// Runs the command; its exit code is this task's.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match run_command(arguments) {
        Ok(Exit::Code(code)) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        // What shells say of a command that a signal ended.
        Ok(Exit::Signal(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(arguments: &Arguments) -> Result<Exit, Failure> {
    packages::ensure(&[packages::BUILD, packages::VM])?;
    let artifacts = Artifacts::build(arguments.tests)?;
    let mut machine = artifacts.carried_by(Vm::new(&arguments.kernel.fetch()?));
    if arguments.icount {
        machine = machine.count_instructions();
    }
    let ended = if arguments.shell {
        machine.command(shell()).interactive()
    } else {
        let timeout = Duration::from_secs(arguments.timeout);
        let command = arguments.command.iter().map(String::as_str);
        machine.command(command).timeout(timeout).status()
    };
    ended.map_err(|error| Failure::new(error.to_string()))
}

/// A shell on a terminal of the size that ours has.
fn shell() -> Vec<String> {
    let size = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .filter(|size| size.split_whitespace().count() == 2)
        .unwrap_or_else(|| "24 80".to_owned());
    let (rows, columns) = size.trim().split_once(' ').unwrap_or(("24", "80"));
    let script = format!("stty rows {rows} cols {columns}; exec setsid -c bash");
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

impl Choice {
    /// The kernel's files.
    pub(crate) fn fetch(&self) -> Result<Kernel, Failure> {
        let kernel = match self {
            Self::Debian(series) => Kernel::debian(*series),
            Self::Image(path) => Kernel::at(path),
        };
        kernel.map_err(|error| Failure::new(error.to_string()))
    }
}

impl FromStr for Choice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let series = Series::ALL.into_iter().find(|series| series.name() == text);
        Ok(series.map_or_else(|| Self::Image(text.into()), Self::Debian))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(series) => write!(f, "{}", series.name()),
            Self::Image(path) => write!(f, "{}", path.display()),
        }
    }
}
