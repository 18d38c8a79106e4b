//! Standard output, and progress on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Prints the whole text.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

/// A line on the operator's terminal that says what is being waited for, until it is dropped.
/// Nothing if standard error is no terminal.
pub(crate) struct Progress {
    shown: bool,
}

impl Progress {
    pub(crate) fn show(what: &str) -> Self {
        let shown = io::stderr().is_terminal();
        if shown {
            eprint!("{what} ...");
        }
        Self { shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // Back to the line's begin, and erase it.
            eprint!("\r\x1b[K");
        }
    }
}
