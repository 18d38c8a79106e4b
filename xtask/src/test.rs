//! Runs every test: those without privilege first, then those on the real kernel.

use std::path::Path;

use crate::command::{self, Failure};
use crate::packages;

/// Builds everything and runs every test; fails if any test can't run.
pub(crate) fn run() -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::TEST])?;

    heading("Tests that need no privilege");
    command::run(command::cargo().args(["test", "--workspace", "--all-features"]))?;

    heading("Tests on the real kernel");
    on_the_kernel(&[])
}

/// Runs the tests that need root and a BPF kernel, with these variables set.
pub(crate) fn on_the_kernel(variables: &[(&str, &Path)]) -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::TEST])?;
    if !packages::is_root() {
        return Err(Failure::new(
            "the kernel's tests need root: they make namespaces and load programs",
        ));
    }
    let cargo = || {
        let mut cargo = command::cargo();
        cargo.envs(variables.iter().copied());
        cargo
    };
    command::run(cargo().args(["build", "--workspace", "--bins"]))?;
    // One at a time: several count every program, map and link that the kernel has.
    command::run(cargo().args([
        "test",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
        "--",
        "--ignored",
        "--test-threads=1",
    ]))
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}
