//! What a program printed and how it ended.

use std::fmt;
use std::process;

use serde_json::Value;

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The output, if the exit code is 0.
    #[track_caller]
    pub fn done(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The output, if the exit code is 1 and standard error has each of these words.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) -> &Self {
        self.failed(1, words)
    }

    /// The output, if the exit code is 3 and standard error has each of these words.
    #[track_caller]
    pub fn unreachable(&self, words: &[&str]) -> &Self {
        self.failed(3, words)
    }

    /// The output, if it ended with this exit code and standard error has each of these words.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        for word in words {
            assert!(self.stderr.contains(word), "no word of {word:?}: {self}");
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl From<process::Output> for Output {
    fn from(output: process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {:?}", self.code)?;
        writeln!(f, "--- standard output\n{}", self.stdout)?;
        writeln!(f, "--- standard error\n{}", self.stderr)
    }
}
