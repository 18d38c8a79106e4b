//! What is wrong with pins, and what is mended.

use super::pins::{build, chain, holding, left_alone, member, mends, observe, pins, tail_called};
use crate::testing::{ENGINES, fill};
use crate::{
    Build, Chain, ChainId, CodeId, Holds, Kind, MemberId, Mend, Moment, Observed, ObservedChain,
    ObservedLink, Pin, Presence, Registry, RegistryFault, Slot, State, Why, reconcile,
};

/// What happens to a chain's pins.
type Spoil = fn(&mut ObservedChain);

#[test]
fn what_a_registry_does_not_say_leaves_the_chain_alone() {
    for fault in [
        RegistryFault::TooNew {
            version: 9,
            reader: 8,
        },
        RegistryFault::Garbled,
        RegistryFault::NoRegistry,
    ] {
        for live in [None, Some(1), Some(2)] {
            let mut pins = pins(&chain(1));
            pins.link = live.map(holding);
            pins.builds
                .push(build(2, Registry::Unreadable(fault.clone())));
            let why = Why::Registry {
                build: Build(2),
                fault: fault.clone(),
            };
            assert_eq!(left_alone(pins), why);
        }
    }
}

#[test]
fn a_registry_of_another_build_is_not_believed() {
    let mut pins = pins(&chain(1));
    pins.link = Some(holding(9));
    pins.builds[0].build = Build(9);
    let fault = RegistryFault::OtherBuild { says: Build(1) };
    let build = Build(9);
    assert_eq!(left_alone(pins), Why::Registry { build, fault });
}

#[test]
fn a_chain_that_lacks_what_can_not_be_had_back_is_left_alone() {
    let (build, member) = (Build(1), MemberId(2));
    let spoilt: [(Spoil, Pin); 6] = [
        (
            |pins| pins.builds[0].registry = Registry::Missing,
            Pin::Registry(build),
        ),
        (
            |pins| pins.builds[0].root = Presence::Missing,
            Pin::Root(build),
        ),
        (
            |pins| pins.builds[0].counters = Presence::Missing,
            Pin::Counters(build),
        ),
        (
            |pins| {
                pins.members.pop();
            },
            Pin::Member(member),
        ),
        (
            |pins| pins.members[1].codes.clear(),
            Pin::Program(member, CodeId(1)),
        ),
        (
            |pins| pins.members[1].codes[0].has_program = false,
            Pin::Program(member, CodeId(1)),
        ),
    ];
    for (spoil, pin) in spoilt {
        let mut pins = pins(&chain(2));
        spoil(&mut pins);
        assert_eq!(left_alone(pins), Why::Missing { pin });
    }
    let mut gone = pins(&chain(2));
    gone.builds.clear();
    let pin = Pin::Build(build);
    assert_eq!(left_alone(gone), Why::Missing { pin });
}

#[test]
fn a_link_that_holds_a_strangers_program_is_left_alone() {
    let stranger = ObservedLink {
        holds: Holds::Unknown { program_id: 77 },
        is_attached: true,
    };
    let held = |pin| Why::Held {
        pin,
        program_id: 77,
    };
    let mut in_place = pins(&chain(1));
    in_place.link = Some(stranger);
    assert_eq!(left_alone(in_place), held(Pin::Link));
    let mut beside = pins(&chain(1));
    beside.link = None;
    beside.next_link = Some(stranger);
    assert_eq!(left_alone(beside), held(Pin::NextLink));
}

#[test]
fn what_is_known_of_a_chain_that_is_left_alone_is_told() {
    let judged = |pins: ObservedChain| {
        let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
        let [chain] = &recovery.unreadable[..] else {
            panic!("one chain is left alone: {recovery:?}");
        };
        chain.clone()
    };
    let mut spoilt = pins(&chain(1));
    spoilt.builds[0].root = Presence::Missing;
    let known = chain(1);
    let found = judged(spoilt.clone());
    assert_eq!(found.id, Some(known.id));
    assert_eq!(found.interface, Some(known.interface));
    assert!(found.is_attached);
    // A link that was seen without a hook says that the chain doesn't run, and no link says nothing.
    spoilt.link = Some(ObservedLink {
        is_attached: false,
        ..holding(1)
    });
    assert!(!judged(spoilt.clone()).is_attached);
    spoilt.next_link = Some(holding(1));
    assert!(judged(spoilt.clone()).is_attached);
    (spoilt.link, spoilt.next_link) = (None, None);
    spoilt.faults = vec![Why::TwoLinks];
    assert!(judged(spoilt.clone()).is_attached);
    // The first format had no ids, and a registry that isn't there has none either.
    let old = Chain {
        id: ChainId(0),
        ..chain(1)
    };
    spoilt.builds[0].registry = Registry::Chain(Box::new(old));
    assert_eq!(judged(spoilt.clone()).id, None);
    spoilt.builds[0].registry = Registry::Missing;
    let found = judged(spoilt);
    assert_eq!((found.id, found.interface), (None, None));
}

#[test]
fn a_link_takes_anothers_place_only_where_that_one_holds_no_hook() {
    let detached = |build| ObservedLink {
        is_attached: false,
        ..holding(build)
    };
    let cases = [
        (None, holding(1), Some(Mend::PlaceLink)),
        (None, detached(1), Some(Mend::PlaceLink)),
        (Some(detached(1)), holding(1), Some(Mend::PlaceLink)),
        (Some(detached(1)), detached(1), Some(Mend::PlaceLink)),
        (Some(holding(1)), detached(1), Some(Mend::DropNextLink)),
        (Some(holding(1)), holding(1), None),
    ];
    for (link, next, mend) in cases {
        let mut pins = pins(&chain(1));
        pins.link = link;
        pins.next_link = Some(next);
        match mend {
            Some(mend) => assert_eq!(mends(pins), [mend]),
            None => assert_eq!(left_alone(pins), Why::TwoLinks),
        }
    }
}

#[test]
fn what_was_never_put_in_its_place_goes() {
    let mut pins = pins(&chain(2));
    pins.builds[0].has_next_registry = true;
    pins.members[1].has_next_totals = true;
    assert_eq!(
        mends(pins),
        [
            Mend::DropNextTotals {
                member: MemberId(2)
            },
            Mend::DropNextRegistry { build: Build(1) },
        ],
    );
}

#[test]
fn what_the_running_root_still_uses_is_pinned_again_and_its_slots_are_filled() {
    let fill = |slot, member| Mend::FillSlot {
        build: Build(1),
        slot: Slot(slot),
        member: MemberId(member),
        code: CodeId(1),
    };
    let whole = tail_called(2);
    let mut root = whole.clone();
    root.builds[0].root = Presence::Found;
    assert_eq!(mends(root), [Mend::Repin]);
    let mut counters = whole.clone();
    counters.builds[0].counters = Presence::Found;
    assert_eq!(mends(counters), [Mend::Repin]);
    let mut jump = whole.clone();
    jump.builds[0].jump = Presence::Found;
    assert_eq!(mends(jump), [Mend::Repin, fill(0, 1), fill(1, 2)]);
    let mut gone = whole;
    gone.builds[0].jump = Presence::Missing;
    let pin = Pin::Jump(Build(1));
    assert_eq!(left_alone(gone), Why::Missing { pin });
}

#[test]
fn a_member_whose_totals_are_gone_begins_with_zero() {
    let mut pins = pins(&chain(2));
    pins.members[0].totals = Presence::Missing;
    let member = MemberId(1);
    assert_eq!(mends(pins), [Mend::NewTotals { member }]);
}

#[test]
fn a_fault_anywhere_in_a_chain_leaves_that_chain_alone_and_no_other() {
    let mut state = State::new(ENGINES);
    let plan = fill(2).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    let first = pins(plan.next.as_ref().unwrap());
    let mut second = first.clone();
    second.dir.key.ifindex += 1;
    let why = Why::WrongKind {
        pin: Pin::Totals(MemberId(1)),
        found: Kind::Directory,
    };
    second.faults.push(why.clone());
    let observed = Observed {
        chains: vec![second.clone(), first],
    };
    let recovery = reconcile(&observed, ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 1);
    let [unreadable] = &recovery.unreadable[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!((unreadable.dir, &unreadable.why), (second.dir, &why));
}

#[test]
fn neither_a_members_id_nor_a_chains_is_given_again_wherever_it_is_still_written() {
    let mut codes = pins(&chain(1));
    codes.members.push(member(41));
    let mut faulty = codes.clone();
    faulty.faults.push(Why::TwoLinks);
    let mut kept = pins(&chain(1));
    let Registry::Chain(chain) = &mut kept.builds[0].registry else {
        panic!("it has one");
    };
    chain.id = ChainId(17);
    chain.members[0].id = MemberId(41);
    for pins in [codes, faulty, kept.clone()] {
        let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
        assert_eq!(recovery.state.next_member, MemberId(42));
    }
    let recovery = reconcile(&observe(kept), ENGINES, Moment(0));
    assert_eq!(
        recovery.unreadable.len(),
        1,
        "its pins are another member's"
    );
    assert_eq!(recovery.state.next_chain, ChainId(18));
}

#[test]
fn a_build_is_not_numbered_as_one_that_still_has_pins() {
    let mut pins = pins(&chain(1));
    pins.builds.push(build(5, Registry::Missing));
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    let chain = recovery.state.chains.values().next().unwrap();
    assert_eq!((chain.build, chain.last_build), (Build(1), Build(5)));
}
