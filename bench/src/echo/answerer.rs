//! Who answers.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tests::{Rig, as_user, binary};

use super::Who;
use crate::Result;
use crate::cpus::pin;

pub(super) const NEAR: &str = "10.1.0.1";
pub(super) const PORT: u16 = 7;
/// A user without privileges.
pub(super) const NOBODY: u32 = 65_534;
/// How long `xsk-echo` polls after a packet, in microseconds: longer than the pause between two.
const BUSY_POLL: &str = "10000";

/// Somebody who answers, until dropped.
pub(super) enum Answerer {
    Socket {
        stop: Arc<AtomicBool>,
        thread: JoinHandle<io::Result<()>>,
    },
    Application {
        process: Running,
        _directory: TempDir,
    },
}

/// A process that doesn't outlive us.
pub(super) struct Running(Child);

impl Answerer {
    /// Starts one on this CPU.
    pub(super) fn start(who: Who, rig: &Rig, cpu: usize) -> Result<Self> {
        let near = &rig.pair.near;
        if who == Who::Stack {
            let socket = near.netns.run(|| UdpSocket::bind((NEAR, PORT)))?;
            let stop = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                pin(cpu)?;
                answer(&socket, &told)
            });
            return Ok(Self::Socket { stop, thread });
        }
        let directory = TempDir::with_prefix("bench-echo-")?;
        // Where that user can get at it.
        let program = directory.path().join("xsk-echo");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        fs::copy(binary("xsk-echo"), &program)?;
        let mut command = Command::new(program);
        command
            .arg(&near.name)
            .arg("--socket")
            .arg(rig.daemon.socket());
        if who == Who::Polls {
            command.args(["--busy-poll", BUSY_POLL]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = near.netns.run(|| {
            pin(cpu)?;
            as_user(NOBODY, || command.spawn())
        })?;
        Ok(Self::Application {
            process: Running(child),
            _directory: directory,
        })
    }

    /// Ends it.
    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Socket { stop, thread } => {
                stop.store(true, Ordering::Relaxed);
                Ok(thread
                    .join()
                    .map_err(|_| "the answering thread panicked")??)
            }
            Self::Application { mut process, .. } => {
                kill_process(Pid::from_child(&process.0), Signal::TERM)?;
                let status = process.0.wait()?;
                if status.success() {
                    return Ok(());
                }
                Err(format!("xsk-echo ended: {status}").into())
            }
        }
    }
}

/// Returns every datagram until it is told to stop.
fn answer(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => drop(socket.send_to(&datagram[..length], from)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or is killed: either way it can be waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
