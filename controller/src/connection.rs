//! What becomes of what a connection asked for and had, once it is gone.

use std::collections::{BTreeMap, BTreeSet};

use planner::{ChainKey, ConnectionId, SocketKey};

use crate::lane::{Doing, Lane, Work};
use crate::{Controller, Job, RequestId};

impl<E: Clone> Controller<E> {
    /// A connection is gone: what it asked for is given up, its queues are given back, its members
    /// linger. Where something is being done in a lane, its members there wait for the outcome, which
    /// would overwrite what is changed before.
    pub(crate) fn connection_gone(&mut self, connection: ConnectionId) {
        let of_it: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, asked)| asked.authority.connection() == Some(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in of_it {
            if !self.is_being_done(id) {
                self.give_up(id);
            } else if let Some(asked) = self.requests.get_mut(&id) {
                asked.is_gone = true;
            }
        }
        let mut queues: BTreeMap<ChainKey, Vec<SocketKey>> = BTreeMap::new();
        for key in self.state.leases.of_connection(connection) {
            queues.entry(key.place.chain).or_default().push(key);
        }
        let chains = self.state.chains.values().map(|chain| chain.interface.key);
        let busy = self.lanes.iter().filter(|(_, lane)| lane.doing.is_some());
        let sites: BTreeSet<ChainKey> = chains.chain(busy.map(|(site, _)| *site)).collect();
        for site in sites {
            self.enqueue_first(site, Work::Gone(connection));
        }
        for (site, keys) in queues {
            self.enqueue(site, Work::DropSockets(keys));
        }
    }

    fn give_up(&mut self, id: RequestId) {
        self.requests.remove(&id);
        self.push(Job::Cancel(id));
    }

    /// Gives a request up whose connection ended while something came first that it needed.
    pub(crate) fn is_given_up(&mut self, id: RequestId) -> bool {
        let is_gone = self.requests.get(&id).is_none_or(|asked| asked.is_gone);
        if is_gone && self.requests.contains_key(&id) {
            self.give_up(id);
        }
        is_gone
    }

    /// Whether a request's work is begun in its lane, or done and not answered yet.
    pub(crate) fn is_being_done(&self, id: RequestId) -> bool {
        let is_closed = |lane: &Lane<E>| lane.waiting.contains(&Work::Closed(id));
        let is_doing = |lane: &Lane<E>| match &lane.doing {
            Some(Doing::Preparing(_, after) | Doing::Committing(_, after)) => {
                after.request() == Some(id)
            }
            Some(Doing::Freeing(freeing)) => freeing.then.request() == Some(id),
            Some(Doing::Giving { id: giving, .. }) => *giving == Some(id),
            Some(Doing::Looking(purpose)) => purpose.request() == Some(id),
            Some(Doing::Taking { closing, .. }) => *closing == Some(id),
            Some(Doing::Mending) | None => false,
        };
        let mut lanes = self.lanes.values();
        lanes.any(|lane| is_doing(lane) || is_closed(lane))
    }
}
