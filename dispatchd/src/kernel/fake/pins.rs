//! What the fake kernel keeps of a chain, and what must never happen to it.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Build, Chain, ChainDir, CodeId, Holds, MemberId, ObservedBuild, ObservedChain, ObservedCode,
    ObservedLink, ObservedMember, Presence, Registry, Root, Slot,
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

    pub(super) fn observe(&self, key: ChainDir) -> ObservedChain {
        let link = self.live.map(|live| ObservedLink {
            holds: Holds::Build(live),
            is_attached: true,
        });
        let presence = |is_pinned| {
            if is_pinned {
                Presence::Pinned
            } else {
                Presence::Missing
            }
        };
        let builds = self.builds.iter().map(|(build, built)| ObservedBuild {
            build: *build,
            registry: built
                .registry
                .clone()
                .map_or(Registry::Missing, |chain| Registry::Chain(Box::new(chain))),
            has_next_registry: built.next_registry.is_some(),
            root: presence(built.root.is_some()),
            jump: presence(built.root.is_some()),
            counters: presence(built.root.is_some()),
            slots: built.slots.keys().copied().collect(),
        });
        let members = self.members.iter().map(|(member, pinned)| ObservedMember {
            member: *member,
            totals: Presence::Pinned,
            has_next_totals: false,
            codes: pinned
                .codes
                .iter()
                .map(|code| ObservedCode {
                    code: *code,
                    has_program: true,
                })
                .collect(),
        });
        ObservedChain {
            dir: key,
            link,
            next_link: None,
            builds: builds.collect(),
            members: members.collect(),
            faults: Vec::new(),
        }
    }
}
