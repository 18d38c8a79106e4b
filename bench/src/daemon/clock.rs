//! How long things take.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// How long this takes, in milliseconds.
pub(super) fn milliseconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Runs a command to its end, which must be a good one.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?}: {}: {errors}", output.status).into())
}
