//! The one thread that holds the chains' descriptors and carries jobs out on the kernel, one after
//! the other. It decides nothing.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use controller::{
    CommitFailure, Done, Event, GiveFailure, HookLeft, Job, RedirectCode, RequestId, Seen,
    StepFailure,
};
use dispatcher_abi::Count;
use planner::{
    Call, ChainDir, ChainKey, Cleanup, Commit, FailureKind, Lease, Mend, Note, Plan, Prepare,
    SocketKey, Why,
};
use protocol::with_causes;

use crate::control::{Message, Trouble};
use crate::desk::Desk;
use crate::kernel::{self, KernelError, Linux, RedirectMaps, Repinned, hook, netns, xsk};
use crate::object_store::ObjectStore;
use crate::published::{Board, Shelf};
use crate::sockets::{self, Sockets};
use crate::{translate, unreadable};

/// See the module.
#[derive(Debug)]
pub struct Hands {
    /// The kernel.
    pub kernel: Linux,
    /// What requests brought.
    pub desk: Desk,
    /// What members were loaded from.
    pub objects: ObjectStore,
    /// The daemon's copies of sockets.
    pub sockets: Sockets,
    /// Where others find what they may read.
    pub shelf: Shelf,
    /// What was published last, for the misses.
    pub board: Board,
    /// What members are known to have missed.
    pub misses: Misses,
    /// What is wrong with pins that the daemon holds, so that it is said once.
    pub odd_pins: BTreeMap<ChainDir, Vec<Why>>,
}

impl Hands {
    /// Carries out jobs until nobody gives out any more.
    pub fn run(mut self, jobs: &Receiver<Job<Trouble>>, done: &SyncSender<Message>) {
        while let Ok(job) = jobs.recv() {
            if let Some(outcome) = self.carry_out(job) {
                // The controller goes only with the daemon.
                let _ = done.send(Message::Event(Event::Done(outcome)));
            }
        }
    }

    fn carry_out(&mut self, job: Job<Trouble>) -> Option<Done<Trouble>> {
        Some(match job {
            Job::Prepare { site, id, plan } => Done::Prepared {
                site,
                outcome: self.prepare(id, &plan),
            },
            Job::Commit { site, id, plan } => Done::Committed {
                site,
                outcome: self.commit(id, &plan),
            },
            Job::Free { site, dir, steps } => Done::Freed {
                site,
                steps: self.free(dir, steps),
            },
            Job::Look { site, id, dir } => Done::Looked {
                site,
                seen: self.look(site, id, dir),
            },
            Job::Mend { site, dir, steps } => Done::Mended {
                site,
                dir,
                steps: self.mend(dir, steps),
            },
            Job::Give {
                site,
                to,
                key,
                lease,
                again,
            } => Done::Given {
                site,
                outcome: self.give(to, key, &lease, again),
            },
            Job::Take { site, from, queues } => Done::Taken {
                site,
                error: self.take(from, &queues).err().map(Trouble::socket),
            },
            Job::Sweep { sockets } => {
                self.misses.warn(&self.board);
                let is_gone = |key: &SocketKey| {
                    let held = self.sockets.get(*key);
                    held.is_some_and(|held| !xsk::has_interface(held.socket.as_fd()))
                };
                let gone = sockets.into_iter().filter(is_gone).collect();
                Done::Swept { gone }
            }
            Job::DropObjects { keep } => {
                if let Err(error) = self.objects.drop_unused(&keep) {
                    tracing::warn!(%error, "objects that no member runs could not be dropped");
                }
                return None;
            }
            Job::Load { .. }
            | Job::Cancel(_)
            | Job::Keep(_)
            | Job::Release { .. }
            | Job::Answer { .. }
            | Job::Publish
            | Job::ShowLook { .. }
            | Job::Tell(_)
            | Job::Stopped => unreachable!("the controller's thread does this itself"),
        })
    }

    fn prepare(
        &mut self,
        id: Option<RequestId>,
        plan: &Plan,
    ) -> Result<Vec<Note>, StepFailure<Trouble>> {
        let mut notes = Vec::new();
        if let Some(id) = id {
            notes.extend(self.keep_objects(id, plan));
        }
        let staged = id.map(|id| self.desk.staged(id)).unwrap_or_default();
        for step in &plan.prepare {
            self.kernel.prepare(plan, step, &staged).map_err(failure)?;
        }
        Ok(notes)
    }

    /// Keeps what members get their code from. A chain runs without it as well.
    fn keep_objects(&self, id: RequestId, plan: &Plan) -> Vec<Note> {
        let pinned = plan.prepare.iter().filter_map(|step| match step {
            Prepare::PinCode { member, .. } => Some(*member),
            Prepare::BuildRoot { .. }
            | Prepare::FillSlot { .. }
            | Prepare::WriteRegistry { .. } => None,
        });
        let next = plan.next.iter();
        let members =
            pinned.filter_map(|member| next.clone().find_map(|chain| chain.member_by_id(member)));
        let digests = members.filter_map(|member| member.source.sha256());
        let objects = digests.filter_map(|digest| self.desk.object(id, digest));
        let kept = objects.map(|object| self.objects.put(&object.digest(), object.bytes()));
        let errors = kept.filter_map(Result::err);
        errors
            .map(|error| Note::NotKept {
                errno: errno(&error),
            })
            .collect()
    }

    fn commit(&mut self, id: Option<RequestId>, plan: &Plan) -> Result<(), CommitFailure<Trouble>> {
        let namespace = match plan.commit {
            Commit::Attach { .. } | Commit::Reattach { .. } => self.namespace(id, plan).map(Some),
            Commit::Swap { .. } | Commit::Detach { .. } | Commit::Registry { .. } => Ok(None),
        };
        let namespace = namespace.map_err(|error| CommitFailure {
            step: failure(error),
            left: HookLeft::AsItWas,
        })?;
        let committed = self
            .kernel
            .commit(plan, namespace.as_ref().map(AsFd::as_fd));
        self.show(plan.dir);
        committed.map_err(|failed| CommitFailure {
            step: failure(failed.error),
            left: failed.left,
        })
    }

    /// The namespace that a request brought, or the one that the interface is in.
    fn namespace(&self, id: Option<RequestId>, plan: &Plan) -> Result<Arc<OwnedFd>, KernelError> {
        if let Some(namespace) = id.and_then(|id| self.desk.namespace(id)) {
            return Ok(namespace);
        }
        let found = netns::find(plan.site, None);
        let found = found.map_err(|error| not_entered(&plan.interface, error))?;
        found.ok_or_else(|| KernelError {
            kind: FailureKind::Gone,
            ..not_entered(&plan.interface, io::Error::other("the interface is gone"))
        })
    }

    fn free(&mut self, dir: ChainDir, steps: Vec<Cleanup>) -> Vec<(Cleanup, Option<Trouble>)> {
        let freed = steps.into_iter().map(|step| {
            let error = self.kernel.free(dir, &step).err();
            (step, error.map(Trouble::from))
        });
        let freed = freed.collect();
        self.show(dir);
        freed
    }

    fn look(&mut self, site: ChainKey, id: Option<RequestId>, dir: ChainDir) -> Seen<Trouble> {
        match self.kernel.is_attached(dir) {
            Ok(true) => {
                // A change pins what it makes by itself.
                if id.is_none() {
                    self.repin(dir);
                }
                return Seen::Attached;
            }
            Ok(false) => {}
            Err(error) => return Seen::Unknown(error.into()),
        }
        let likely = id.and_then(|id| self.desk.namespace(id));
        let namespace = match netns::find(site, likely.as_ref()) {
            Ok(Some(namespace)) => namespace,
            Ok(None) => return Seen::Gone,
            Err(source) => {
                return Seen::Unknown(not_entered(&format!("chain {dir}"), source).into());
            }
        };
        match hook::program(namespace.as_fd(), site.ifindex) {
            Ok(None) => Seen::Detached,
            Ok(Some(program)) => Seen::Taken(program),
            Err(source) => {
                let error = KernelError {
                    call: Call::RtmGetlink,
                    subject: format!("the hook of chain {dir}"),
                    kind: FailureKind::Failed,
                    source,
                };
                Seen::Unknown(error.into())
            }
        }
    }

    /// Returns whether each step is done.
    fn mend(&mut self, dir: ChainDir, steps: Vec<Mend>) -> Vec<(Mend, bool)> {
        let tried = steps.into_iter().map(|step| {
            let mended = self.kernel.mend(dir, &step);
            if let Err(error) = &mended {
                let what = unreadable::mend(&step);
                tracing::debug!(chain = %dir, %what, error = %with_causes(&error), "a chain's pins could not be mended again");
            }
            (step, mended.is_ok())
        });
        let tried = tried.collect();
        self.show(dir);
        tried
    }

    /// Pins that somebody removed by hand are needed after the daemon's end.
    fn repin(&mut self, dir: ChainDir) {
        let Repinned { pinned, faults } = self.kernel.repin(dir);
        for pin in pinned {
            tracing::warn!(chain = %dir, %pin, "somebody removed a pin; pinned it again");
        }
        if self.odd_pins.get(&dir) != Some(&faults) {
            for why in &faults {
                let why = translate::why(why);
                tracing::error!(chain = %dir, %why, "a pin is not what it should be: the next daemon will not find it");
            }
            self.odd_pins.insert(dir, faults);
        }
    }

    fn give(
        &self,
        to: RedirectCode,
        key: SocketKey,
        lease: &Lease,
        again: bool,
    ) -> Result<(), GiveFailure<Trouble>> {
        let held = self.sockets.get(key);
        let held = held.filter(|held| again || xsk::has_rx_ring(held.socket.as_fd()));
        let Some(held) = held else {
            return Err(GiveFailure::NoRxRing);
        };
        // Each packet for it would be dropped. One that had frames may have none at the moment.
        if !again && xsk::has_had_frames(held.socket.as_fd()) == Some(false) {
            return Err(GiveFailure::NoFrames);
        }
        let given = sockets::record(lease, &held.socket).and_then(|record| {
            self.maps(to)
                .put(key.place.queue, held.socket.as_fd(), &record)
        });
        given.map_err(|error| GiveFailure::Failed(Trouble::socket(error)))
    }

    fn take(&self, from: RedirectCode, queues: &[u32]) -> io::Result<()> {
        let maps = self.maps(from);
        let taken: Vec<_> = queues.iter().map(|queue| maps.remove(*queue)).collect();
        taken.into_iter().collect()
    }

    fn maps(&self, of: RedirectCode) -> RedirectMaps {
        RedirectMaps::of(self.kernel.maps(of.dir, of.member, of.code))
    }

    fn show(&self, dir: ChainDir) {
        self.shelf.show(dir, self.kernel.view(dir));
    }
}

/// A namespace that can't be found or entered.
fn not_entered(whose: &str, source: io::Error) -> KernelError {
    KernelError {
        call: Call::Setns,
        subject: format!("the network namespace of {whose}"),
        kind: FailureKind::Failed,
        source,
    }
}

fn failure(error: KernelError) -> StepFailure<Trouble> {
    StepFailure {
        kind: error.kind,
        errno: errno(&error.source),
        error: error.into(),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Packets that members are known to have missed, so that each is warned of once.
#[derive(Debug, Default)]
pub struct Misses(BTreeMap<planner::MemberId, u64>);

impl Misses {
    /// A member that did not run is never passed over in silence.
    fn warn(&mut self, board: &Board) {
        let published = board.read();
        let mut missed = BTreeMap::new();
        for (id, chain) in &published.state.chains {
            let counts = published.counters.get(id).map(kernel::ChainCounters::read);
            let Some(Ok(counts)) = counts else {
                continue;
            };
            for member in &chain.members {
                let now = counts
                    .get(&member.id)
                    .map_or(0, |counts| counts.get(Count::Missed));
                let before = self.0.get(&member.id).copied().unwrap_or_default();
                if now > before {
                    tracing::warn!(
                        interface = %chain.interface.name,
                        member = %member.name,
                        packets = now - before,
                        "a member did not run: the packet's tail calls were spent, or its array entry is gone",
                    );
                }
                missed.insert(member.id, now);
            }
        }
        self.0 = missed;
    }
}
