//! One queue's packets, treated on a thread of its own.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libdispatch::xsk::{Receiver, Sender};
use shell::Failure;
use xsk_echo::{Counts, Task, treat_batch};

use crate::open::{Handed, Sockets};
use crate::report::{Lost, Totals};

/// How long it may take until a worker sees that it is to stop, and others what it counted.
const BEAT: Duration = Duration::from_millis(100);

/// What a worker and its master share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    totals: Mutex<Totals>,
    /// The worker is to stop.
    pub(crate) stop: AtomicBool,
}

impl Shared {
    /// What was counted until a moment ago.
    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, totals: Totals) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
    }
}

/// Maps the sockets of what is called `what`, says so as soon as packets can come, and treats packets until it is told to
/// stop.
pub(crate) fn work(
    what: &str,
    handed: Handed,
    task: &Task,
    shared: &Shared,
    ready: &SyncSender<()>,
) -> Result<(), Failure> {
    let treated = handed.with(|mut sockets| {
        // Packets that find no frame are lost, so there have to be some before they come.
        sockets.receiving.wait(Some(Duration::ZERO))?;
        // Nobody listens who doesn't want to know any more.
        let _ = ready.send(());
        sockets.treat(task, shared)
    });
    treated
        .map_err(Failure::interface(what))?
        .map_err(Failure::interface(what))
}

impl<'u> Sockets<'u> {
    fn treat(&mut self, task: &Task, shared: &Shared) -> io::Result<()> {
        let mut counts = Counts::default();
        let mut due = Instant::now();
        let mut last = due;
        while !shared.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= due {
                due = now + BEAT;
                self.publish(counts, shared)?;
            }
            let polling = self.busy_poll;
            let (receiver, sender) = self.halves();
            let treated = treat_batch(task, receiver, sender, &mut counts);
            sender.flush()?;
            if treated > 0 {
                last = now;
            } else if now - last >= polling {
                receiver.wait(Some(BEAT))?;
            }
        }
        self.publish(counts, shared)
    }

    fn halves(&mut self) -> (&mut Receiver<'u>, &mut Sender<'u>) {
        let (receiver, sender) = self.receiving.halves();
        match &mut self.sending {
            Some(socket) => (receiver, socket.halves().1),
            None => (receiver, sender),
        }
    }

    fn publish(&self, counts: Counts, shared: &Shared) -> io::Result<()> {
        let statistics = self.receiving.statistics()?;
        let lost = Lost {
            no_frame: statistics.rx_dropped,
            ring_full: statistics.rx_ring_full.unwrap_or(0),
        };
        shared.publish(Totals { counts, lost });
        Ok(())
    }
}
