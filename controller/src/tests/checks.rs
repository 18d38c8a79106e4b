//! What is always true of a daemon, and what is true of one at rest.

mod answers;
mod elsewhere;
mod sockets;

use std::collections::BTreeSet;

use dispatcher_abi::Lifetime;
use planner::{
    Chain, ChainKey, CodeId, Commit, LeaseState, MemberId, MemberState, Root, Standing, reconcile,
};

use super::daemon::Daemon;
use super::world::{Error, Hook, Running};
use crate::lane::Lane;
use crate::{Job, Notice};

/// How many others may be answered before a request is.
const OVERTAKEN_MAX: usize = 60;

/// What a packet meets.
type Path = (Root, Vec<(MemberId, CodeId)>);

fn path(chain: &Chain) -> Path {
    let members = chain.members.iter().map(|member| (member.id, member.code));
    (Root::of(chain), members.collect())
}

impl Daemon {
    /// What is true at every moment.
    pub(super) fn check(&mut self) {
        self.check_packets();
        self.check_sockets();
        self.check_owners();
        self.check_members();
        self.world.look(&mut self.shown);
        let late = |overtaken: usize| overtaken > OVERTAKEN_MAX;
        let starved = self.pending.iter().find(|(_, it)| late(it.overtaken));
        assert!(starved.is_none(), "a request starves: {starved:?}");
    }

    /// Packets run what was before a change or what is after it, or nothing where that is said.
    fn check_packets(&mut self) {
        for key in self.world.nics.keys() {
            let chain = self.controller.state().at(*key);
            let at = |running: &&Running| running.site() == Some(*key);
            let commits = self.running.iter().filter(at);
            let commits: Vec<_> = commits.filter_map(Running::commit).collect();
            let Some((root, slots)) = self.world.running(*key) else {
                let is_waiting = chain.is_none_or(|chain| chain.standing != Standing::InForce);
                let in_between = |commit: &Commit| {
                    !matches!(commit, Commit::Swap { .. } | Commit::Registry { .. })
                };
                let is_between = commits.iter().any(|plan| in_between(&plan.commit));
                let is_disturbed = self.disturbed.contains(key);
                assert!(
                    is_waiting || is_between || is_disturbed,
                    "{key} runs nothing"
                );
                continue;
            };
            if self.world.is_settled(*key) {
                self.disturbed.remove(key);
            }
            let runs = (root.clone(), slots);
            let next = commits.iter().filter_map(|plan| plan.next.as_ref());
            let mut allowed = chain.into_iter().chain(next).map(path);
            assert!(allowed.any(|path| path == runs), "{key} runs {runs:?}");
        }
    }

    /// What belongs to a connection belongs to one that is there, or its end waits in the lane.
    fn check_owners(&self) {
        let state = self.controller.state();
        for chain in state.chains.values() {
            let lane = self.controller.lanes.get(&chain.interface.key);
            if lane.is_some_and(|lane| !lane.is_at_rest()) {
                continue;
            }
            for member in &chain.members {
                assert!(self.is_connected(member.owner.connection), "{member:?}");
                let is_attached = member.lifetime == Lifetime::Attached;
                if is_attached && member.state == MemberState::Running {
                    assert!(member.owner.connection.is_some(), "{member:?}");
                }
            }
        }
        for (key, lease) in state.leases.iter() {
            if self.controller.not_taken.contains(&key) {
                continue;
            }
            let lane = self.controller.lanes.get(&key.place.chain);
            if lane.is_none_or(Lane::is_at_rest) {
                assert!(self.is_connected(lease.owner.connection), "{lease:?}");
            }
        }
    }

    fn is_connected(&self, connection: Option<planner::ConnectionId>) -> bool {
        self.is_stopping || connection.is_none_or(|id| self.connections.contains_key(&id))
    }

    /// Numbers name one thing, and what was given back to a client stays its own.
    fn check_members(&mut self) {
        let state = self.controller.state();
        let mut ids = BTreeSet::new();
        for chain in state.chains.values() {
            for member in &chain.members {
                assert!(ids.insert(member.id), "two members are {}", member.id);
            }
        }
        let members = state.chains.values().flat_map(|chain| &chain.members);
        for member in members {
            let uid = self.users.entry(member.id).or_insert(member.owner.uid);
            assert_eq!(*uid, member.owner.uid, "{member:?} is another user's");
        }
        for (id, connection) in &self.reclaimed {
            let Some((_, member)) = state.member(*id) else {
                continue;
            };
            let is_its = member.state == MemberState::Running
                && member.owner.connection == Some(*connection);
            assert!(
                is_its || member.lifetime == Lifetime::Kept,
                "{connection:?} had it back: {member:?}"
            );
        }
    }

    /// What a job must not do.
    pub(super) fn check_job(&self, job: &Job<Error>) {
        self.check_place(job);
        self.check_rights(job);
        self.check_looked_at(job);
        if let Job::Prepare { plan, .. } = job
            && !self.controller.state().chains.contains_key(&plan.chain)
        {
            assert!(!self.world.has_pins(plan.dir), "{} is in use", plan.dir);
        }
        if let Job::Free { dir, .. } = job {
            let mut chains = self.controller.state().chains.values();
            let live = chains.find(|chain| chain.dir == *dir);
            let live = live.map(|chain| &chain.build);
            assert_eq!(
                self.shown.builds.get(dir),
                live,
                "readers don't know what runs"
            );
        }
        let (Job::Prepare { plan, id: None, .. } | Job::Commit { plan, id: None, .. }) = job else {
            return;
        };
        let is_whole = self.is_stopping || !self.world.nics.contains_key(&plan.site);
        let state = self.controller.state();
        for (id, name) in &plan.removes {
            let (_, member) = state.member(*id).expect("it is removed now");
            if member.source.is_redirect() {
                let left = self.world.redirected(state, *id);
                assert!(
                    self.is_stopping && self.has_failed(plan.site) || left.is_empty(),
                    "sockets are in its map: {left:?}"
                );
            }
            if member.source.is_redirect() || is_whole {
                continue;
            }
            let is_over =
                matches!(member.state, MemberState::Lingering { until } if until <= self.now);
            assert!(is_over, "{name} goes: {member:?}");
        }
    }

    /// A chain that could not be put back on its hook is shown as one that waits.
    pub(super) fn check_off_hook(&self, job: &Job<Error>, is_failed: bool) {
        if let Job::Commit { plan, .. } = job
            && is_failed
            && plan.is_first()
            && let Some(chain) = self.controller.state().chains.get(&plan.chain)
        {
            assert_ne!(chain.standing, Standing::InForce, "{}", plan.site);
        }
    }

    /// A daemon that was to take its chains with it has, where it could.
    pub(super) fn check_detached(&self) {
        for (site, nic) in &self.world.nics {
            let is_ours = matches!(nic.hook, Hook::Link { .. });
            assert!(
                !self.is_detaching || !is_ours || self.has_failed(*site),
                "{site} runs on"
            );
        }
    }

    /// Whether the daemon said that something failed at this interface.
    fn has_failed(&self, at: ChainKey) -> bool {
        let mut notices = self.notices.iter();
        notices.any(|notice| matches!(notice, Notice::Failed { site, .. } if *site == at))
    }

    /// Whatever a former daemon's clients had waits for them.
    pub(super) fn check_orphans(&self) {
        let state = self.controller.state();
        let start = self.start();
        for member in state.chains.values().flat_map(|chain| &chain.members) {
            let until = start.until(member.linger_ms);
            let waits = match member.lifetime {
                Lifetime::Attached => MemberState::Lingering { until },
                Lifetime::Kept => MemberState::Running,
            };
            assert_eq!(member.state, waits, "{member:?}");
        }
        for (key, lease) in state.leases.iter() {
            let waits = matches!(lease.state, LeaseState::Lingering { until, .. } if until == start.until(0));
            assert!(waits, "{key:?}: {lease:?}");
        }
    }

    /// Nothing is begun for a client that is gone, and who is not root takes nobody else's members
    /// away.
    fn check_rights(&self, job: &Job<Error>) {
        if let Job::Give {
            key, again: false, ..
        } = job
        {
            let lease = self.controller.state().leases.get(*key);
            let owner = lease.and_then(|lease| lease.owner.connection);
            assert!(owner.is_some_and(|owner| self.connections.contains_key(&owner)));
            assert!(lease.is_some_and(|lease| lease.state == LeaseState::Opened));
        }
        let (Job::Prepare { plan, id, .. } | Job::Commit { plan, id, .. }) = job else {
            return;
        };
        let Some(pending) = id.and_then(|id| self.pending.get(&id)) else {
            return;
        };
        let is_begun =
            matches!(job, Job::Prepare { .. }) || plan.prepare.is_empty() && !plan.is_first();
        assert!(
            !is_begun || self.connections.contains_key(&pending.connection),
            "its client is gone"
        );
        let uid = pending.uid;
        for (member, name) in &plan.removes {
            let Some((_, member)) = self.controller.state().member(*member) else {
                continue;
            };
            assert!(uid == 0 || member.owner.uid == uid, "{uid} removes {name}");
        }
    }

    /// Whatever went wrong before: nothing does any more, and some time passes.
    pub(super) fn settle(&mut self) {
        // What can't be done is not tried on and on, while no time passes.
        self.run();
        self.world.stuck = None;
        let keys: Vec<_> = self.world.nics.keys().copied().collect();
        for key in keys {
            self.world.foreign_leave(key);
        }
        self.run();
        if self.is_stopped {
            self.crash();
        }
        self.run_for(5000);
        self.assert_at_rest();
    }

    /// Nothing goes on: the state is the world.
    pub(super) fn assert_at_rest(&mut self) {
        assert!(self.controller.is_at_rest());
        assert!(self.running.is_empty());
        let unanswered = |connection| self.connections.contains_key(connection);
        let mut left = self.pending.values();
        assert!(
            !left.any(|it| unanswered(&it.connection)),
            "{:?}",
            self.pending
        );
        assert!(self.obsolete().is_empty(), "{:?}", self.obsolete());
        assert!(self.world.loads.is_empty(), "{:?}", self.world.loads);
        let state = self.controller.state();
        self.world.assert_is(state);
        let members = state.chains.values().flat_map(|chain| &chain.members);
        let objects = members.filter_map(|member| member.source.sha256());
        assert_eq!(self.world.objects, objects.copied().collect());
        for chain in state.chains.values() {
            let key = chain.interface.key;
            assert_eq!(chain.standing, Standing::InForce);
            let runs = self.world.running(key).expect("its hook runs it");
            assert_eq!((runs.0.clone(), runs.1), path(chain));
            for member in &chain.members {
                if let MemberState::Lingering { until } = member.state {
                    assert!(until.after_ms(2000_u32) > self.now, "{member:?} is over");
                }
            }
            if let Some(redirect) = chain.redirect() {
                let mut leases = state.leases.iter();
                let is_wanted = leases.any(|(it, lease)| it.place.chain == key && lease.redirect);
                assert!(is_wanted, "{key} has no socket");
                let in_map = self.world.redirected(state, redirect.id);
                let leases = state.leases.of_chain(key).into_iter();
                let active = leases.filter(|key| state.leases.receiver(key.place) == Some(*key));
                // What an earlier daemon wrote down it may not have put into the map any more.
                let active = active.filter(|key| {
                    let lease = state.leases.get(*key);
                    in_map.contains(&(key.place.queue, key.token))
                        || lease.is_some_and(|lease| lease.state == LeaseState::Active)
                });
                let active = active.filter(|key| {
                    let socket = &self.world.sockets[&key.token];
                    socket.is_open || socket.is_held
                });
                let active: Vec<_> = active.map(|key| (key.place.queue, key.token)).collect();
                assert_eq!(in_map, active, "{key}");
            }
        }
        for (key, _) in state.leases.iter() {
            let is_there = self.world.nics.contains_key(&key.place.chain);
            assert!(is_there, "{key:?} is leased on nothing");
        }
        let recovery = reconcile(&self.world.observe(), self.engines, self.now);
        assert_eq!(recovery.leftovers, []);
        assert_eq!(recovery.mends, []);
        assert_eq!(recovery.unreadable, []);
    }
}
