//! Readers, which have what was published open and never wait for the daemon.

use std::collections::BTreeMap;

use planner::{
    Build, ChainDir, ChainId, ConnectionId, Lease, Leases, MemberId, Moment, Revision, SocketKey,
    State,
};

use super::World;

/// What readers were shown last.
#[derive(Clone, Debug, Default)]
pub(in crate::tests) struct Shown {
    members: BTreeMap<MemberId, Sources>,
    /// The builds that they know of.
    pub(in crate::tests) builds: BTreeMap<ChainDir, Build>,
    /// When it was seen what each chain's hook runs.
    looks: BTreeMap<ChainId, Moment>,
    revisions: BTreeMap<ChainDir, Revision>,
    owners: BTreeMap<MemberId, Option<ConnectionId>>,
    leases: Leases,
    /// What each member's count was when somebody last looked.
    last: BTreeMap<MemberId, u64>,
}

impl Shown {
    pub(in crate::tests) fn revision(&self, dir: ChainDir) -> Option<Revision> {
        self.revisions.get(&dir).copied()
    }

    /// Whose a member is.
    pub(in crate::tests) fn owner(&self, member: MemberId) -> Option<ConnectionId> {
        self.owners.get(&member).copied().flatten()
    }

    pub(in crate::tests) fn lease(&self, key: SocketKey) -> Option<&Lease> {
        self.leases.get(key)
    }
}

/// Where a member's count comes from.
#[derive(Clone, Debug)]
struct Sources {
    total: u64,
    /// Counters by number, and the slot in them: of the builds that the total doesn't have.
    counters: Vec<(usize, usize)>,
}

impl Shown {
    /// Readers are shown that a chain's hook was looked at.
    pub(in crate::tests) fn looked(&mut self, chain: ChainId, at: Moment) {
        let before = self.looks.insert(chain, at);
        assert!(before.is_none_or(|before| before <= at));
    }

    /// When it was last seen what a chain's hook runs.
    pub(in crate::tests) fn last_look(&self, chain: ChainId) -> Option<Moment> {
        self.looks.get(&chain).copied()
    }
}

impl World {
    /// A member's count: its total, and what builds counted that aren't in it; of those up to `live`,
    /// if that is known.
    pub(super) fn count(&self, dir: ChainDir, member: MemberId, live: Option<Build>) -> u64 {
        self.read(&self.sources(dir, member, live))
    }

    fn sources(&self, dir: ChainDir, member: MemberId, live: Option<Build>) -> Sources {
        let pins = &self.chains[&dir];
        let pinned = pins.members.get(&member);
        let folded = pinned.map_or(0, |pinned| pinned.folded);
        let builds = pins
            .builds
            .iter()
            .filter(|(build, _)| build.0 > folded && live.is_none_or(|live| **build <= live));
        let counters = builds.flat_map(|(_, built)| {
            let slots = built.slots.values().enumerate();
            let slots = slots.filter(|(_, (id, _))| *id == member);
            slots.map(|(slot, _)| (built.number, slot))
        });
        Sources {
            total: pinned.map_or(0, |pinned| pinned.total),
            counters: counters.collect(),
        }
    }

    fn read(&self, sources: &Sources) -> u64 {
        let counts = sources.counters.iter().map(|(number, slot)| {
            let counted = self.counted[*number].get(*slot);
            counted.copied().unwrap_or(0)
        });
        sources.total + counts.sum::<u64>()
    }

    /// Shows the state to readers. What they see then is every packet that was to be counted.
    pub(in crate::tests) fn publish(&self, shown: &mut Shown, state: &State) {
        let chains = state.chains.values();
        shown.revisions = chains.map(|chain| (chain.dir, chain.revision)).collect();
        let members = state.chains.values().flat_map(|chain| &chain.members);
        let owners = members.map(|member| (member.id, member.owner.connection));
        shown.owners = owners.collect();
        shown.leases = state.leases.clone();
        shown.members.clear();
        let builds = state.chains.values().map(|chain| (chain.dir, chain.build));
        shown.builds = builds.collect();
        for chain in state.chains.values() {
            for member in &chain.members {
                let sources = self.sources(chain.dir, member.id, Some(chain.build));
                shown.members.insert(member.id, sources);
            }
        }
        self.look(shown);
        shown.last.retain(|id, _| shown.members.contains_key(id));
    }

    /// Readers look: no count is less than it was.
    pub(in crate::tests) fn look(&self, shown: &mut Shown) {
        for (member, sources) in &shown.members {
            let count = self.read(sources);
            let last = shown.last.insert(*member, count).unwrap_or(0);
            assert!(count >= last, "member {member} had {last} and has {count}");
        }
    }
}
