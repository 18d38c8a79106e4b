//! The kernel's tests, under other kernels.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vm::{Exit, Vm};

use super::Choice;
use super::artifacts::Artifacts;
use crate::command::{self, Failure};
use crate::packages;

/// Long enough for all tests on an emulated processor.
const TIMEOUT: Duration = Duration::from_secs(40 * 60);
/// Where the guest has the objects that are compiled for tests.
const OBJECTS: &str = "/target/objects";
/// Runs each of the binaries that it is given, and names those that failed.
const SCRIPT: &str = r#"
failed=
for test; do
    echo "== $test"
    "$test" --ignored --test-threads=1 "$TEST_FILTER" || failed="$failed $test"
done
[ -z "$failed" ] || { echo "failed under $(uname -r):$failed"; exit 1; }
"#;

/// Runs the tests whose name has `filter` in it under each of these kernels, to the end under each.
pub(crate) fn run(kernels: &[Choice], filter: &str) -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::TEST, packages::VM])?;
    let artifacts = Artifacts::build(true)?.with_tests_named(filter);
    if artifacts.tests.is_empty() {
        let message = format!("no test that needs a kernel has {filter:?} in its name");
        return Err(Failure::new(message));
    }
    let objects = vm::cache().join("objects");
    command::run(Command::new(artifacts.program("compile-objects")?).arg(&objects))?;
    let mut failures = Vec::new();
    for kernel in kernels {
        println!("\n== Tests under kernel {kernel}\n");
        let start = Instant::now();
        if let Err(failure) = under(kernel, &artifacts, &objects, filter) {
            println!("{failure}");
            failures.push(kernel.to_string());
        }
        println!("\n{kernel}: {} s", start.elapsed().as_secs());
    }
    if failures.is_empty() {
        return Ok(());
    }
    let failures = failures.join(" and ");
    Err(Failure::new(format!("tests failed under {failures}")))
}

fn under(
    kernel: &Choice,
    artifacts: &Artifacts,
    objects: &Path,
    filter: &str,
) -> Result<(), Failure> {
    let tests = artifacts.tests.iter().map(|test| test.name.as_str());
    let exit = artifacts
        .carried_by(Vm::new(&kernel.fetch()?))
        .file(objects, OBJECTS)
        .env("TEST_OBJECTS", OBJECTS)
        .env("TEST_FILTER", filter)
        .command(["sh", "-c", SCRIPT, "suite"].into_iter().chain(tests))
        .timeout(TIMEOUT)
        .status()
        .map_err(|error| Failure::new(error.to_string()))?;
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(code) => Err(Failure::new(format!("exit code {code}"))),
        Exit::Signal(signal) => Err(Failure::new(format!("signal {signal}"))),
    }
}
