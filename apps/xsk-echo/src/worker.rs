//! One queue's packets, treated on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libdispatch::xsk::{Options, Receiver, Sender, Socket, Umem};
use shell::Failure;
use xsk_echo::{Counts, Task, treat_batch};

use crate::open::{Interface, open};
use crate::report::{Lost, Totals};

/// Twice as many as the rings that hold them while they are the kernel's, so that there are always
/// some to receive into.
const FRAMES: u32 = 8192;
/// How long it may take until a worker sees that it is to stop, and others what it counted.
const BEAT: Duration = Duration::from_millis(100);

/// What a worker does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) task: &'a Task,
    pub(crate) interface: Interface<'a>,
    pub(crate) queue: u32,
    /// Where packets leave, if not where they came from.
    pub(crate) out: Option<Interface<'a>>,
}

/// What a worker and its master share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    totals: Mutex<Totals>,
}

/// Whether a queue could be opened: it may not exist.
pub(crate) type Opened = Result<bool, Failure>;

impl Shared {
    /// What was counted until a moment ago.
    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, totals: Totals) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
    }
}

/// Opens the queue, says whether that went well, and treats packets until it is told to stop.
pub(crate) fn work(
    order: Order<'_>,
    shared: &Shared,
    stop: &AtomicBool,
    opened: &SyncSender<Opened>,
) -> Result<(), Failure> {
    let tell = |word| {
        // Nobody listens who doesn't want to know any more.
        let _ = opened.send(word);
    };
    let what = format!("queue {} of {}", order.queue, order.interface.name);
    let umem = match Umem::builder().frames(FRAMES).build() {
        Ok(umem) => umem,
        Err(error) => {
            tell(Err(Failure::interface(what)(error)));
            return Ok(());
        }
    };
    let sockets = match Sockets::open(order, &umem) {
        Ok(Some(sockets)) => sockets,
        Ok(None) => {
            tell(Ok(false));
            return Ok(());
        }
        Err(failure) => {
            tell(Err(failure));
            return Ok(());
        }
    };
    tell(Ok(true));
    sockets
        .treat(order.task, shared, stop)
        .map_err(Failure::interface(what))
}

/// Where packets come from, and where they go to.
struct Sockets<'u> {
    receiving: Socket<'u>,
    sending: Option<Socket<'u>>,
}

impl<'u> Sockets<'u> {
    fn open(order: Order<'_>, umem: &'u Umem) -> Result<Option<Self>, Failure> {
        let options = Options::default();
        let Some(receiving) = open(order.interface, order.queue, umem, &options)? else {
            return Ok(None);
        };
        let Some(out) = order.out else {
            return Ok(Some(Self {
                receiving,
                sending: None,
            }));
        };
        let sends_only = Options { rx: 0, ..options };
        let Some(sending) = open(out, order.queue, umem, &sends_only)? else {
            let fault = format!("{} has no queue {} to send from", out.name, order.queue);
            return Err(Failure::Input {
                faults: vec![format!("xsk-echo: {fault}")],
            });
        };
        Ok(Some(Self {
            receiving,
            sending: Some(sending),
        }))
    }

    fn treat(mut self, task: &Task, shared: &Shared, stop: &AtomicBool) -> std::io::Result<()> {
        let mut counts = Counts::default();
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if Instant::now() >= due {
                due = Instant::now() + BEAT;
                let lost = self.lost()?;
                shared.publish(Totals { counts, lost });
            }
            let (receiver, sender) = self.halves();
            let treated = treat_batch(task, receiver, sender, &mut counts);
            sender.flush()?;
            if treated == 0 {
                receiver.wait(Some(BEAT))?;
            }
        }
        let lost = self.lost()?;
        shared.publish(Totals { counts, lost });
        Ok(())
    }

    fn halves(&mut self) -> (&mut Receiver<'u>, &mut Sender<'u>) {
        let (receiver, sender) = self.receiving.halves();
        match &mut self.sending {
            Some(socket) => (receiver, socket.halves().1),
            None => (receiver, sender),
        }
    }

    fn lost(&self) -> std::io::Result<Lost> {
        let statistics = self.receiving.statistics()?;
        Ok(Lost {
            no_frame: statistics.rx_dropped,
            ring_full: statistics.rx_ring_full.unwrap_or(0),
        })
    }
}
