//! What the host tells the guest's first process, and what that reports.
//!
//! The orders are files in the guest's [`FOLDER`]; the report is one line on its own serial port.

use std::io;
use std::path::Path;

use crate::Exit;

/// Where the orders are in the guest.
pub const FOLDER: &str = "/vm";
/// The command's words, each ended by a zero byte.
pub const COMMAND: &str = "command";
/// Its environment, likewise.
pub const ENVIRONMENT: &str = "environment";
/// If there, the command's input and output are a terminal.
pub const TERMINAL: &str = "terminal";
/// A folder with the modules to load, in the order of their names.
pub const MODULES: &str = "modules";

/// The kernel's console.
pub const CONSOLE_PORT: &str = "/dev/ttyS0";
/// The command's standard output, or its terminal.
pub const OUTPUT_PORT: &str = "/dev/ttyS1";
/// Its standard error.
pub const ERROR_PORT: &str = "/dev/ttyS2";
/// The report.
pub const REPORT_PORT: &str = "/dev/ttyS3";

/// What the first process reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// How the command ended.
    Ended(Exit),
    /// Why it was not run.
    Failed(String),
}

impl Report {
    /// The line on the serial port.
    pub fn to_line(&self) -> String {
        match self {
            Self::Ended(Exit::Code(code)) => format!("code {code}\n"),
            Self::Ended(Exit::Signal(signal)) => format!("signal {signal}\n"),
            Self::Failed(message) => format!("failed {}\n", message.replace('\n', " ")),
        }
    }

    /// Reads a line; `None` for anything else than one whole report.
    pub fn from_line(line: &str) -> Option<Self> {
        let (kind, value) = line.strip_suffix('\n')?.split_once(' ')?;
        match kind {
            "code" => Some(Self::Ended(Exit::Code(value.parse().ok()?))),
            "signal" => Some(Self::Ended(Exit::Signal(value.parse().ok()?))),
            "failed" => Some(Self::Failed(value.to_owned())),
            _ => None,
        }
    }
}

/// Reads words that are each ended by a zero byte.
pub fn read_words(file: &str) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(file))?;
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Writes words so that [`read_words`] reads them.
pub fn to_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Exit, Report};

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for report in [
            Report::Ended(Exit::Code(0)),
            Report::Ended(Exit::Code(101)),
            Report::Ended(Exit::Signal(11)),
            Report::Failed("no such file".to_owned()),
        ] {
            assert_eq!(Report::from_line(&report.to_line()), Some(report));
        }
    }

    #[test]
    fn half_a_report_is_none() {
        for line in ["", "code", "code 0", "code x\n", "0\n"] {
            assert_eq!(Report::from_line(line), None, "{line:?}");
        }
    }
}
