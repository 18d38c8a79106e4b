//! One run: a receiver on its own CPU, and packets for it.

use std::env;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{panic, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tests::{LiveFrames, Pair};

use super::{Mode, peer};
use crate::Result;
use crate::cpus::{Cpus, pin};

/// Frames of a run, all of one call: between two calls nothing comes for some 20 ms, which would be
/// measured as well. They are 100 ms of a receiver that is as fast as the sender.
const FRAMES: u64 = 1 << 19;
pub(super) const FRAME_BYTES: usize = 64;

/// Receivers, ready to be run.
pub(super) struct Race {
    ours: PathBuf,
    peer: PathBuf,
    cpus: Cpus,
}

/// What a receiver says of its run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// From the first packet to the last.
    pub(super) seconds: f64,
    /// Packets at a time.
    pub(super) batch: f64,
    /// Of the time stamp counter, for one packet, without system calls: the median over all packets
    /// of their batch's share.
    pub(super) cycles: f64,
}

impl Outcome {
    /// Packets a second.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown in a few digits"
    )]
    pub(super) fn rate(&self) -> f64 {
        self.packets as f64 / self.seconds
    }
}

impl Race {
    /// Compiles the peer.
    pub(super) fn prepare() -> Result<Self> {
        Ok(Self {
            ours: env::current_exe()?,
            peer: peer::compile()?,
            cpus: Cpus::find()?,
        })
    }

    /// Runs ours.
    pub(super) fn ours(&self, mode: Mode) -> Result<Outcome> {
        let mut command = Command::new(&self.ours);
        self.run(command.args(["xsk", &mode.to_string()]))
    }

    /// Runs the peer.
    pub(super) fn peer(&self, mode: Mode) -> Result<Outcome> {
        let mut command = Command::new(&self.peer);
        self.run(command.arg(mode.to_string()))
    }

    /// Runs a receiver on an interface of its own.
    fn run(&self, receiver: &mut Command) -> Result<Outcome> {
        let pair = Pair::new();
        receiver.arg(&pair.near.name);
        let receiver = receiver.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = pair.near.netns.run(|| {
            pin(self.cpus.last)?;
            receiver.spawn()
        })?;
        let mut receiver = Running(child);
        let stdout = receiver.0.stdout.take().ok_or("it was piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.next().transpose()?;
        if ready.as_deref() != Some("ready") {
            return Err(format!("{receiver:?} ended before it was ready").into());
        }
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                pin(self.cpus.first)?;
                LiveFrames::into(&pair.far).send_at_once(&tests::frame(FRAME_BYTES), FRAMES);
                io::Result::Ok(())
            });
            let sent = sender.join();
            sent.unwrap_or_else(|panic| panic::resume_unwind(panic))
        })?;
        kill_process(Pid::from_child(&receiver.0), Signal::TERM)?;
        let line = lines.next().transpose()?.ok_or("it says what it did")?;
        receiver.0.wait()?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// A process that doesn't outlive its run.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or is killed: either way it can be waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
