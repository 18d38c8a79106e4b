//! What to do about what a starting daemon finds.
//!
//! Looking changes nothing: what is pinned is told as facts ([`Observed`]), and judged here, chain
//! by chain. A chain with anything that can't be understood is left as it is ([`Unreadable`]).

mod observed;
mod verdict;

use std::collections::BTreeSet;

use crate::decide::fold;
use crate::{
    Build, Chain, ChainDir, ChainId, Cleanup, Engines, MemberId, Mend, Start, State, Unreadable,
};

pub use self::observed::{
    Holds, Observed, ObservedBuild, ObservedChain, ObservedCode, ObservedLink, ObservedMember,
    Presence, Registry,
};
use self::verdict::{Fate, Running};

/// What a starting daemon knows and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The chains that run.
    pub state: State,
    /// What makes the pins of the chains that run whole again: to be done first, in order. What fails
    /// is tried again ([`Mends`](crate::Mends)).
    pub mends: Vec<(ChainDir, Mend)>,
    /// What finishes the changes that were cut off; their commits are done or void.
    pub leftovers: Vec<(ChainDir, Vec<Cleanup>)>,
    /// Chains that are left alone.
    pub unreadable: Vec<Unreadable>,
}

/// Works out the state from what is pinned and what really runs, and what is left to free.
///
/// A chain is what its live build's registry says. Every other build is a change that
/// was cut off: before its commit if it is newer than the live one, after another's if it is older.
pub fn reconcile(observed: &Observed, engines: Engines, start: impl Into<Start>) -> Recovery {
    let start = start.into();
    let mut recovery = Recovery {
        state: State::new(engines),
        mends: Vec::new(),
        leftovers: Vec::new(),
        unreadable: Vec::new(),
    };
    // Also by those that can't be read: their members and they themselves go on.
    for pins in &observed.chains {
        let next = &mut recovery.state.next_member;
        let last = pins.known_members().into_iter().max();
        *next = (*next).max(MemberId(last.map_or(0, |last| last.0) + 1));
        let next = &mut recovery.state.next_chain;
        let last = pins.chains().map(|chain| chain.id).max();
        let last = last.map_or(0, |last| last.0).max(pins.dir.again);
        *next = (*next).max(ChainId(last + 1));
    }
    for pins in &observed.chains {
        match pins.fate() {
            Fate::Unreadable(why) => recovery.unreadable.push(pins.unreadable(why)),
            Fate::Gone => recovery.leftovers.push((pins.dir, pins.everything())),
            Fate::Runs(running) => {
                let mends = running.mends.iter().map(|mend| (pins.dir, *mend));
                recovery.mends.extend(mends);
                let leftovers = pins.leftovers(running.chain);
                if !leftovers.is_empty() {
                    recovery.leftovers.push((pins.dir, leftovers));
                }
                let id = recovery.state.insert(pins.taken_over(&running));
                recovery.state.orphan_all(id, start);
            }
        }
    }
    recovery
}

impl ObservedChain {
    /// The chain as the state has it.
    fn taken_over(&self, running: &Running<'_>) -> Chain {
        let pinned = self.builds.iter().map(|pins| pins.build);
        let last_build = pinned.fold(running.chain.last_build, Build::max);
        Chain {
            dir: self.dir,
            last_build,
            ..running.chain.clone()
        }
    }

    /// Frees what is pinned beside a chain that runs.
    fn leftovers(&self, chain: &Chain) -> Vec<Cleanup> {
        let live = chain.build;
        let runs = |id: MemberId| chain.members.iter().find(|member| member.id == id);
        let mut older: Vec<_> = self.chains().filter(|old| old.build < live).collect();
        // Oldest first, since a total is stamped with the last build that was added to it.
        older.sort_by_key(|old| old.build);
        let folds = older
            .into_iter()
            .filter_map(|old| fold(old, |member| runs(member.id).is_some()));
        let retires = self
            .builds
            .iter()
            .map(|pins| pins.build)
            .filter(|build| *build != live)
            .map(|build| Cleanup::RetireBuild { build });
        let codes = self.members.iter().flat_map(|pins| {
            let codes = pins.codes.iter().filter(|pinned| {
                runs(pins.member).is_some_and(|member| member.code != pinned.code)
            });
            codes.map(|pinned| Cleanup::RemoveCode {
                member: pins.member,
                code: pinned.code,
            })
        });
        let members = self
            .members
            .iter()
            .map(|pins| pins.member)
            .filter(|id| runs(*id).is_none())
            .map(|member| Cleanup::RemoveMember { member });
        let ran: Vec<_> = folds.chain(retires).collect();
        let mut steps = Vec::new();
        // Packets may be inside of a newer build too, if its link went with the daemon before it was
        // pinned.
        if !ran.is_empty() {
            steps.push(Cleanup::Grace);
        }
        steps.extend(ran.into_iter().chain(codes).chain(members));
        steps
    }

    /// Frees all that is pinned of a chain that doesn't run.
    fn everything(&self) -> Vec<Cleanup> {
        let retires = self.builds.iter().map(|pins| {
            let build = pins.build;
            Cleanup::RetireBuild { build }
        });
        let removes = self.members.iter().map(|pins| {
            let member = pins.member;
            Cleanup::RemoveMember { member }
        });
        let mut steps = vec![Cleanup::Grace];
        steps.extend(retires.chain(removes));
        steps.push(Cleanup::RemoveChain);
        steps
    }

    /// Every member that has a pin or is in a registry.
    fn known_members(&self) -> BTreeSet<MemberId> {
        let pinned = self.members.iter().map(|pins| pins.member);
        let kept = self.chains().flat_map(|chain| &chain.members);
        pinned.chain(kept.map(|member| member.id)).collect()
    }

    /// What the readable registries say of their own builds.
    fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.builds.iter().filter_map(|pins| match &pins.registry {
            Registry::Chain(chain) if chain.build == pins.build => Some(&**chain),
            Registry::Chain(_) | Registry::Missing | Registry::Unreadable(_) => None,
        })
    }
}
