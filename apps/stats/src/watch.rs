//! Counts, and shows what was counted, until a signal comes.

use std::time::Instant;

use shell::{Failure, Signal, Signals, show};

use crate::args::Args;
use crate::member::Counter;
use crate::report::Report;

/// Registers, reports, unregisters.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let counter = Counter::register(args)?;
    watch(args, &signals, &counter)?;
    counter.unregister()
}

fn watch(args: &Args, signals: &Signals, counter: &Counter) -> Result<(), Failure> {
    let mut before = counter.traffic()?;
    let mut began = Instant::now();
    let mut next = began + args.interval;
    while signals.wait_until(next)?.is_none() {
        let now = counter.traffic()?;
        let ended = Instant::now();
        let chain = counter.chain()?;
        let interval = ended - began;
        let report = Report::new(&args.interface, interval, &before, &now, chain.as_ref());
        show(&report, args.json)?;
        if args.once {
            break;
        }
        (before, began) = (now, ended);
        // On the beat, but after a delay (the machine slept) not once for each beat missed.
        next = (next + args.interval).max(ended);
    }
    Ok(())
}
