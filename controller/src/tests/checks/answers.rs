//! What is true when a request is answered.

use std::collections::BTreeSet;

use dispatcher_abi::{Mode, ModeChoice};
use planner::{
    ChainKey, Change, Commit, Digest, LeaseState, MemberId, MemberState, Refusal, Revision,
};

use super::super::daemon::{Daemon, Pending};
use super::super::world::Error;
use crate::{Answer, Changed, Done, Job, Request, Seen};

/// How often a change is overtaken before it is turned down for that.
const OVERTAKEN_TRIES: usize = 3;

impl Daemon {
    /// What is answered is so, and readers see it.
    pub(in crate::tests) fn check_answer(&mut self, pending: &Pending, answer: &Answer<Error>) {
        let state = self.controller.state();
        // What a client had that is gone may have gone with it by now.
        let is_there = self.connections.contains_key(&pending.connection);
        match (answer, &pending.request) {
            (Answer::Changed(changed), _) => self.check_changed(pending, changed),
            (Answer::Refused(refusal), _) => self.check_refused(pending, refusal),
            (Answer::Failed { error, .. }, _) => {
                let is_mode = *error == "EOPNOTSUPP";
                let may_be_any = pending.modes().all(|mode| mode == ModeChoice::Auto);
                let is_new = state.at(pending.site).is_none();
                assert!(
                    !(is_mode && may_be_any && is_new),
                    "generic mode was not tried"
                );
            }
            (Answer::Reclaimed, Request::Reclaim { member, token }) => {
                let found = state.member(*member).map(|(_, member)| member.token);
                assert_eq!(found, Some(*token), "{member} is not this client's");
                if is_there {
                    assert!(self.shown.owner(*member).is_some(), "readers don't see it");
                    self.reclaimed.insert(*member, pending.connection);
                }
            }
            // What it sent again may have been made over another connection of its user's.
            (Answer::TakenUp(taken), _) => {
                for member in &taken.members {
                    let (_, found) = state.member(*member).expect("it is there");
                    assert_eq!(found.owner.uid, pending.uid);
                    let is_nobodys = found.state != MemberState::Running;
                    assert!(!is_there || !is_nobodys, "{found:?} is not its client's");
                    self.reclaimed.remove(member);
                }
            }
            (Answer::Activated { .. }, Request::Activate { key }) if is_there => {
                let lease = self.shown.lease(*key).expect("its queue is leased");
                assert!(lease.state == LeaseState::Active && lease.redirect);
            }
            (Answer::SocketReclaimed, Request::ReclaimSocket { key, cookie }) => {
                assert_eq!(self.world.sockets[&key.token].cookie, *cookie);
                let lease = self.shown.lease(*key).filter(|_| is_there);
                assert!(!is_there || lease.is_some(), "its queue is leased");
                let owner = lease.and_then(|lease| lease.owner.connection);
                assert!(owner.is_none_or(|owner| owner == pending.connection));
            }
            (Answer::Closed, Request::Close { key }) => {
                assert_eq!(self.shown.lease(*key), None);
            }
            _ => {}
        }
    }

    fn check_changed(&self, pending: &Pending, changed: &Changed) {
        let Changed { plan, .. } = changed;
        let revision = plan.next.as_ref().map(|next| next.revision.0);
        if let (Some(expected), Some(revision)) = (pending.expected(), revision) {
            assert_eq!(expected.0 + 1, revision, "it expected another revision");
        }
        if pending.is_dry_run() {
            return;
        }
        assert_eq!(
            self.shown.revision(plan.dir),
            plan.next.as_ref().map(|it| it.revision)
        );
        assert!(
            !self.undrained.contains(&plan.site),
            "packets may be inside"
        );
        let asks_for = |wanted| pending.modes().all(|mode| mode == wanted);
        let asks_for_none = pending.modes().next().is_none();
        if let Some(next) = &plan.next
            && !asks_for_none
            && asks_for(ModeChoice::Native)
        {
            assert_eq!(next.mode, Mode::Native);
        }
        let is_new_mode = matches!(plan.commit, Commit::Reattach { .. });
        assert!(!is_new_mode || !asks_for_none, "nobody asked for it");
    }

    /// A change is compared with what comes before it: what is ahead of it, and what overtook it.
    fn check_refused(&self, pending: &Pending, refusal: &Refusal) {
        if pending.is_dry_run() || pending.ends >= OVERTAKEN_TRIES {
            return;
        }
        let is_overtaken = matches!(refusal, Refusal::ChangedMeanwhile { .. });
        assert!(!is_overtaken, "it can be loaded again");
        if let Refusal::Revision {
            expected, actual, ..
        } = refusal
            && expected > actual
        {
            let site = pending.site;
            let is_change = |job: &Job<Error>| matches!(job, Job::Prepare { site: at, .. } | Job::Commit { site: at, .. } if *at == site);
            let mut ahead = self.running.iter();
            assert!(
                !ahead.any(|it| is_change(&it.job)),
                "what is ahead may make it"
            );
        }
    }

    /// Remembers what a job's end means for what comes next.
    pub(in crate::tests) fn note_done(&mut self, job: &Job<Error>, done: &Done<Error>) {
        if let Done::Looked { site, seen } = done {
            if matches!(seen, Seen::Attached) {
                self.looked_at.insert(*site);
            }
        } else if let (Job::Commit { plan, .. }, Done::Committed { site, outcome }) = (job, done) {
            self.looked_at.remove(site);
            if outcome.is_ok() && plan.is_first() {
                self.looked_at.insert(*site);
            }
            if outcome.is_ok() && !plan.cleanup.is_empty() {
                self.undrained.insert(*site);
            }
            self.end_at(*site);
        } else if let Done::Prepared {
            site,
            outcome: Err(_),
        } = done
        {
            self.end_at(*site);
        } else if let Done::Freed { site, .. } = done {
            self.undrained.remove(site);
        }
    }

    /// A change at an interface came to its end.
    fn end_at(&mut self, site: ChainKey) {
        for other in self.pending.values_mut() {
            if other.site == site {
                other.ends += 1;
            }
        }
    }

    /// A chain that is there is looked at before it is changed, but for what only takes it away.
    pub(super) fn check_looked_at(&self, job: &Job<Error>) {
        let (Job::Prepare { site, id, plan } | Job::Commit { site, id, plan }) = job else {
            return;
        };
        let takes_redirect = |id: &MemberId| {
            let found = self.controller.state().member(*id);
            found.is_some_and(|(_, member)| member.source.is_redirect())
        };
        let is_own = id.is_none() && plan.removes.iter().any(|(id, _)| takes_redirect(id));
        let changes = matches!(
            plan.commit,
            Commit::Swap { .. } | Commit::Registry { .. } | Commit::Reattach { .. }
        );
        assert!(
            !changes || is_own || self.looked_at.contains(site),
            "{site} may run something else"
        );
    }

    /// The objects that members were loaded from.
    pub(in crate::tests) fn objects(&self) -> BTreeSet<Digest> {
        let chains = self.controller.state().chains.values();
        let members = chains.flat_map(|chain| &chain.members);
        let objects = members.filter_map(|member| member.source.sha256());
        objects.copied().collect()
    }
}

impl Pending {
    fn is_dry_run(&self) -> bool {
        matches!(self.request, Request::Change { dry_run: true, .. })
    }

    fn expected(&self) -> Option<Revision> {
        self.change().and_then(|change| change.expected_revision)
    }

    fn modes(&self) -> impl Iterator<Item = ModeChoice> {
        self.change().into_iter().flat_map(Change::modes)
    }

    fn change(&self) -> Option<&Change> {
        if let Request::Change { change, .. } = &self.request {
            return Some(change);
        }
        None
    }
}
