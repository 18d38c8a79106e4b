//! What cargo builds of this workspace, for the guest.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use vm::Vm;

use crate::command::{self, Failure};

/// The guest's folder of the workspace's programs. Tests look for them one folder up from theirs.
const PROGRAMS: &str = "/target/debug";
/// That of the tests.
const TESTS: &str = "/target/debug/deps";

/// The workspace's programs, built.
pub(crate) struct Artifacts {
    programs: Vec<PathBuf>,
    /// Those with tests that need a kernel.
    pub(crate) tests: Vec<Test>,
}

/// A binary with tests.
pub(crate) struct Test {
    /// The crate's and the binary's name.
    pub(crate) name: String,
    file: PathBuf,
}

impl Artifacts {
    /// Builds the programs, and the tests if wanted.
    pub(crate) fn build(tests: bool) -> Result<Self, Failure> {
        let programs = build(&["build", "--workspace", "--all-features", "--bins"])?;
        let tests = if tests {
            build(&["test", "--no-run", "--workspace", "--all-features"])?
        } else {
            Vec::new()
        };
        let artifacts = Self {
            programs: programs.into_iter().map(|built| built.file).collect(),
            tests,
        };
        artifacts.with_tests_named("")
    }

    /// Without the binaries that have no test with this in its name.
    pub(crate) fn with_tests_named(mut self, filter: &str) -> Result<Self, Failure> {
        let mut tests = Vec::new();
        for test in self.tests {
            if test.has(filter)? {
                tests.push(test);
            }
        }
        self.tests = tests;
        Ok(self)
    }

    /// One of the programs.
    pub(crate) fn program(&self, name: &str) -> Result<&Path, Failure> {
        let mut programs = self.programs.iter().map(PathBuf::as_path);
        programs
            .find(|program| program.ends_with(name))
            .ok_or_else(|| Failure::new(format!("the workspace has no program {name}")))
    }

    /// A machine that has all of them in its PATH.
    pub(crate) fn carried_by(&self, mut machine: Vm) -> Vm {
        for program in &self.programs {
            let name = program.file_name().unwrap_or(OsStr::new("program"));
            machine = machine.binary_at(program, Path::new(PROGRAMS).join(name));
        }
        for test in &self.tests {
            machine = machine.binary_at(&test.file, Path::new(TESTS).join(&test.name));
        }
        let path = format!("{PROGRAMS}:{TESTS}:{}", vm::PATH);
        machine.env("PATH", &path)
    }
}

impl Test {
    /// Whether it has a test that needs a kernel and no machine, with this in its name.
    fn has(&self, filter: &str) -> Result<bool, Failure> {
        let list = command::output(Command::new(&self.file).args([
            "--list",
            "--ignored",
            "--format=terse",
            // There are no machines in machines.
            "--skip=needs_qemu",
            filter,
        ]));
        Ok(!list?.trim().is_empty())
    }
}

/// Runs cargo and finds out what programs it made.
fn build(arguments: &[&str]) -> Result<Vec<Test>, Failure> {
    let mut cargo = command::cargo();
    cargo
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo
        .output()
        .map_err(|error| Failure::new(format!("can't run cargo: {error}")))?;
    if !output.status.success() {
        let line = command::line(&cargo);
        return Err(Failure::new(format!("{line} failed: {}", output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let tests = arguments[0] == "test";
    let built = messages.lines().filter_map(|line| built(line, tests));
    Ok(built.collect())
}

/// The program that one of cargo's messages tells of. To build tests is to build the programs that
/// they name, too; those are none.
fn built(message: &str, test: bool) -> Option<Test> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"].as_bool()? != test {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.file_name()?.to_str()?;
    let target = match message["target"]["kind"][0].as_str()? {
        "lib" => "lib",
        _ => message["target"]["name"].as_str()?,
    };
    Some(Test {
        name: format!("{package}-{target}"),
        file: message["executable"].as_str()?.into(),
    })
}
