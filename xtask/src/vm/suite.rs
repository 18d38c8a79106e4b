//! The kernel's tests, under other kernels.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use vm::{Exit, Kernel, Vm};

use super::Choice;
use super::artifacts::Artifacts;
use super::lines::Lines;
use crate::command::{self, Failure};
use crate::packages;

/// Long enough for all tests on an emulated processor.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How many times slower than a real processor the emulated one is, roughly. Sweeps over the 32 masks
/// of five verdicts take every seventh: 0, 7, 14, 21, 28 have each verdict in and out.
const SLOWNESS: &str = "7";
/// Where the guest has the objects that are compiled for tests.
const OBJECTS: &str = "/target/objects";
/// Runs each of the binaries that it is given, and names those that failed.
const SCRIPT: &str = r#"
failed=
for test; do
    echo "== $test"
    "$test" --ignored --test-threads=1 --skip=needs_qemu "$TEST_FILTER" || failed="$failed $test"
done
[ -z "$failed" ] || { echo "failed under $(uname -r):$failed"; exit 1; }
"#;

/// The tests that need a kernel, and the kernels that they are to run under.
pub(crate) struct Suite<'a> {
    kernels: Vec<(String, Kernel)>,
    artifacts: Artifacts,
    objects: PathBuf,
    filter: &'a str,
}

impl<'a> Suite<'a> {
    /// Builds the tests whose name has `filter` in it, and fetches the kernels: whatever can't be had
    /// is told before anything runs.
    pub(crate) fn of(kernels: &[Choice], filter: &'a str) -> Result<Self, Failure> {
        packages::ensure(&[packages::BUILD, packages::TEST, packages::VM])?;
        let artifacts = Artifacts::build(true)?.with_tests_named(filter)?;
        if artifacts.tests.is_empty() {
            let message = format!("no test that needs a kernel has {filter:?} in its name");
            return Err(Failure::new(message));
        }
        let objects = vm::cache().join("objects");
        command::run(Command::new(artifacts.program("compile-objects")?).arg(&objects))?;
        let kernels = kernels
            .iter()
            .map(|choice| Ok((choice.to_string(), choice.fetch()?)))
            .collect::<Result<_, Failure>>()?;
        Ok(Self {
            kernels,
            artifacts,
            objects,
            filter,
        })
    }

    /// Runs them under each kernel, all at once: much of the time, tests wait. Tests under one that
    /// fail end nothing under the others.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let failures: Vec<String> = thread::scope(|scope| {
            let running: Vec<_> = self
                .kernels
                .iter()
                .map(|(name, kernel)| {
                    let machine = machine(kernel, &self.artifacts, &self.objects, self.filter);
                    (name, scope.spawn(move || run_tests(name, &machine)))
                })
                .collect();
            running
                .into_iter()
                .filter_map(|(name, running)| match running.join() {
                    Ok(Ok(())) => None,
                    Ok(Err(failure)) => Some(format!("{name}: {failure}")),
                    Err(_) => Some(format!("{name}: this task panicked")),
                })
                .collect()
        });
        if failures.is_empty() {
            return Ok(());
        }
        Err(Failure::new(failures.join("; ")))
    }
}

fn machine(kernel: &Kernel, artifacts: &Artifacts, objects: &Path, filter: &str) -> Vm {
    let tests = artifacts.tests.iter().map(|test| test.name.as_str());
    artifacts
        .carried_by(Vm::new(kernel))
        .file(objects, OBJECTS)
        .env("TEST_OBJECTS", OBJECTS)
        .env("TEST_SLOWNESS", SLOWNESS)
        .env("TEST_FILTER", filter)
        .command(["sh", "-c", SCRIPT, "suite"].into_iter().chain(tests))
        .timeout(TIMEOUT)
}

/// Runs the tests in a machine and says how long that took.
fn run_tests(name: &str, machine: &Vm) -> Result<(), Failure> {
    let start = Instant::now();
    let ended = machine.run(&mut Lines::of(name), &mut Lines::of(name));
    println!("{name}: {} s", start.elapsed().as_secs());
    match ended.map_err(|error| Failure::new(error.to_string()))? {
        Exit::Code(0) => Ok(()),
        Exit::Code(_) => Err(Failure::new("tests failed")),
        Exit::Signal(signal) => Err(Failure::new(format!("signal {signal}"))),
    }
}
