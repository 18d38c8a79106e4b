//! A change's way: loaded, decided, prepared, committed, answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use planner::{
    ChainKey, Commit, Facts, LoadStep, Loading, Note, Plan, Refusal, Standing, by_tail_call,
    decide, done_before, in_the_way, instead,
};

use crate::controller::{Asked, Life, Want};
use crate::lane::{After, Doing, Failed, OffHook, Purpose, Then, Work};
use crate::{
    Answer, Changed, CommitFailure, Controller, HookLeft, Job, LoadFailure, Notice, RequestId,
    StepFailure,
};

/// How often a change is loaded: more than once if another one was faster.
const TRIES: u32 = 4;

/// A change that is being loaded or waits for its lane.
#[derive(Clone, Debug)]
pub(crate) struct Making<E> {
    pub(crate) loading: Loading,
    pub(crate) dry_run: bool,
    /// What failed to load, in order.
    pub(crate) failures: Vec<E>,
    /// All is loaded: what was learned of the new programs, and of those that were loaded again.
    pub(crate) ready: Option<(Vec<Facts>, Vec<Facts>)>,
    pub(crate) tries: u32,
    pub(crate) notes: Vec<Note>,
}

impl<E> Making<E> {
    pub(crate) fn new(loading: Loading, dry_run: bool) -> Self {
        Self {
            loading,
            dry_run,
            failures: Vec::new(),
            ready: None,
            tries: TRIES,
            notes: Vec::new(),
        }
    }
}

impl<E: Clone> Controller<E> {
    /// Begins to load what a request's change needs, as the chain is now. A daemon that stops waits for
    /// no verifier.
    pub(crate) fn load(&mut self, id: RequestId) {
        if self.life != Life::Running {
            return self.answer(id, Answer::Stopping);
        }
        let load = self.take_load_id();
        let Some(making) = making_of(&mut self.requests, id) else {
            return;
        };
        making.tries -= 1;
        making.ready = None;
        let step = making.loading.begin(&self.state, load);
        self.load_step(id, step);
    }

    /// A program was loaded for a request, or could not be.
    pub(crate) fn loaded(&mut self, id: RequestId, outcome: Result<Box<Facts>, LoadFailure<E>>) {
        let load = self.take_load_id();
        // A request that was given up has no use for it.
        let Some(making) = making_of(&mut self.requests, id) else {
            return;
        };
        let step = match outcome {
            Ok(facts) => making.loading.loaded(&self.state, *facts, load),
            Err(failure) => {
                making.failures.push(failure.error);
                making.loading.failed(&self.state, failure.by_kernel, load)
            }
        };
        self.load_step(id, step);
    }

    fn load_step(&mut self, id: RequestId, step: LoadStep) {
        let Some(asked) = self.requests.get_mut(&id) else {
            return;
        };
        let site = asked.site.key;
        let Some(making) = asked.making.as_mut() else {
            return;
        };
        match step {
            LoadStep::Load(order) => self.push(Job::Load { id, order }),
            LoadStep::Ready { facts, reloaded } => {
                making.ready = Some((facts, reloaded));
                if making.dry_run {
                    return self.decide_change(site, id, None);
                }
                self.enqueue(site, Work::Request(id));
            }
            LoadStep::Refused(refusal) => {
                let making = asked.making.as_ref();
                let may_try = making.is_some_and(|making| making.tries > 0 && !making.dry_run);
                // The changes ahead of it may be what it expects.
                if let Refusal::Revision {
                    expected, actual, ..
                } = refusal
                    && may_try
                    && expected > actual
                    && self.lane(site).has_changes()
                {
                    return self.enqueue(site, Work::Request(id));
                }
                self.answer(id, Answer::Refused(refusal));
            }
            LoadStep::Failed(number) => {
                let failed = Failed {
                    error: making.failures.swap_remove(number),
                    in_the_way: Vec::new(),
                };
                self.answer(id, failed.into());
            }
        }
    }

    /// Begins a change that is loaded. A chain that is there is looked at first: it may be off its
    /// hook. One that had been done before, for the same client, is not done again.
    pub(crate) fn begin_change(&mut self, site: ChainKey, id: RequestId) {
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        let Some(making) = asked.making.as_ref() else {
            return;
        };
        if let Some(taken) = done_before(&self.state, &asked.authority, making.loading.change()) {
            let authority = asked.authority.clone();
            self.state.take_up(&authority, &taken);
            self.changed();
            return self.answer(id, Answer::TakenUp(taken));
        }
        if making.ready.is_none() {
            return self.load(id);
        }
        match self.state.at(site).map(|chain| chain.dir) {
            Some(dir) => self.look(site, dir, Purpose::Request(id)),
            None => self.decide_change(site, id, None),
        }
    }

    /// Decides a change that is loaded. `off_hook`: why the chain could not be put back on its hook;
    /// such a chain can only be taken away.
    pub(crate) fn decide_change(
        &mut self,
        site: ChainKey,
        id: RequestId,
        off_hook: Option<OffHook<E>>,
    ) {
        if self.is_given_up(id) {
            return;
        }
        let Some(making) = self
            .requests
            .get(&id)
            .and_then(|asked| asked.making.as_ref())
        else {
            return;
        };
        let Some((facts, reloaded)) = making.ready.clone() else {
            return self.load(id);
        };
        let (loading, dry_run, tries) = (&making.loading, making.dry_run, making.tries);
        let decided = decide(
            &self.state,
            loading.authority(),
            loading.change(),
            &facts,
            &reloaded,
        );
        let plan = match decided {
            Ok(plan) => plan,
            Err(Refusal::ChangedMeanwhile { .. }) if tries > 0 => return self.load(id),
            Err(refusal) => return self.answer(id, Answer::Refused(refusal)),
        };
        if dry_run {
            return self.answer_changed(id, plan.into(), facts, Vec::new());
        }
        if let Some(off_hook) = off_hook
            && !matches!(plan.commit, Commit::Detach { .. })
        {
            let answer = match off_hook {
                OffHook::Taken(program) => {
                    let interface = plan.interface;
                    Answer::Refused(Refusal::HookTaken { interface, program })
                }
                OffHook::Gone => Answer::Refused(Refusal::InterfaceGone {
                    interface: plan.interface,
                }),
                OffHook::Failed(error) => Answer::Failed {
                    error,
                    in_the_way: Vec::new(),
                },
            };
            return self.answer(id, answer);
        }
        let notes = Vec::new();
        self.carry_out(site, plan, After::Request { id, facts, notes });
    }

    /// A plan's prepare steps are done, or one of them failed.
    pub(crate) fn prepared(&mut self, site: ChainKey, outcome: Result<Vec<Note>, StepFailure<E>>) {
        let Doing::Preparing(plan, mut after) = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        match outcome {
            Ok(said) => {
                if let After::Request { notes, .. } = &mut after {
                    notes.extend(said);
                }
                self.commit(site, plan, after);
            }
            Err(failure) => {
                self.state.abandon(&plan);
                self.drop_objects_of(&plan);
                let failed = failed(&plan, failure);
                self.free(site, plan.dir, Then::Fail(after, failed));
            }
        }
    }

    /// A plan's commit is done, or failed.
    pub(crate) fn committed(&mut self, site: ChainKey, outcome: Result<(), CommitFailure<E>>) {
        let Doing::Committing(plan, after) = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        let before = self.state.chains.get(&plan.chain);
        let was_off_hook = before.is_some_and(|chain| chain.standing != Standing::InForce)
            && matches!(plan.commit, Commit::Attach { .. });
        let Err(failure) = outcome else {
            self.state.commit(&plan);
            self.changed();
            // A registry alone says nothing of the hook.
            if !matches!(plan.commit, Commit::Registry { .. }) {
                self.saw_hook(site);
            }
            if was_off_hook {
                self.tell(Notice::Attached {
                    interface: plan.interface.clone(),
                });
            }
            return self.free(site, plan.dir, Then::Finish(plan, after));
        };
        self.state.abandon_commit(&plan, failure.step.kind);
        self.drop_objects_of(&plan);
        if matches!(after, After::Rearm(_) | After::WayBack(..)) {
            // It is shown at once. The next look tries again.
            self.off_hook(site, failure.step.error.clone());
        } else if failure.left == HookLeft::Empty
            && let Some(back) = planner::rearm(&self.state, plan.chain)
        {
            let failed = failed(&plan, failure.step);
            return self.commit(site, back.into(), After::WayBack(Box::new(after), failed));
        }
        let then = match self.try_instead(&plan, &after, &failure.step) {
            Some(id) => Then::Again(id),
            None => Then::Fail(after, failed(&plan, failure.step)),
        };
        self.free(site, plan.dir, then);
    }

    /// Makes another change of one whose commit failed, if there is one to try instead.
    fn try_instead(
        &mut self,
        plan: &Plan,
        after: &After<E>,
        failure: &StepFailure<E>,
    ) -> Option<RequestId> {
        let After::Request { id, notes, .. } = after else {
            return None;
        };
        let making = making_of(&mut self.requests, *id)?;
        let (change, note) = instead(making.loading.change(), plan, failure.kind, failure.errno)?;
        making.loading.change_to(change);
        making.notes.extend(notes.iter().cloned());
        making.notes.push(note);
        Some(*id)
    }

    /// A plan is done, and what it left is freed.
    pub(crate) fn finish(&mut self, site: ChainKey, plan: Arc<Plan>, after: After<E>) {
        match after {
            After::Request { id, facts, notes } => {
                let Some(asked) = self.requests.get(&id) else {
                    return;
                };
                if matches!(asked.want, Want::Change) {
                    return self.answer_changed(id, plan, facts, notes);
                }
                // The redirect program is there now: the activation goes on before anything else.
                let made = by_tail_call(&plan, self.state.engines);
                self.note(id, notes.into_iter().chain(made));
                self.redirect_is_new(site);
                self.lane(site).waiting.push_front(Work::Request(id));
            }
            After::Own(act) => self.finished_own(&plan.interface, act),
            After::Rearm(purpose) => self.rearmed(site, purpose),
            After::WayBack(after, failed) => {
                self.changed();
                self.fail(site, *after, failed);
            }
        }
    }

    /// A plan failed, and what it left is freed.
    pub(crate) fn fail(&mut self, site: ChainKey, after: After<E>, failed: Failed<E>) {
        match after {
            After::Request { id, .. } => self.answer(id, failed.into()),
            After::Own(act) => self.failed_own(site, act, failed.error),
            After::Rearm(purpose) => self.not_rearmed(site, purpose, failed.error),
            After::WayBack(after, first) => self.fail(site, *after, first),
        }
    }

    fn answer_changed(
        &mut self,
        id: RequestId,
        plan: Arc<Plan>,
        facts: Vec<Facts>,
        said: Vec<Note>,
    ) {
        let Some(making) = making_of(&mut self.requests, id) else {
            return;
        };
        let mut notes = std::mem::take(&mut making.notes);
        notes.extend(said);
        if !making.dry_run {
            notes.extend(by_tail_call(&plan, self.state.engines));
        }
        let changed = Changed { plan, facts, notes };
        self.answer(id, Answer::Changed(Box::new(changed)));
    }

    /// The chain of a lane is not on its hook, and can't be put there now. Said once.
    pub(crate) fn off_hook(&mut self, site: ChainKey, error: E) {
        let Some(chain) = self.state.at_mut(site) else {
            return;
        };
        let waiting = Standing::Waiting(planner::Waiting::Detached);
        if chain.standing != waiting {
            chain.standing = waiting;
            let interface = chain.interface.name.clone();
            self.changed();
            self.tell(Notice::NotAttached { interface, error });
        }
    }
}

/// The change that a request is, or takes, unless the request was given up.
pub(crate) fn making_of<E>(
    requests: &mut BTreeMap<RequestId, Asked<E>>,
    id: RequestId,
) -> Option<&mut Making<E>> {
    requests.get_mut(&id)?.making.as_mut()
}

fn failed<E>(plan: &Plan, failure: StepFailure<E>) -> Failed<E> {
    Failed {
        in_the_way: in_the_way(plan, failure.kind),
        error: failure.error,
    }
}
