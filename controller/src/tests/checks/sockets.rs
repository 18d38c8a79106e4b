//! Queues, whose they are, and where their packets go.

use std::collections::BTreeMap;

use planner::{LeaseState, QueueKey, SocketKey};

use super::super::daemon::Daemon;
use crate::Job;
use crate::lane::Lane;

fn receives(state: LeaseState) -> bool {
    !matches!(state, LeaseState::Opening | LeaseState::Opened)
}

impl Daemon {
    /// A queue is one client's, in one memory, and has one receiver; the redirect program knows no
    /// socket but those; the daemon has a socket as long as its queue is leased.
    pub(in crate::tests) fn check_sockets(&self) {
        self.check_queues();
        self.check_maps();
        self.check_receivers();
        let leases = &self.controller.state().leases;
        for (key, lease) in leases.iter() {
            let is_held = self
                .world
                .sockets
                .get(&key.token)
                .is_some_and(|it| it.is_held);
            let should_be = matches!(lease.state, LeaseState::Opened | LeaseState::Active);
            assert_eq!(is_held, should_be, "{key:?} {lease:?}");
            let socket = self.world.sockets.get(&key.token);
            let is_its = socket.is_none_or(|socket| socket.uid == lease.owner.uid);
            assert!(is_its, "{key:?} is another user's: {lease:?}");
        }
        let leased: Vec<_> = leases.iter().map(|(key, _)| key.token).collect();
        let mut held = self.world.sockets.iter().filter(|(_, it)| it.is_held);
        let stray = held.find(|(token, _)| !leased.contains(token));
        assert!(stray.is_none(), "its queue stays busy: {stray:?}");
    }

    fn check_queues(&self) {
        let mut first = BTreeMap::new();
        let mut receivers = BTreeMap::new();
        for (key, lease) in self.controller.state().leases.iter() {
            let of = (lease.owner.connection, lease.owner.uid, lease.memory.of);
            let former = *first.entry(key.place).or_insert(of);
            assert_eq!(former, of, "{key:?} is on somebody else's queue");
            if receives(lease.state) {
                let former = receivers.insert(key.place, key);
                assert_eq!(former, None, "two receive from {:?}", key.place);
            }
        }
    }

    /// Where nothing is going on, every active socket gets its queue's packets.
    fn check_receivers(&self) {
        let state = self.controller.state();
        for (key, lease) in state.leases.iter() {
            let site = key.place.chain;
            let redirect = state.at(site).and_then(|chain| chain.redirect());
            let lane = self.controller.lanes.get(&site);
            let is_at_rest = lane.is_none_or(Lane::is_at_rest) && !self.is_stopping;
            let is_left = self.controller.not_given.contains(&key)
                || self.controller.not_taken.contains(&key);
            let Some(redirect) = redirect.filter(|_| is_at_rest && !is_left) else {
                continue;
            };
            let in_map = self.world.redirected(state, redirect.id);
            let is_in = in_map.contains(&(key.place.queue, key.token));
            assert!(
                lease.state != LeaseState::Active || is_in,
                "{key:?} gets no packets"
            );
        }
    }

    /// A socket is in a map from when it is given its queue's packets until they are taken from it.
    fn check_maps(&self) {
        let state = self.controller.state();
        for chain in state.chains.values() {
            let Some(redirect) = chain.redirect() else {
                continue;
            };
            let site = chain.interface.key;
            let is_given = |key: SocketKey| {
                let mut jobs = self.running.iter().map(|running| &running.job);
                jobs.any(|job| matches!(job, Job::Give { key: given, .. } if *given == key))
            };
            for (queue, token) in self.world.redirected(state, redirect.id) {
                let place = QueueKey { chain: site, queue };
                let key = SocketKey { place, token };
                let lease = state.leases.get(key);
                let is_right = lease.is_some_and(|lease| receives(lease.state))
                    || is_given(key) && lease.is_some();
                // A daemon that stops tries nothing twice.
                assert!(
                    is_right || self.is_stopping,
                    "queue {queue} of {site} goes to nobody's socket: {lease:?}"
                );
            }
        }
    }
}
