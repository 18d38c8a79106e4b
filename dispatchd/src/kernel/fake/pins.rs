//! What the fake kernel keeps of a chain, and what must never happen to it.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Build, Chain, ChainDir, CodeId, Held, MemberId, ObservedBuild, ObservedChain, Registry, Root,
    Slot,
};

/// What is pinned of one chain, and what its hook runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    pub(super) live: Option<Build>,
    /// Builds with a packet inside that entered before a commit.
    pub(super) inside: Vec<Build>,
    pub(super) builds: BTreeMap<Build, Built>,
    pub(super) members: BTreeMap<MemberId, Pinned>,
}

/// A build's pins.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    pub(super) root: Option<Root>,
    pub(super) slots: BTreeMap<Slot, (MemberId, CodeId)>,
    pub(super) counts: BTreeMap<Slot, u64>,
    pub(super) registry: Option<Chain>,
    /// The registry that a commit puts in the place of the present one.
    pub(super) next_registry: Option<Chain>,
}

/// A member's pins.
#[derive(Clone, Debug, Default)]
pub(super) struct Pinned {
    pub(super) codes: BTreeSet<CodeId>,
    pub(super) total: u64,
    /// The last build that was added to the total.
    pub(super) folded: u64,
}

impl Pins {
    pub(super) fn built(&mut self, build: Build) -> &mut Built {
        let built = self.builds.get_mut(&build);
        built.expect("a build that was built")
    }

    /// A packet runs through a build: each member counts it.
    pub(super) fn run_packet(&mut self, build: Build, ran: &mut BTreeMap<MemberId, u64>) {
        let built = self.built(build);
        if !built.root.as_ref().expect("a root").counters {
            return;
        }
        for (slot, (member, _)) in &built.slots {
            *built.counts.entry(*slot).or_default() += 1;
            *ran.entry(*member).or_default() += 1;
        }
    }

    /// A build may be attached when every slot of its root is filled with what its registry
    /// says.
    pub(super) fn assert_whole(&self, build: Build) {
        let built = &self.builds[&build];
        let chain = built.registry.as_ref().expect("a registry");
        assert_eq!(built.root, Some(Root::of(chain)));
        let members = chain.slots().map(|(slot, m)| (slot, (m.id, m.code)));
        assert_eq!(built.slots, members.collect());
    }

    pub(super) fn assert_unused(&self, build: Build) {
        assert_ne!(self.live, Some(build), "it runs");
        assert!(!self.inside.contains(&build), "a packet is inside");
    }

    pub(super) fn assert_unreachable(&self, is_meant: impl Fn((MemberId, CodeId)) -> bool) {
        for build in self.live.iter().chain(&self.inside) {
            let mut occupants = self.builds[build].slots.values();
            assert!(!occupants.any(|occupant| is_meant(*occupant)), "it runs");
        }
    }

    pub(super) fn observe(&mut self, key: ChainDir) -> ObservedChain {
        let mut builds = Vec::new();
        for (build, built) in &mut self.builds {
            built.next_registry = None;
            builds.push(ObservedBuild {
                build: *build,
                registry: built
                    .registry
                    .clone()
                    .map_or(Registry::Missing, |chain| Registry::Chain(Box::new(chain))),
            });
        }
        let codes = self.members.iter().flat_map(|(id, pinned)| {
            let codes = pinned.codes.iter();
            codes.map(|code| (*id, *code))
        });
        ObservedChain {
            dir: key,
            held: self.live.map_or(Held::NoLink, Held::Build),
            builds,
            codes: codes.collect(),
            members: self.members.keys().copied().collect(),
        }
    }
}
