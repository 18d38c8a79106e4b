//! Jobs that are being carried out, effect by effect.

use planner::{ChainDir, ChainKey, Cleanup, FailureKind, HookProgram, Plan};

use super::{Error, Hook, World};
use crate::{CommitFailure, Done, GiveFailure, HookLeft, Job, Seen, StepFailure};

/// Whether an effect happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Fate {
    Works,
    /// The kernel has no memory, or something as unlikely.
    Fails,
}

/// A job that is being carried out.
#[derive(Clone, Debug)]
pub(in crate::tests) struct Running {
    pub(in crate::tests) job: Job<Error>,
    /// The step of a plan, or what else there is several of.
    step: usize,
    /// The effect of the step.
    effect: usize,
    /// Packets that were inside when the step was begun.
    inside: usize,
    freed: Vec<(Cleanup, Option<Error>)>,
    failed: Option<Error>,
    /// What came of it, once all is done.
    pub(in crate::tests) done: Option<Done<Error>>,
}

const FAULT: Error = "the fault that was planned";

impl Running {
    pub(in crate::tests) fn new(job: Job<Error>) -> Self {
        Self {
            job,
            step: 0,
            effect: 0,
            inside: 0,
            freed: Vec::new(),
            failed: None,
            done: None,
        }
    }

    /// The lane that waits for it.
    pub(in crate::tests) fn site(&self) -> Option<ChainKey> {
        match &self.job {
            Job::Prepare { site, .. }
            | Job::Commit { site, .. }
            | Job::Free { site, .. }
            | Job::Look { site, .. }
            | Job::Mend { site, .. }
            | Job::Give { site, .. }
            | Job::Take { site, .. } => Some(*site),
            Job::Load { .. }
            | Job::Cancel(_)
            | Job::Keep(_)
            | Job::Release { .. }
            | Job::Sweep { .. }
            | Job::Answer { .. }
            | Job::Publish
            | Job::ShowLook { .. }
            | Job::DropObjects { .. }
            | Job::Tell(_)
            | Job::Stopped => None,
        }
    }

    /// The plan whose commit it carries out.
    pub(in crate::tests) fn commit(&self) -> Option<&Plan> {
        if let Job::Commit { plan, .. } = &self.job {
            return Some(plan);
        }
        None
    }

    fn next_step(&mut self) {
        self.step += 1;
        self.effect = 0;
    }

    fn advance(&mut self, is_last: bool) {
        if is_last {
            self.next_step();
        } else {
            self.effect += 1;
        }
    }
}

fn failure(kind: FailureKind, error: Error) -> StepFailure<Error> {
    StepFailure {
        kind,
        errno: 12,
        error,
    }
}

impl World {
    /// Carries out the next effect of a job: `running.done` says what came of it once it is the last.
    pub(in crate::tests) fn step(&mut self, running: &mut Running, fate: Fate) {
        self.traffic();
        self.effects += 1;
        let fails = fate == Fate::Fails;
        match running.job.clone() {
            Job::Prepare { site, plan, .. } => {
                if fails {
                    let outcome = Err(failure(FailureKind::Failed, FAULT));
                    running.done = Some(Done::Prepared { site, outcome });
                    return;
                }
                let is_last = self.prepare(&plan, &plan.prepare[running.step], running.effect);
                running.advance(is_last);
                if running.step == plan.prepare.len() {
                    let outcome = Ok(Vec::new());
                    running.done = Some(Done::Prepared { site, outcome });
                }
            }
            Job::Commit { site, plan, .. } => self.step_commit(running, site, &plan, fails),
            Job::Free { site, dir, steps } => {
                if running.effect == 0 {
                    running.inside = self.inside(dir);
                }
                let step = &steps[running.step];
                if fails || self.stuck.is_some_and(|is_stuck| is_stuck(step)) {
                    running.freed.push((step.clone(), Some(FAULT)));
                    running.next_step();
                } else {
                    let is_last = self.free(dir, step, running.effect, running.inside);
                    if is_last {
                        running.freed.push((step.clone(), None));
                    }
                    running.advance(is_last);
                }
                if running.step == steps.len() {
                    let steps = std::mem::take(&mut running.freed);
                    running.done = Some(Done::Freed { site, steps });
                }
            }
            Job::Look { site, dir, .. } => {
                let seen = if fails {
                    Seen::Unknown(FAULT)
                } else {
                    self.seen(site, dir)
                };
                running.done = Some(Done::Looked { site, seen });
            }
            Job::Mend { site, dir, steps } => {
                if !fails {
                    let mends: Vec<_> = steps.iter().map(|step| (dir, *step)).collect();
                    self.mend(&mends);
                }
                let steps = steps.into_iter().map(|step| (step, !fails)).collect();
                running.done = Some(Done::Mended { site, dir, steps });
            }
            Job::Give {
                site,
                to,
                key,
                lease,
                again,
            } => {
                let may = match running.effect {
                    _ if fails => Err(GiveFailure::Failed(FAULT)),
                    0 if !again => self.may_give(key),
                    _ => Ok(()),
                };
                if may.is_err() || self.give(to, key, &lease, running.effect) {
                    running.done = Some(Done::Given { site, outcome: may });
                }
                running.effect += 1;
            }
            Job::Take { site, from, queues } => {
                if fails {
                    running.failed = Some(FAULT);
                    running.next_step();
                } else {
                    let is_last = self.take(from, queues[running.step], running.effect);
                    running.advance(is_last);
                }
                if running.step == queues.len() {
                    let error = running.failed;
                    running.done = Some(Done::Taken { site, error });
                }
            }
            Job::Sweep { sockets } => {
                let is_gone = |key: &planner::SocketKey| !self.nics.contains_key(&key.place.chain);
                let gone = sockets.into_iter().filter(is_gone).collect();
                running.done = Some(Done::Swept { gone });
            }
            Job::Load { .. }
            | Job::Cancel(_)
            | Job::Keep(_)
            | Job::Release { .. }
            | Job::Answer { .. }
            | Job::Publish
            | Job::ShowLook { .. }
            | Job::DropObjects { .. }
            | Job::Tell(_)
            | Job::Stopped => unreachable!("it takes no time, or is the loader's"),
        }
    }

    /// What a look at a chain's hook sees.
    fn seen(&self, site: ChainKey, dir: ChainDir) -> Seen<Error> {
        match self.nics.get(&site).map(|nic| nic.hook) {
            None => Seen::Gone,
            Some(Hook::Link { dir: of, .. }) if of == dir => Seen::Attached,
            Some(Hook::Link { .. } | Hook::Empty) => Seen::Detached,
            Some(Hook::Other(id)) => Seen::Taken(HookProgram {
                id,
                name: "rival".to_owned(),
            }),
        }
    }

    fn step_commit(&mut self, running: &mut Running, site: ChainKey, plan: &Plan, fails: bool) {
        let result = if fails {
            Err((FailureKind::Failed, FAULT))
        } else {
            self.commit(plan, running.effect)
        };
        let outcome = match result {
            Ok(false) => {
                running.effect += 1;
                return;
            }
            Ok(true) => Ok(()),
            Err((kind, error)) => {
                let left = match running.effect {
                    0 => HookLeft::AsItWas,
                    _ => self.uncommit(plan),
                };
                let step = failure(kind, error);
                Err(CommitFailure { step, left })
            }
        };
        running.done = Some(Done::Committed { site, outcome });
    }
}
