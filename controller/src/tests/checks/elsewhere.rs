//! What happens to one chain touches no other, whatever they have in common.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Build, ChainDir, ChainKey, CodeId, ConnectionId, Digest, Lease, LeaseState, MemberId, Revision,
    SocketKey,
};

use super::super::daemon::Daemon;
use super::super::world::Error;
use crate::{Done, Event, Job, RequestId};

/// What a chain is, but for whose its members are.
type Essence = (ChainDir, Revision, Build, Vec<(MemberId, CodeId)>);

/// What there was before an event.
pub(in crate::tests) struct Before {
    site: Option<ChainKey>,
    gone: Option<ConnectionId>,
    is_commit: bool,
    chains: BTreeMap<ChainKey, Essence>,
    leases: BTreeMap<SocketKey, Lease>,
    not_taken: BTreeSet<SocketKey>,
    /// The objects that members were loaded from.
    pub(in crate::tests) objects: BTreeSet<Digest>,
}

impl Daemon {
    fn essences(&self) -> BTreeMap<ChainKey, Essence> {
        let chains = self.controller.state().chains.values();
        let essences = chains.map(|chain| {
            let members = chain.members.iter().map(|member| (member.id, member.code));
            let essence = (chain.dir, chain.revision, chain.build, members.collect());
            (chain.interface.key, essence)
        });
        essences.collect()
    }

    fn leases(&self) -> BTreeMap<SocketKey, Lease> {
        let leases = self.controller.state().leases.iter();
        leases.map(|(key, lease)| (key, lease.clone())).collect()
    }

    pub(in crate::tests) fn seen_before(&self, event: &Event<Error>) -> Before {
        let mut gone = None;
        if let Event::ConnectionGone(connection) = event {
            gone = Some(*connection);
        }
        Before {
            site: site_of(event),
            gone,
            is_commit: matches!(event, Event::Done(Done::Committed { .. })),
            chains: self.essences(),
            leases: self.leases(),
            not_taken: self.controller.not_taken.clone(),
            objects: self.objects(),
        }
    }

    /// A chain changes by a commit at its own interface. A lease changes by what happens there, with
    /// its connection, and when its time is over.
    pub(in crate::tests) fn check_elsewhere(&self, before: &Before) {
        let after = self.essences();
        for key in before.chains.keys().chain(after.keys()) {
            let is_changed = before.chains.get(key) != after.get(key);
            let is_its = before.is_commit && before.site == Some(*key);
            assert!(!is_changed || is_its, "{key} changes by another's event");
        }
        let Some(site) = before.site else {
            return self.check_leases_of_others(before);
        };
        let after = self.leases();
        for (key, lease) in &before.leases {
            if key.place.chain == site || after.get(key) == Some(lease) {
                continue;
            }
            let is_over =
                matches!(lease.state, LeaseState::Lingering { until, .. } if until <= self.now);
            // What could not be taken before is tried again at the next look.
            let is_left = before.not_taken.contains(key);
            assert!(
                (is_over || is_left) && !after.contains_key(key),
                "{key:?} changes by what happens at {site}: {lease:?}"
            );
        }
        let is_new = |key: &SocketKey| !before.leases.contains_key(key);
        let mut elsewhere = after.keys().filter(|key| key.place.chain != site);
        assert!(!elsewhere.any(is_new), "a queue is leased elsewhere");
    }

    /// A connection that ends takes nobody else's sockets.
    fn check_leases_of_others(&self, before: &Before) {
        let Some(gone) = before.gone else {
            return;
        };
        let leases = &self.controller.state().leases;
        for (key, lease) in &before.leases {
            let is_its = lease.owner.connection == Some(gone);
            let is_over =
                matches!(lease.state, LeaseState::Lingering { until, .. } if until <= self.now);
            let is_left = before.not_taken.contains(key);
            assert!(
                is_its || is_over || is_left || leases.get(*key) == Some(lease),
                "{key:?} goes with another's connection: {lease:?}"
            );
        }
    }

    /// A job is about one chain: its lane, its directory, its interface.
    pub(super) fn check_place(&self, job: &Job<Error>) {
        let (site, dir, id) = match job {
            Job::Prepare { site, id, plan } | Job::Commit { site, id, plan } => {
                let next = plan.next.as_ref().map(|next| next.interface.key);
                assert_eq!(plan.site, *site);
                assert!(next.is_none_or(|key| key == *site), "{site}: {next:?}");
                (*site, plan.dir, *id)
            }
            Job::Free { site, dir, .. } | Job::Mend { site, dir, .. } => (*site, *dir, None),
            Job::Look { site, id, dir } => (*site, *dir, *id),
            Job::Give { site, to, key, .. } => {
                assert_eq!(key.place.chain, *site);
                (*site, to.dir, None)
            }
            Job::Take { site, from, .. } => (*site, from.dir, None),
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
            | Job::Stopped => return,
        };
        assert_eq!(dir.key, site);
        assert!(
            id.is_none_or(|id: RequestId| self.pending[&id].site == site),
            "{site}: a request for another interface"
        );
    }
}

/// The interface that an event is about, if it is about one.
fn site_of(event: &Event<Error>) -> Option<ChainKey> {
    match event {
        Event::Asked(asking) => Some(asking.site.key),
        Event::Done(
            Done::Prepared { site, .. }
            | Done::Committed { site, .. }
            | Done::Freed { site, .. }
            | Done::Looked { site, .. }
            | Done::Mended { site, .. }
            | Done::Given { site, .. }
            | Done::Taken { site, .. },
        ) => Some(*site),
        Event::Done(Done::Loaded { .. } | Done::Swept { .. })
        | Event::ConnectionGone(_)
        | Event::SocketsGone(_)
        | Event::Time
        | Event::Stop { .. } => None,
    }
}
