//! What to do about what a starting daemon finds.

use crate::{Chain, ChainKey, CodeId, Generation, MemberId, Plan, State};

/// What is pinned and what really runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every chain that has pins.
    pub chains: Vec<ObservedChain>,
}

/// One chain's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Which chain.
    pub key: ChainKey,
    /// The generation whose root the hook runs. `None`: there is no hook any more (no pinned link,
    /// or its interface is gone, or somebody detached it).
    pub live: Option<Generation>,
    /// Every generation that has pins.
    pub generations: Vec<ObservedGeneration>,
    /// Every member's code that has pins.
    pub codes: Vec<(MemberId, CodeId)>,
    /// Members that have pins, with or without code.
    pub members: Vec<MemberId>,
}

/// One generation's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedGeneration {
    /// Which generation.
    pub generation: Generation,
    /// What its registry says.
    pub registry: Registry,
}

/// A generation's registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// The chain as it was.
    Chain(Box<Chain>),
    /// Not written, or not readable: the generation was being built.
    Missing,
    /// Written by a newer daemon: the chain is left alone.
    Newer {
        /// Its version.
        version: u32,
    },
}

/// What a starting daemon knows and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The chains that run.
    pub state: State,
    /// What finishes the changes that were cut off; their commits are done or void.
    pub leftovers: Vec<Plan>,
    /// Chains of a newer daemon, which are left alone.
    pub foreign: Vec<ChainKey>,
}
