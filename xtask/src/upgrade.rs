//! Takes a chain of the first version's over, under traffic.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{self, Failure};
use crate::packages;

/// The last commit of the first version.
const FIRST_VERSION: &str = "15ebe2658cd3b5878c847d3a37689fbc46008603";

/// Builds the first version from the repository's history, and upgrades from it.
pub(crate) fn run() -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::TEST])?;
    if !packages::is_root() {
        return Err(Failure::new("upgrading needs root: it loads programs"));
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), Into::into);
    let (sources, built) = (
        target.join("first-version"),
        target.join("first-version-target"),
    );
    if !sources.exists() {
        unpack(&workspace, &sources)?;
    }
    let mut build = command::cargo();
    build
        .args(["build", "--locked", "--target-dir"])
        .arg(&built);
    build.args(["--package", "dispatchd", "--package", "dispatchctl"]);
    command::run(build.current_dir(&sources))?;
    let here = [
        "build",
        "--package",
        "dispatchd",
        "--package",
        "dispatchctl",
    ];
    command::run(command::cargo().args(here))?;
    let mut upgrade = command::cargo();
    upgrade.args([
        "run",
        "--quiet",
        "--package",
        "tests",
        "--bin",
        "upgrade",
        "--",
    ]);
    command::run(upgrade.arg(built.join("debug")))
}

/// Takes the first version's sources out of the history. Of a clone without one there is nothing to be
/// taken.
fn unpack(workspace: &Path, sources: &Path) -> Result<(), Failure> {
    let archive = sources.with_extension("tar");
    let mut git = Command::new("git");
    git.arg("-C").arg(workspace).args(["archive", "--output"]);
    command::quiet(git.arg(&archive).arg(FIRST_VERSION))?;
    fs::create_dir_all(sources).map_err(|error| Failure::new(error.to_string()))?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(sources);
    command::quiet(&mut tar).inspect_err(|_| drop(fs::remove_dir_all(sources)))
}
