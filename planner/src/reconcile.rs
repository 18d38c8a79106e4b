//! What to do about what a starting daemon finds.

use std::collections::BTreeSet;

use crate::decide::fold;
use crate::{
    Build, Chain, ChainDir, ChainId, Cleanup, CodeId, Engines, MemberId, Moment, Orphan, State,
};

/// What is pinned and what really runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every chain that has pins.
    pub chains: Vec<ObservedChain>,
}

/// One chain's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Where its pins are.
    pub dir: ChainDir,
    /// What the pinned link holds.
    pub held: Held,
    /// Every build that has pins.
    pub builds: Vec<ObservedBuild>,
    /// Every member's code that has pins.
    pub codes: Vec<(MemberId, CodeId)>,
    /// Members that have pins, with or without code.
    pub members: Vec<MemberId>,
}

/// What a chain's pinned link holds, even if somebody detached it: the engine looks at every hook,
/// and attaches it again or takes the chain away if the interface is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// There is no pinned link.
    NoLink,
    /// The root of this build.
    Build(Build),
    /// A program that is none of the pinned builds': somebody put it there.
    Unknown,
}

/// One build's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedBuild {
    /// Which build.
    pub build: Build,
    /// What its registry says.
    pub registry: Registry,
}

/// A build's registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// The chain as it was.
    Chain(Box<Chain>),
    /// Not written, or not readable: the build was being built.
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
    pub leftovers: Vec<(ChainDir, Vec<Cleanup>)>,
    /// Attached members of the chains that run: their connections went with the former daemon.
    pub orphans: Vec<Orphan>,
    /// Chains that are left alone: a newer daemon's, and those that run without a registry that
    /// says what they are.
    pub foreign: Vec<ChainDir>,
}

/// Works out the state from what is pinned and what really runs, and what is left to free.
///
/// A chain is what its live build's registry says. Every other build is a change that
/// was cut off: before its commit if it is newer than the live one, after another's if it is older.
pub fn reconcile(observed: &Observed, engines: Engines, now: Moment) -> Recovery {
    let mut recovery = Recovery {
        state: State::new(engines),
        leftovers: Vec::new(),
        orphans: Vec::new(),
        foreign: Vec::new(),
    };
    for pins in &observed.chains {
        let next = &mut recovery.state.next_chain;
        *next = (*next).max(ChainId(pins.dir.again + 1));
        for member in pins.members() {
            let next = &mut recovery.state.next_member;
            *next = (*next).max(MemberId(member.0 + 1));
        }
        match pins.fate() {
            Fate::Foreign => recovery.foreign.push(pins.dir),
            Fate::Gone => recovery.leftovers.push((pins.dir, pins.everything())),
            Fate::Runs(chain) => {
                let leftovers = pins.leftovers(chain);
                if !leftovers.is_empty() {
                    recovery.leftovers.push((pins.dir, leftovers));
                }
                let pinned = pins.builds.iter().map(|pins| pins.build);
                let chain = Chain {
                    dir: pins.dir,
                    last_build: pinned.fold(chain.last_build, Build::max),
                    ..chain.clone()
                };
                let id = recovery.state.insert(chain);
                recovery.orphans.extend(recovery.state.orphan_all(id, now));
            }
        }
    }
    recovery
}

/// What a chain's pins amount to.
enum Fate<'a> {
    /// It runs, and we know what it is.
    Runs(&'a Chain),
    /// It doesn't run any more.
    Gone,
    /// It is not ours to change.
    Foreign,
}

impl ObservedChain {
    fn fate(&self) -> Fate<'_> {
        let is_newer = |pins: &ObservedBuild| matches!(pins.registry, Registry::Newer { .. });
        if self.builds.iter().any(is_newer) {
            return Fate::Foreign;
        }
        let live = match self.held {
            Held::NoLink => return Fate::Gone,
            Held::Unknown => return Fate::Foreign,
            Held::Build(live) => live,
        };
        // A registry is written before its build is attached, so a live build without
        // one is somebody's handiwork. It handles packets: leave it alone.
        let chain = self.chains().find(|chain| chain.build == live);
        chain.map_or(Fate::Foreign, Fate::Runs)
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
        // No packet was ever inside a build that is newer than the live one.
        let (newer, retired): (Vec<_>, Vec<_>) = self
            .builds
            .iter()
            .map(|pins| pins.build)
            .filter(|build| *build != live)
            .partition(|build| *build > live);
        let retire = |build| Cleanup::RetireBuild { build };
        let codes = self.codes.iter().filter_map(|(id, code)| {
            let is_old = runs(*id).is_some_and(|member| member.code != *code);
            is_old.then_some(Cleanup::RemoveCode {
                member: *id,
                code: *code,
            })
        });
        let members = self
            .members()
            .into_iter()
            .filter(|id| runs(*id).is_none())
            .map(|member| Cleanup::RemoveMember { member });
        let mut steps: Vec<_> = newer.into_iter().map(retire).collect();
        let ran: Vec<_> = folds.chain(retired.into_iter().map(retire)).collect();
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
        let members = self.members().into_iter();
        let removes = members.map(|member| Cleanup::RemoveMember { member });
        let mut steps = vec![Cleanup::Grace];
        steps.extend(retires.chain(removes));
        steps.push(Cleanup::RemoveChain);
        steps
    }

    /// Every member that has any pin.
    fn members(&self) -> BTreeSet<MemberId> {
        let with_code = self.codes.iter().map(|(member, _)| *member);
        self.members.iter().copied().chain(with_code).collect()
    }

    /// What the readable registries say.
    fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.builds.iter().filter_map(|pins| match &pins.registry {
            Registry::Chain(chain) if chain.build == pins.build => Some(&**chain),
            Registry::Chain(_) | Registry::Missing | Registry::Newer { .. } => None,
        })
    }
}
