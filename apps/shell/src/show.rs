//! How an application shows what changes all the time.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

/// To the terminal's upper left corner, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints a report: as one line of JSON, or for people, on a terminal in the place of the last one.
/// In one write, so that a reader never sees half of it.
///
/// # Errors
///
/// If standard output can't be written.
pub fn show(report: &(impl Display + Serialize), json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let text = if json {
        let line = serde_json::to_string(report).map_err(io::Error::from)?;
        line + "\n"
    } else if out.is_terminal() {
        format!("{CLEAR}{report}")
    } else {
        format!("{report}\n")
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}
