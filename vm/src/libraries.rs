//! The shared libraries that programs need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// Every file that the dynamic loader opens for these programs, and the loader itself.
pub(crate) fn of<'a>(programs: impl IntoIterator<Item = &'a Path>) -> Result<BTreeSet<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.args(programs).stdin(Stdio::null());
    // It fails if one of them is a static program or a script, and tells of the others.
    let output = ldd.output().map_err(Error::at("ldd"))?;
    let listing = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = listing.lines().find(|line| line.ends_with("not found")) {
        return Err(Error::NoProgram(missing.trim().to_owned()));
    }
    Ok(listing.lines().filter_map(library).collect())
}

/// `name => /path (address)` and `/path (address)`, indented.
fn library(line: &str) -> Option<PathBuf> {
    let entry = line.strip_prefix('\t')?;
    let path = entry.split(" => ").last()?.split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}
