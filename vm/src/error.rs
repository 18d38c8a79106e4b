//! What can go wrong.

use std::path::PathBuf;
use std::process::{ExitStatus, Output};
use std::{fmt, io};

/// Why a machine did not run its command to an end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// The file or the process, and what was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A program of the host failed.
    #[error("{program} failed ({status}): {said}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
    /// The host lacks a program.
    #[error("there is no {0} here: `cargo xtask packages` installs what is needed")]
    NoProgram(String),
    /// No kernel of a series is to be had.
    #[error("{0}")]
    NoKernel(String),
    /// The kernel has no such module.
    #[error("the kernel has neither a file nor built-in code for module {0}")]
    NoModule(String),
    /// The guest failed, not its command.
    #[error("the machine {problem}; its console: {}", console.display())]
    Guest {
        /// What the guest did.
        problem: Problem,
        /// Where its console log was kept.
        console: PathBuf,
    },
}

/// How a guest failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its kernel said so.
    Panicked(String),
    /// It was stopped after so many seconds.
    TimedOut(u64),
    /// It ended and didn't say how its command did.
    NoReport(ExitStatus),
    /// Its first process could not do its work.
    Init(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(line) => write!(f, "panicked ({line})"),
            Self::TimedOut(seconds) => write!(f, "was not done after {seconds} s"),
            Self::NoReport(status) => write!(f, "stopped without a report (QEMU: {status})"),
            Self::Init(message) => write!(f, "could not run its command: {message}"),
        }
    }
}

/// What this library's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: an I/O error at this.
    pub(crate) fn at(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }

    /// A program's failure.
    pub(crate) fn of(program: &str, output: &Output) -> Self {
        Self::Program {
            program: program.to_owned(),
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }
}
