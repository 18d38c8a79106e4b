//! A running `xsk-echo`, as somebody runs it who has no privilege at all.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tests::{DEADLINE, Rig, as_user, assert_powerless, binary, wait_until};

pub(crate) const NOBODY: u32 = 65534;

/// A running `xsk-echo` of the user nobody.
pub(crate) struct Echo {
    child: Child,
    reports: Lines<BufReader<ChildStdout>>,
    _directory: TempDir,
}

impl Echo {
    /// Starts one; returns when it gets packets.
    pub(crate) fn start(rig: &Rig, arguments: &[&str]) -> Self {
        // Where that user can get at it.
        let directory = TempDir::with_prefix("xdt-echo-").expect("a directory can be made");
        let program = directory.path().join("xsk-echo");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
        fs::copy(binary("xsk-echo"), &program).expect("a file can be copied");
        let mut child = rig.pair.near.netns.run(|| {
            // A process has what the thread that started it had.
            as_user(NOBODY, || {
                Command::new(&program)
                    .args(arguments)
                    .arg("--json")
                    .arg("--socket")
                    .arg(rig.daemon.socket())
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("an application can be started")
            })
        });
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut echo = Self {
            child,
            reports: BufReader::new(stdout).lines(),
            _directory: directory,
        };
        // The first report comes after the last queue was activated.
        echo.report();
        assert_powerless(&echo.pid().to_string());
        echo
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal and goes on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id is positive");
        kill(Pid::from_raw(pid), signal).expect("it is there");
    }

    /// The next report.
    pub(crate) fn report(&mut self) -> Value {
        let line = self.reports.next().expect("it still runs");
        let line = line.expect("its output is text");
        serde_json::from_str(&line).expect("its output is JSON")
    }

    /// The first report of which this is true.
    pub(crate) fn report_where(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let mut report = Value::Null;
        wait_until("a report says so", DEADLINE, || {
            report = self.report();
            wanted(&report)
        });
        report
    }

    /// How it ends by this signal.
    pub(crate) fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.wait().expect("a child can be waited for")
    }
}

/// How many packets came, by a report.
pub(crate) fn received(report: &Value) -> u64 {
    let packets = &report["received"]["packets"];
    packets.as_u64().expect("it is a number")
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It has ended, or the test failed: either way it can be waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
