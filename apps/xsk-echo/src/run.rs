//! Treats packets on as many threads as there are queues, and shows what was counted, until a
//! signal comes.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{panic, thread};

use libdispatch::{Client, escape};
use shell::{Failure, Signal, Signals, show};
use xsk_echo::{Addresses, Forward, Responder, Task};

use crate::args::Args;
use crate::local::Local;
use crate::open::Lease;
use crate::report::{Report, Totals};
use crate::worker::{self, Shared};

/// How often it is shown.
const INTERVAL: Duration = Duration::from_secs(1);
/// A queue whose packets are treated.
struct Queue<'scope> {
    number: u32,
    lease: Lease,
    shared: Arc<Shared>,
    thread: ScopedJoinHandle<'scope, Result<(), Failure>>,
}

/// Claims the queues, treats packets and reports.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let task = task(args)?;
    let client = connect(args)?;
    thread::scope(|scope| {
        let mut queues = Vec::new();
        let watched = start(args, &client, &task, scope, &mut queues)
            .and_then(|()| watch(args, &signals, &queues));
        let stopped = queues.into_iter().map(Queue::stop);
        stopped.fold(watched, Result::and)
    })
}

fn connect(args: &Args) -> Result<Client, Failure> {
    let mut client = Client::builder().name("xsk-echo");
    if let Some(netns) = &args.netns {
        client = client.netns(netns.as_str());
    }
    if let Some(socket) = &args.socket {
        client = client.socket(socket);
    }
    client.connect().map_err(Failure::on(&args.interface))
}

/// What is done with packets.
fn task(args: &Args) -> Result<Task, Failure> {
    if args.drop {
        return Ok(Task::Drop);
    }
    let netns = args.netns.as_deref();
    if let Some(out) = &args.forward {
        let forward = match args.to {
            None => Forward::Swap,
            Some(destination) => {
                let source = Local::of(out, netns)?.mac;
                let source = source.ok_or_else(|| input(format!("{out} is no Ethernet device")))?;
                Forward::To {
                    source,
                    destination,
                }
            }
        };
        return Ok(Task::Forward(forward));
    }
    let Args {
        interface, address, ..
    } = args;
    let mut local = Local {
        mac: args.mac,
        addresses: address.clone(),
    };
    if args.mac.is_none() || address.is_empty() {
        let found = Local::of(interface, netns)?;
        local.mac = local.mac.or(found.mac);
        if address.is_empty() {
            local.addresses = found.addresses;
        }
    }
    let mac = local
        .mac
        .ok_or_else(|| input(format!("{interface} is no Ethernet device")))?;
    if local.addresses.is_empty() {
        let fault = format!("{interface} has no address to answer for: give one with --address");
        return Err(input(fault));
    }
    let own = Addresses::new(mac, local.addresses);
    Ok(Task::Respond(Responder::new(own, args.port)))
}

fn input(fault: impl Display) -> Failure {
    Failure::Input {
        faults: vec![format!("xsk-echo: {fault}")],
    }
}

/// Starts a worker for each queue that was asked for.
fn start<'scope, 'env: 'scope>(
    args: &'env Args,
    client: &Client,
    task: &'env Task,
    scope: &'scope Scope<'scope, 'env>,
    queues: &mut Vec<Queue<'scope>>,
) -> Result<(), Failure> {
    let interface = &args.interface;
    let out = args.forward.as_deref().filter(|out| out != interface);
    let wanted = if args.all {
        0..=u32::MAX
    } else {
        args.queue..=args.queue
    };
    for number in wanted {
        let Some((lease, handed)) = Lease::open(client, interface, number, out, args.busy_poll())?
        else {
            if queues.is_empty() {
                return Err(input(format!("{interface} has no queue {number}")));
            }
            break;
        };
        let shared = Arc::new(Shared::default());
        let (ready, is_ready) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        let what = format!("queue {number} of {interface}");
        let thread = scope.spawn(move || worker::work(&what, handed, task, &theirs, &ready));
        let queue = Queue {
            number,
            lease,
            shared,
            thread,
        };
        if is_ready.recv().is_err() {
            return queue.stop();
        }
        let activated = queue.lease.activate();
        queues.push(queue);
        for note in activated? {
            eprintln!("xsk-echo: {}", escape(&note.to_string()));
        }
    }
    Ok(())
}

impl Queue<'_> {
    /// Gives the queue back, and then treats what came until then.
    fn stop(self) -> Result<(), Failure> {
        drop(self.lease);
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

fn watch(args: &Args, signals: &Signals, queues: &[Queue<'_>]) -> Result<(), Failure> {
    let numbers: Vec<u32> = queues.iter().map(|queue| queue.number).collect();
    let mut before = totals(queues);
    let mut began = Instant::now();
    let mut next = began + INTERVAL;
    while signals.wait_until(next)?.is_none() {
        if queues.iter().any(|queue| queue.thread.is_finished()) {
            break;
        }
        for queue in queues {
            queue.lease.check()?;
        }
        let now = totals(queues);
        let ended = Instant::now();
        let interval = ended - began;
        let report = Report::new(&args.interface, &numbers, interval, &before, &now);
        show(&report, args.json)?;
        (before, began) = (now, ended);
        // On the beat, but after a delay (the machine slept) not once for each beat missed.
        next = (next + INTERVAL).max(ended);
    }
    Ok(())
}

fn totals(queues: &[Queue<'_>]) -> Totals {
    let mut sum = Totals::default();
    for queue in queues {
        let Totals { counts, lost } = queue.shared.totals();
        sum.counts.merge(&counts);
        sum.lost.merge(&lost);
    }
    sum
}
