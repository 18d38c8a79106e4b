//! Output of machines that run at the same time.

use std::io::{self, Write};

/// Prints whole lines, each after the name of where it comes from.
pub(crate) struct Lines {
    name: String,
    line: Vec<u8>,
}

impl Lines {
    /// From here.
    pub(crate) fn of(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            line: Vec::new(),
        }
    }

    fn print(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        write!(stdout, "{}: ", self.name)?;
        stdout.write_all(&self.line)?;
        self.line.clear();
        stdout.flush()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(line);
            if line.ends_with(b"\n") {
                self.print()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    /// What was not ended is what a machine did last.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.line.push(b'\n');
            let _ = self.print();
        }
    }
}
