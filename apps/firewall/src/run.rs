//! Filters until a signal comes, by rules that may change meanwhile.

use std::time::{Duration, Instant};

use shell::{Failure, Signal, Signals};

use crate::args::Args;
use crate::event::Event;
use crate::file::RulesFile;
use crate::member::Filter;

/// How often the file is looked at.
const FILE_INTERVAL: Duration = Duration::from_millis(100);
/// How often the daemon is asked whether the program is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Checks, or registers, filters and unregisters.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut file = RulesFile::at(&args.rules);
    let policy = file.read().map_err(|unusable| Failure::Input {
        faults: unusable.lines(&args.rules),
    })?;
    let rules = policy.rules.len();
    if args.check {
        let checked = Event::Checked {
            file: file.path(),
            rules,
            default: policy.default,
        };
        return checked.tell(args.json);
    }
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let mut filter = Filter::register(args, policy)?;
    let started = Event::Started {
        interface: &args.interface,
        slot: filter.slot(),
        rules,
    };
    started.tell(args.json)?;
    filter_until_told(args, &signals, &mut file, &mut filter)?;
    let packets = filter.unregister()?;
    let removed = Event::Removed {
        interface: &args.interface,
        packets: &packets,
    };
    removed.tell(args.json)
}

fn filter_until_told(
    args: &Args,
    signals: &Signals,
    file: &mut RulesFile,
    filter: &mut Filter,
) -> Result<(), Failure> {
    let mut next_check = Instant::now() + CHECK_INTERVAL;
    loop {
        match signals.wait_until(Instant::now() + FILE_INTERVAL)? {
            Some(Signal::SIGHUP) => reread(args, file, filter)?,
            Some(_) => return Ok(()),
            None if file.has_changed() => reread(args, file, filter)?,
            None => {}
        }
        if Instant::now() >= next_check {
            filter.check()?;
            next_check = Instant::now() + CHECK_INTERVAL;
        }
    }
}

/// Goes over to what the file says now; a file that can't be used changes nothing. Fails only if
/// nobody can tell any more which rules are in force.
fn reread(args: &Args, file: &mut RulesFile, filter: &mut Filter) -> Result<(), Failure> {
    let adopted = file
        .read()
        .map_err(|unusable| Failure::Input {
            faults: unusable.lines(file.path()),
        })
        .and_then(|policy| filter.adopt(policy));
    let in_force = filter.policy().rules.len();
    let event = match &adopted {
        Ok(difference) => Event::Changed {
            file: file.path(),
            difference: *difference,
            in_force,
            default: filter.policy().default,
        },
        Err(failure) => {
            failure.report("firewall");
            Event::Rejected {
                file: file.path(),
                faults: failure.faults(),
                in_force,
            }
        }
    };
    event.tell(args.json)
}
