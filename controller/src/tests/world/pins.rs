//! What is pinned of one chain, and what must never happen to it.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Build, Chain, ChainDir, CodeId, Holds, MemberId, Mend, ObservedBuild, ObservedChain,
    ObservedCode, ObservedLink, ObservedMember, Presence, Registry, Root, Slot,
};

use super::sockets::RedirectMaps;

/// What is pinned of one chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Pins {
    /// What the pinned link holds, also once it was taken off its hook.
    pub(super) link: Option<Build>,
    /// What the link holds that is pinned beside it, before it takes its place.
    pub(super) next_link: Option<Build>,
    pub(super) builds: BTreeMap<Build, Built>,
    pub(super) members: BTreeMap<MemberId, Pinned>,
    /// The builds that packets are inside of which entered before the hook changed.
    pub(super) inside: Vec<Build>,
}

/// A build's pins.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    /// Its counters, by number.
    pub(super) number: usize,
    pub(super) root: Option<Root>,
    pub(super) slots: BTreeMap<Slot, (MemberId, CodeId)>,
    pub(super) registry: Option<Chain>,
    /// The registry that a commit puts in the place of the present one.
    pub(super) draft: Option<Chain>,
}

/// A member's pins.
#[derive(Clone, Debug, Default)]
pub(super) struct Pinned {
    pub(super) codes: BTreeSet<CodeId>,
    pub(super) total: u64,
    /// The last build that was added to the total.
    pub(super) folded: u64,
    /// What its maps hold, if it is the redirect program.
    pub(super) redirect: RedirectMaps,
}

impl Pins {
    pub(super) fn built(&mut self, build: Build) -> &mut Built {
        let built = self.builds.get_mut(&build);
        built.expect("a build that was built")
    }

    /// A build may be attached when every slot of its root is filled with what its registry says.
    pub(super) fn assert_whole(&self, build: Build) {
        let built = &self.builds[&build];
        let chain = built.registry.as_ref().expect("a registry");
        assert_eq!(chain.build, build);
        assert_eq!(built.root, Some(Root::of(chain)));
        let members = chain.slots().map(|(slot, m)| (slot, (m.id, m.code)));
        assert_eq!(built.slots, members.collect());
    }

    /// No hook runs it, and no packet is inside.
    pub(super) fn assert_unused(&self, build: Build, runs: Option<Build>) {
        assert_ne!(runs, Some(build), "it runs");
        assert_ne!(self.link, Some(build), "the pinned link holds it");
        assert!(!self.inside.contains(&build), "a packet is inside {build}");
    }

    /// No build that packets run or are inside of has it.
    pub(super) fn assert_unreachable(
        &self,
        runs: Option<Build>,
        is_meant: impl Fn((MemberId, CodeId)) -> bool,
    ) {
        for build in self.link.iter().chain(&runs).chain(&self.inside) {
            let mut occupants = self.builds[build].slots.values();
            assert!(!occupants.any(|it| is_meant(*it)), "{build} runs it");
        }
    }

    /// What is pinned. `is_hooked`: the interface runs one of the chain's roots.
    pub(super) fn observe(&self, dir: ChainDir, is_hooked: bool) -> ObservedChain {
        let builds = self.builds.iter().map(|(build, built)| {
            let registry = built.registry.clone();
            ObservedBuild {
                build: *build,
                registry: registry
                    .map_or(Registry::Missing, |chain| Registry::Chain(Box::new(chain))),
                has_next_registry: built.draft.is_some(),
                root: presence(built.root.is_some()),
                jump: presence(built.root.is_some()),
                counters: presence(built.root.is_some()),
            }
        });
        let members = self.members.iter().map(|(member, pinned)| ObservedMember {
            member: *member,
            totals: presence(!pinned.codes.is_empty()),
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
        // A new link is attached before it takes the old one's place, which holds no hook by then.
        let holds = |build: Build, is_attached| ObservedLink {
            holds: Holds::Build(build),
            is_attached,
        };
        let is_new = self.next_link.is_some();
        ObservedChain {
            dir,
            link: self.link.map(|build| holds(build, is_hooked && !is_new)),
            next_link: self.next_link.map(|build| holds(build, is_hooked)),
            builds: builds.collect(),
            members: members.collect(),
            faults: Vec::new(),
        }
    }

    /// Makes a chain's pins whole.
    pub(super) fn mend(&mut self, step: Mend) {
        match step {
            Mend::PlaceLink => self.link = Some(self.next_link.take().expect("a new link")),
            Mend::DropNextLink => self.next_link = None,
            Mend::DropNextRegistry { build } => self.built(build).draft = None,
            Mend::DropNextTotals { .. }
            | Mend::NewTotals { .. }
            | Mend::Repin
            | Mend::FillSlot { .. } => panic!("nobody removed a pin: {step:?}"),
        }
    }

    /// Nothing else is pinned than what the chain needs, and that is there.
    pub(super) fn assert_is(&self, chain: &Chain) {
        assert_eq!(self.link, Some(chain.build));
        assert_eq!(self.next_link, None);
        let builds: Vec<Build> = self.builds.keys().copied().collect();
        assert_eq!(builds, [chain.build]);
        self.assert_whole(chain.build);
        let built = &self.builds[&chain.build];
        assert_eq!(built.draft, None);
        assert_eq!(built.root, Some(Root::of(chain)));
        let pinned = self.members.iter();
        let pinned: Vec<_> = pinned.map(|(id, it)| (*id, it.codes.clone())).collect();
        let mut members: Vec<_> = chain
            .members
            .iter()
            .map(|member| (member.id, BTreeSet::from([member.code])))
            .collect();
        members.sort();
        assert_eq!(pinned, members);
        let registry = built.registry.as_ref().expect("a registry");
        assert_eq!(registry.revision, chain.revision);
        let names = |chain: &Chain| -> Vec<_> {
            let members = chain.members.iter();
            members
                .map(|m| (m.id, m.name.clone(), m.lifetime))
                .collect()
        };
        assert_eq!(names(registry), names(chain));
    }
}

fn presence(is_pinned: bool) -> Presence {
    if is_pinned {
        Presence::Pinned
    } else {
        Presence::Missing
    }
}
