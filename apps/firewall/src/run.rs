//! Filters until a signal comes, by rules that may change meanwhile.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use shell::{Failure, Signal, Signals, Woken};

use crate::args::RunArgs;
use crate::commands::{self, Done};
use crate::control::{self, Control};
use crate::event::Event;
use crate::file::RulesFile;
use crate::listing::Listing;
use crate::member::Filter;

/// How often the file is looked at.
const FILE_INTERVAL: Duration = Duration::from_millis(100);
/// How often the daemon is asked whether the program is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How many rules are named with what they decided.
const HITS_SHOWN: usize = 10;

/// A registered firewall and what it listens to.
struct Running<'a> {
    args: &'a RunArgs,
    signals: Signals,
    control: Option<Control>,
    file: RulesFile,
    filter: Filter,
}

/// Checks, or registers, filters and unregisters.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
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
    let signals = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ];
    let signals = Signals::take(&signals)?;
    let filter = Filter::register(args, &policy)?;
    let mut running = Running {
        args,
        signals,
        control: listen(args)?,
        file,
        filter,
    };
    let started = Event::Started {
        interface: &args.interface,
        slot: running.filter.slot(),
        rules,
    };
    started.tell(args.json)?;
    running.until_told()?;
    let mut listing = running.filter.unregister()?;
    tell_hits(args, &mut listing)?;
    let removed = Event::Removed {
        interface: &args.interface,
        listing: &listing,
    };
    removed.tell(args.json)
}

/// Where commands come from. A firewall that nobody told where can do without.
fn listen(args: &RunArgs) -> Result<Option<Control>, Failure> {
    if let Some(path) = &args.control {
        return Control::listen(path).map(Some);
    }
    let control = control::default_path(&args.interface).and_then(|path| Control::listen(&path));
    match control {
        Ok(control) => Ok(Some(control)),
        Err(failure) => {
            failure.report("firewall: no commands are taken");
            Ok(None)
        }
    }
}

impl Running<'_> {
    fn until_told(&mut self) -> Result<(), Failure> {
        let mut next_check = Instant::now() + CHECK_INTERVAL;
        let mut next_look = Instant::now() + FILE_INTERVAL;
        loop {
            let control = self.control.as_ref().map(|control| control.as_fd());
            match self.signals.wait(next_look, control)? {
                Woken::Signal(Signal::SIGHUP) => self.reread()?,
                Woken::Signal(Signal::SIGUSR1) => {
                    tell_hits(self.args, &mut self.filter.listing()?)?;
                }
                Woken::Signal(_) => return Ok(()),
                Woken::Ready => self.obey()?,
                Woken::Late => {
                    if self.file.has_changed() {
                        self.reread()?;
                    }
                    self.filter.tidy()?;
                    next_look = Instant::now() + FILE_INTERVAL;
                }
            }
            if Instant::now() >= next_check {
                self.filter.check()?;
                next_check = Instant::now() + CHECK_INTERVAL;
            }
        }
    }

    /// Does what a client says.
    fn obey(&mut self) -> Result<(), Failure> {
        let Some(call) = self.control.as_ref().and_then(Control::accept) else {
            return Ok(());
        };
        let done = commands::perform(&mut self.filter, &call.command);
        call.answer(&commands::answer(&done, &self.filter));
        match done {
            Ok(Done::Changed { difference, .. }) => {
                let edited = Event::Edited {
                    interface: &self.args.interface,
                    difference,
                    in_force: self.filter.table().rules().len(),
                    default: self.filter.table().default(),
                };
                edited.tell(self.args.json)
            }
            Ok(Done::Listed(_)) | Err(_) => Ok(()),
        }
    }

    /// Goes over to what the file says now; a file that can't be used changes nothing. Fails only
    /// if nobody can tell any more which rules are in force.
    fn reread(&mut self) -> Result<(), Failure> {
        let adopted = self
            .file
            .read()
            .map_err(|unusable| Failure::Input {
                faults: unusable.lines(self.file.path()),
            })
            .and_then(|policy| self.filter.adopt(&policy));
        let in_force = self.filter.table().rules().len();
        let event = match &adopted {
            Ok(difference) => Event::Changed {
                file: self.file.path(),
                difference: *difference,
                in_force,
                default: self.filter.table().default(),
            },
            Err(failure) => {
                failure.report("firewall");
                Event::Rejected {
                    file: self.file.path(),
                    faults: failure.faults(),
                    in_force,
                }
            }
        };
        event.tell(self.args.json)
    }
}

/// Names the rules that decided most packets.
fn tell_hits(args: &RunArgs, listing: &mut Listing) -> Result<(), Failure> {
    listing.keep_top(HITS_SHOWN);
    for decided in &listing.rules {
        let hit = Event::Hit {
            interface: &args.interface,
            decided: *decided,
        };
        hit.tell(args.json)?;
    }
    Ok(())
}
