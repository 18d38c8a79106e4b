//! What the daemon's chain costs: `xsk-echo --drop` with a queue that it has from the daemon.

use std::path::Path;
use std::{io, panic, thread};

use tests::{LiveFrames, PairOptions, Rig, Signal, Stream};

use super::race::FRAME_BYTES;
use crate::Result;
use crate::application::{Application, NOBODY, Reports};
use crate::cpus::{Cpus, pin};

/// Frames of a run, of one call for the reason that [`race`](super::race) has: more than come within the
/// two seconds that the application's report of a whole one may take.
const FRAMES: u64 = 12 << 20;

/// Chains, ready for packets.
pub(super) struct Chains {
    cpus: Cpus,
    rigs: [Rig; 2],
}

/// What is in them, before the redirect program and with it.
pub(super) const MEMBERS: [&str; 2] = ["xsk-redirect", "stats, xsk-redirect"];

impl Chains {
    /// Makes them.
    pub(super) fn prepare() -> Result<Self> {
        let daemon = ["--allow-uid", &NOBODY.to_string()];
        let rigs = MEMBERS.map(|_| Rig::with(&daemon, &PairOptions::default()));
        let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../apps/stats/objects/stats.o");
        let loaded = rigs[1].try_load(&object, "stats", &["--priority", "10"]);
        loaded.done();
        Ok(Self {
            cpus: Cpus::find()?,
            rigs,
        })
    }

    /// Packets a second through each.
    pub(super) fn rates(&self) -> Result<[f64; 2]> {
        let [alone, behind] = &self.rigs;
        Ok([self.rate(alone)?, self.rate(behind)?])
    }

    fn rate(&self, rig: &Rig) -> Result<f64> {
        let (application, mut reports) = Application::reporting(rig, self.cpus.last, &["--drop"])?;
        // The first one comes when its queue is active.
        reports.wait()?;
        let source = LiveFrames::into(&rig.pair.far);
        let (frame, signal) = (tests::frame(FRAME_BYTES), Signal::default());
        let rate = thread::scope(|scope| {
            // What a thread starts is where the thread is.
            let pinned = scope.spawn(|| {
                pin(self.cpus.first)?;
                io::Result::Ok(source.stream(scope, &signal, &frame, FRAMES))
            });
            let stream = pinned.join();
            let stream = stream.unwrap_or_else(|panic| panic::resume_unwind(panic))?;
            let rate = second(&mut reports);
            Stream::stop(stream);
            rate
        })?;
        application.end()?;
        Ok(rate)
    }
}

/// The rate of the first second that is one from its beginning.
fn second(reports: &mut Reports) -> Result<f64> {
    reports.wait()?;
    let report = reports.wait()?;
    let rate = report["received"]["packets_per_s"].as_f64();
    Ok(rate.ok_or("xsk-echo says how many packets came")?)
}
