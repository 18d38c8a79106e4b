//! `xsk-echo`, as somebody runs it who has no privilege.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Rig, as_user, binary};

use crate::Result;
use crate::cpus::pin;

/// A user without privileges.
pub(crate) const NOBODY: u32 = 65_534;

/// A running `xsk-echo` on the near end of a rig's cable, until dropped.
pub(crate) struct Application {
    process: Process,
    _directory: TempDir,
}

/// Its reports, one a second: who takes them has to read them.
pub(crate) struct Reports(Lines<BufReader<ChildStdout>>);

/// A process that doesn't outlive us.
struct Process(Child);

impl Application {
    /// Starts one on this CPU.
    pub(crate) fn start(rig: &Rig, cpu: usize, arguments: &[&str]) -> Result<Self> {
        Self::with(rig, cpu, arguments, Stdio::null())
    }

    /// Starts one that reports.
    pub(crate) fn reporting(rig: &Rig, cpu: usize, arguments: &[&str]) -> Result<(Self, Reports)> {
        let arguments = [arguments, &["--json"]].concat();
        let mut application = Self::with(rig, cpu, &arguments, Stdio::piped())?;
        let stdout = application.process.0.stdout.take().ok_or("it was piped")?;
        Ok((application, Reports(BufReader::new(stdout).lines())))
    }

    fn with(rig: &Rig, cpu: usize, arguments: &[&str], stdout: Stdio) -> Result<Self> {
        let near = &rig.pair.near;
        // Where that user can get at it.
        let directory = TempDir::with_prefix("bench-echo-")?;
        let program = directory.path().join("xsk-echo");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        fs::copy(binary("xsk-echo"), &program)?;
        let mut command = Command::new(program);
        command.arg(&near.name).args(arguments);
        command.arg("--socket").arg(rig.daemon.socket());
        command.stdin(Stdio::null()).stdout(stdout);
        let child = near.netns.run(|| {
            pin(cpu)?;
            as_user(NOBODY, || command.spawn())
        })?;
        Ok(Self {
            process: Process(child),
            _directory: directory,
        })
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Result<()> {
        let child = &mut self.process.0;
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let status = child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("xsk-echo ended: {status}").into())
        }
    }
}

impl Reports {
    /// Waits for the next one.
    pub(crate) fn wait(&mut self) -> Result<Value> {
        let line = self.0.next().ok_or("xsk-echo ended")?;
        Ok(serde_json::from_str(&line?)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or is killed: either way it can be waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
