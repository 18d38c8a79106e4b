//! What the time brings: deadlines, looks, and what failed before.

use std::collections::BTreeSet;

use planner::{ChainKey, LeaseState};

use crate::controller::Life;
use crate::lane::Work;
use crate::{Controller, Job, LOOK_MS};

impl<E: Clone> Controller<E> {
    /// Begins what its time has come for.
    pub(crate) fn what_is_due(&mut self) {
        if self.life != Life::Running {
            return;
        }
        let over = self.state.over(self.now);
        for chain in over.into_keys() {
            let site = self.state.chains[&chain].interface.key;
            self.enqueue_own(site, Work::Expire);
        }
        for dir in self.state.mends_due(self.now) {
            let mut chains = self.state.chains.values();
            let found = chains.find(|chain| chain.dir == dir);
            let site = found.map_or(dir.key, |chain| chain.interface.key);
            self.enqueue_own(site, Work::Mend(dir));
        }
        let over = self.state.leases.over(self.now);
        let sites: BTreeSet<ChainKey> = over.iter().map(|key| key.place.chain).collect();
        for site in sites {
            self.enqueue_own(site, Work::ExpireSockets);
        }
        if self.next_look <= self.now {
            self.next_look = self.now.after_ms(LOOK_MS);
            self.sweep();
        }
    }

    /// Looks at everything, and tries again what failed.
    fn sweep(&mut self) {
        let left: Vec<_> = self.state.obsolete.keys().copied().collect();
        for dir in left {
            self.enqueue_own(dir.key, Work::Free(dir));
        }
        let not_taken = self.not_taken.iter().map(|key| key.place.chain);
        for site in not_taken.collect::<BTreeSet<ChainKey>>() {
            self.enqueue_own(site, Work::DropAgain);
        }
        for key in self.not_given.clone() {
            self.enqueue_own(key.place.chain, Work::GiveAgain(vec![key]));
        }
        let chains = self.state.chains.values();
        let sites: Vec<ChainKey> = chains.map(|chain| chain.interface.key).collect();
        for site in sites {
            // Also where something is done that fails whenever it is tried.
            if !self.lane(site).will_look() {
                self.enqueue(site, Work::Look);
                self.enqueue_own(site, Work::DropRedirect);
            }
        }
        let sockets = self.state.leases.iter();
        let alone = sockets.filter(|(key, lease)| {
            let is_held = matches!(lease.state, LeaseState::Opened | LeaseState::Active);
            is_held && self.state.at(key.place.chain).is_none()
        });
        let sockets = alone.map(|(key, _)| key).collect();
        self.push(Job::Sweep { sockets });
        let chains = &self.state.chains;
        self.not_seen.retain(|chain| chains.contains_key(chain));
        let now = self.now;
        self.lanes
            .retain(|_, lane| !lane.is_at_rest() || lane.not_before > now);
    }
}
