//! What the fake kernel keeps of a chain, and what must never happen to it.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Chain, ChainKey, CodeId, Generation, Held, MemberId, ObservedChain, ObservedGeneration,
    Registry, Root, Slot,
};

/// What is pinned of one chain, and what its hook runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    pub(super) live: Option<Generation>,
    /// Generations with a packet inside that entered before a commit.
    pub(super) inside: Vec<Generation>,
    pub(super) generations: BTreeMap<Generation, Built>,
    pub(super) members: BTreeMap<MemberId, Pinned>,
}

/// A generation's pins.
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
    /// The last generation that was added to the total.
    pub(super) folded: u64,
}

impl Pins {
    pub(super) fn built(&mut self, generation: Generation) -> &mut Built {
        let built = self.generations.get_mut(&generation);
        built.expect("a generation that was built")
    }

    /// A packet runs through a generation: each member counts it.
    pub(super) fn run_packet(&mut self, generation: Generation, ran: &mut BTreeMap<MemberId, u64>) {
        let built = self.built(generation);
        if !built.root.as_ref().expect("a root").counters {
            return;
        }
        for (slot, (member, _)) in &built.slots {
            *built.counts.entry(*slot).or_default() += 1;
            *ran.entry(*member).or_default() += 1;
        }
    }

    /// A generation may be attached when every slot of its root is filled with what its registry
    /// says.
    pub(super) fn assert_whole(&self, generation: Generation) {
        let built = &self.generations[&generation];
        let chain = built.registry.as_ref().expect("a registry");
        assert_eq!(built.root, Some(Root::of(chain)));
        let members = chain.slots().map(|(slot, m)| (slot, (m.id, m.code)));
        assert_eq!(built.slots, members.collect());
    }

    pub(super) fn assert_unused(&self, generation: Generation) {
        assert_ne!(self.live, Some(generation), "it runs");
        assert!(!self.inside.contains(&generation), "a packet is inside");
    }

    pub(super) fn assert_unreachable(&self, is_meant: impl Fn((MemberId, CodeId)) -> bool) {
        for generation in self.live.iter().chain(&self.inside) {
            let mut occupants = self.generations[generation].slots.values();
            assert!(!occupants.any(|occupant| is_meant(*occupant)), "it runs");
        }
    }

    pub(super) fn observe(&mut self, key: ChainKey) -> ObservedChain {
        let mut generations = Vec::new();
        for (generation, built) in &mut self.generations {
            built.next_registry = None;
            generations.push(ObservedGeneration {
                generation: *generation,
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
            key,
            held: self.live.map_or(Held::NoLink, Held::Generation),
            generations,
            codes: codes.collect(),
            members: self.members.keys().copied().collect(),
        }
    }
}
