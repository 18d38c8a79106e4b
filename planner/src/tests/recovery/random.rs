//! Pins to which anything happened.

use proptest::prelude::*;

use super::pins::{build, member, observe, tail_called};
use crate::testing::ENGINES;
use crate::{
    Build, Chain, Cleanup, CodeId, Holds, Kind, MemberId, Mend, Moment, Observed, ObservedChain,
    ObservedLink, ObservedMember, Pin, Presence, Recovery, Registry, RegistryFault, Unreadable,
    Why, reconcile,
};

proptest! {
    #[test]
    fn a_plan_never_touches_a_chain_that_can_not_be_read(
        first in spoilt(),
        second in spoilt(),
    ) {
        let mut chains = vec![];
        for (index, spoils) in [first, second].into_iter().enumerate() {
            let mut pins = tail_called(3);
            pins.dir.key.ifindex += u32::try_from(index).unwrap();
            for spoil in &spoils {
                spoil.apply(&mut pins);
            }
            chains.push(pins);
        }
        let recovery = reconcile(&Observed { chains: chains.clone() }, ENGINES, Moment(0));
        for Unreadable { dir, .. } in &recovery.unreadable {
            prop_assert!(recovery.mends.iter().all(|(of, _)| of != dir));
            prop_assert!(recovery.leftovers.iter().all(|(of, _)| of != dir));
            prop_assert!(recovery.state.chains.values().all(|chain| chain.dir != *dir));
        }
        // Each is one of the three.
        for pins in &chains {
            let runs = recovery.state.chains.values().any(|chain| chain.dir == pins.dir);
            let is_unreadable = recovery.unreadable.iter().any(|found| found.dir == pins.dir);
            let goes = recovery.leftovers.iter().any(|(of, steps)| {
                *of == pins.dir && steps.contains(&Cleanup::RemoveChain)
            });
            let fates = [runs, is_unreadable, goes].into_iter().filter(|fate| *fate).count();
            prop_assert_eq!(fates, 1);
            // A hook that is held is never let go.
            let holds = |link: Option<ObservedLink>| link.is_some_and(|link| link.is_attached);
            if holds(pins.link) || holds(pins.next_link) {
                prop_assert!(!goes);
            }
        }
    }

    #[test]
    fn what_was_mended_and_freed_needs_no_more(spoils in spoilt()) {
        let mut pins = tail_called(3);
        for spoil in &spoils {
                spoil.apply(&mut pins);
            }
        let recovery = reconcile(&observe(pins.clone()), ENGINES, Moment(0));
        for (_, mend) in &recovery.mends {
            apply_mend(&mut pins, *mend);
        }
        let steps = recovery.leftovers.iter().flat_map(|(_, steps)| steps);
        let mut is_there = true;
        steps.for_each(|step| is_there &= apply_cleanup(&mut pins, step));
        let observed = if is_there { observe(pins) } else { Observed::default() };
        let again = reconcile(&observed, ENGINES, Moment(0));
        prop_assert_eq!(&again.mends, &[]);
        prop_assert_eq!(&again.leftovers, &[]);
        prop_assert_eq!(&again.unreadable, &recovery.unreadable);
        let runs = |recovery: &Recovery| recovery.state.chains.values().cloned().map(|chain| {
            Chain { last_build: chain.build, ..chain }
        }).collect::<Vec<_>>();
        prop_assert_eq!(runs(&again), runs(&recovery));
    }
}

/// Something that happened to a chain's pins.
#[derive(Clone, Debug)]
enum Spoil {
    NoLink,
    Detach,
    NextLink(bool, bool),
    Root(Presence),
    Jump(Presence),
    Counters(Presence),
    Registry(Option<RegistryFault>),
    NextRegistry,
    Totals(usize),
    NextTotals(usize),
    NoProgram(usize),
    NoMember(usize),
    OlderBuild,
    NewerBuild,
    Stray(u64),
    Fault(Pin),
}

/// Some of what can happen, in any order.
fn spoilt() -> impl Strategy<Value = Vec<Spoil>> {
    let presence = || {
        prop_oneof![
            Just(Presence::Pinned),
            Just(Presence::Found),
            Just(Presence::Missing)
        ]
    };
    let member = || 0..3_usize;
    let one = prop_oneof![
        Just(Spoil::NoLink),
        Just(Spoil::Detach),
        any::<(bool, bool)>().prop_map(|(ours, attached)| Spoil::NextLink(ours, attached)),
        presence().prop_map(Spoil::Root),
        presence().prop_map(Spoil::Jump),
        presence().prop_map(Spoil::Counters),
        Just(Spoil::Registry(None)),
        Just(Spoil::Registry(Some(RegistryFault::Truncated))),
        Just(Spoil::NextRegistry),
        member().prop_map(Spoil::Totals),
        member().prop_map(Spoil::NextTotals),
        member().prop_map(Spoil::NoProgram),
        member().prop_map(Spoil::NoMember),
        Just(Spoil::OlderBuild),
        Just(Spoil::NewerBuild),
        (9..12_u64).prop_map(Spoil::Stray),
        Just(Spoil::Fault(Pin::Chain)),
        Just(Spoil::Fault(Pin::Maps(MemberId(1), CodeId(1)))),
    ];
    prop::collection::vec(one, 0..5)
}

impl Spoil {
    fn apply(&self, pins: &mut ObservedChain) {
        let live = pins.builds.iter_mut().find(|pins| pins.build == Build(1));
        let live = live.expect("nothing takes it away");
        match self.clone() {
            Self::NoLink => pins.link = None,
            Self::Detach => {
                if let Some(link) = &mut pins.link {
                    link.is_attached = false;
                }
            }
            Self::NextLink(is_ours, is_attached) => {
                let holds = if is_ours {
                    Holds::Build(Build(1))
                } else {
                    Holds::Unknown { program_id: 5 }
                };
                pins.next_link = Some(ObservedLink { holds, is_attached });
            }
            Self::Root(presence) => live.root = presence,
            Self::Jump(presence) => live.jump = presence,
            Self::Counters(presence) => live.counters = presence,
            Self::Registry(None) => live.registry = Registry::Missing,
            Self::Registry(Some(fault)) => live.registry = Registry::Unreadable(fault),
            Self::NextRegistry => live.has_next_registry = true,
            Self::Totals(at) => {
                if let Some(member) = pins.members.get_mut(at) {
                    member.totals = Presence::Missing;
                }
            }
            Self::NextTotals(at) => {
                if let Some(member) = pins.members.get_mut(at) {
                    member.has_next_totals = true;
                }
            }
            Self::NoProgram(at) => {
                if let Some(code) = pins.members.get_mut(at).and_then(|m| m.codes.first_mut()) {
                    code.has_program = false;
                }
            }
            Self::NoMember(at) => {
                if at < pins.members.len() {
                    pins.members.remove(at);
                }
            }
            Self::OlderBuild => pins.builds.push(build(0, Registry::Missing)),
            Self::NewerBuild => pins.builds.push(build(2, Registry::Missing)),
            Self::Stray(id) => pins.members.push(member(id)),
            Self::Fault(pin) => pins.faults.push(Why::WrongKind {
                pin,
                found: Kind::Other,
            }),
        }
    }
}

/// What a mend does to the pins.
fn apply_mend(pins: &mut ObservedChain, mend: Mend) {
    match mend {
        Mend::PlaceLink => pins.link = pins.next_link.take(),
        Mend::DropNextLink => pins.next_link = None,
        Mend::DropNextRegistry { build } => {
            let mut builds = pins.builds.iter_mut();
            let found = builds.find(|pins| pins.build == build).unwrap();
            found.has_next_registry = false;
        }
        Mend::DropNextTotals { member } => of(pins, member).has_next_totals = false,
        Mend::NewTotals { member } => of(pins, member).totals = Presence::Pinned,
        Mend::Repin => {
            for pins in &mut pins.builds {
                for presence in [&mut pins.root, &mut pins.jump, &mut pins.counters] {
                    if *presence == Presence::Found {
                        *presence = Presence::Pinned;
                    }
                }
            }
        }
        Mend::FillSlot { .. } => {}
    }
}

fn of(pins: &mut ObservedChain, member: MemberId) -> &mut ObservedMember {
    let mut members = pins.members.iter_mut();
    members.find(|pins| pins.member == member).unwrap()
}

/// What a cleanup step does to the pins; false if nothing is left.
fn apply_cleanup(pins: &mut ObservedChain, step: &Cleanup) -> bool {
    match step {
        Cleanup::RetireBuild { build } => pins.builds.retain(|pins| pins.build != *build),
        Cleanup::RemoveMember { member } => pins.members.retain(|pins| pins.member != *member),
        Cleanup::RemoveCode { member, code } => {
            of(pins, *member).codes.retain(|pins| pins.code != *code);
        }
        Cleanup::Grace | Cleanup::FoldCounters { .. } | Cleanup::RemoveDraft { .. } => {}
        Cleanup::RemoveChain => return false,
    }
    true
}
