//! What a starting daemon makes of what it finds.

use dispatcher_abi::Lifetime;
use proptest::prelude::*;

use crate::testing::{
    ENGINES, change, client, decided, facts, fill, interface, registration, requests,
};
use crate::{
    Build, Chain, ChainDir, ChainId, Cleanup, CodeId, ConnectionId, Holds, Kind, MemberId,
    MemberState, Mend, Moment, ORPHAN_LINGER_MS, Observed, ObservedBuild, ObservedChain,
    ObservedCode, ObservedLink, ObservedMember, Obsolete, Operation, Orphan, Pin, Presence,
    Recovery, Registration, Registry, RegistryFault, Slot, State, Unreadable, Why, expire,
    reconcile,
};

proptest! {
    #[test]
    fn what_runs_is_taken_over_as_it_is(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
        }
        let now = Moment(700);
        let found = reconcile(&observed(&state), ENGINES, now);
        prop_assert_eq!(found.leftovers, []);
        prop_assert_eq!(found.unreadable, []);
        prop_assert_eq!(found.mends, []);
        let connections = (1..3).map(ConnectionId);
        for connection in connections {
            state.connection_gone(connection, now);
        }
        // Every client has a new chance, also one that was gone already.
        let members = state.chains.values_mut().flat_map(|chain| &mut chain.members);
        for member in members.filter(|member| member.lifetime == Lifetime::Attached) {
            let lingers = matches!(member.state, MemberState::Lingering { .. });
            prop_assert!(lingers);
            let until = now.after_ms(member.linger_ms.max(ORPHAN_LINGER_MS));
            member.state = MemberState::Lingering { until };
        }
        prop_assert_eq!(found.state.chains, state.chains);
        prop_assert!(found.state.next_member <= state.next_member);
    }
}

#[test]
fn a_change_that_was_cut_off_before_its_commit_is_freed_and_counts_for_nothing() {
    let chain = chain(2);
    let mut pins = pins(&chain);
    pins.builds.push(build(2, Registry::Missing));
    pins.members[0].codes.push(code(2));
    pins.members.push(member(3));
    assert_eq!(
        leftovers(pins),
        [
            retire(2),
            Cleanup::RemoveCode {
                member: MemberId(1),
                code: CodeId(2)
            },
            Cleanup::RemoveMember {
                member: MemberId(3)
            },
        ],
    );
}

#[test]
fn cleanup_that_was_cut_off_saves_the_counts_of_older_builds_oldest_first() {
    let older = |number| {
        let mut chain = chain(3);
        chain.build = Build(number);
        chain.members.rotate_left(1);
        build(number, Registry::Chain(Box::new(chain)))
    };
    let mut live = chain(2);
    live.build = Build(4);
    let mut pins = pins(&live);
    pins.builds.extend([older(3), older(2), older(5)]);
    pins.members.push(member(3));
    let fold = |number| Cleanup::FoldCounters {
        build: Build(number),
        members: vec![(Slot(0), MemberId(2)), (Slot(2), MemberId(1))],
    };
    assert_eq!(
        leftovers(pins),
        [
            retire(5),
            Cleanup::Grace,
            fold(2),
            fold(3),
            retire(3),
            retire(2),
            Cleanup::RemoveMember {
                member: MemberId(3)
            },
        ],
    );
}

#[test]
fn a_chain_without_its_hook_goes() {
    let mut pins = pins(&chain(2));
    pins.link = None;
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 0);
    assert_eq!(recovery.unreadable, []);
    assert_eq!(
        recovery.leftovers,
        [(
            dir(),
            vec![
                Cleanup::Grace,
                retire(1),
                Cleanup::RemoveMember {
                    member: MemberId(1)
                },
                Cleanup::RemoveMember {
                    member: MemberId(2)
                },
                Cleanup::RemoveChain,
            ],
        )],
    );
}

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
    let spoilt: [(fn(&mut ObservedChain), Pin); 6] = [
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
fn a_slot_without_its_extensions_link_is_said() {
    let mut pins = pins(&chain(2));
    let Registry::Chain(chain) = &mut pins.builds[0].registry else {
        panic!("it has one");
    };
    let is_extension = chain.members[0].form.engine == dispatcher_abi::Engine::Freplace;
    assert!(
        is_extension,
        "the engines that are tested with have freplace"
    );
    pins.builds[0].slots.remove(1);
    let pin = Pin::Slot(Build(1), Slot(1));
    assert_eq!(left_alone(pins), Why::Missing { pin });
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
            spoils.iter().for_each(|spoil| spoil.apply(&mut pins));
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
        spoils.iter().for_each(|spoil| spoil.apply(&mut pins));
        let recovery = reconcile(&observe(pins.clone()), ENGINES, Moment(0));
        recovery.mends.iter().for_each(|(_, mend)| apply_mend(&mut pins, *mend));
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

#[test]
fn a_number_is_not_given_again_while_something_of_it_is_pinned() {
    let mut pins = pins(&chain(2));
    pins.builds.push(build(4, Registry::Missing));
    of(&mut pins, MemberId(1)).codes.push(code(2));
    let dir = pins.dir;
    let Recovery {
        mut state,
        leftovers,
        ..
    } = reconcile(&observe(pins), ENGINES, Moment(0));
    for (dir, steps) in leftovers {
        state.leave(dir, Obsolete::of(&steps));
    }
    let replace = change(vec![Operation::Replace { name: "m0".into() }]);
    let plan = decided(&state, &client(0, 1), &replace, &[facts()]).unwrap();
    assert_eq!(plan.build, Build(5));
    assert_eq!(plan.next.as_ref().unwrap().members[0].code, CodeId(3));
    // Packets were inside of nothing that was left before, but of what this change leaves.
    assert_eq!(state.obsolete[&dir].newest(), None);
    state.commit(&plan);
    assert_eq!(state.obsolete[&dir].newest(), Some(Build(1)));
}

#[test]
fn a_chains_number_is_not_given_again_while_its_pins_are_left() {
    let mut pins = pins(&chain(1));
    pins.link = None;
    pins.dir.again = 41;
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.next_chain, ChainId(42));
}

#[test]
fn attached_members_are_orphans_until_they_are_claimed_or_their_time_is_over() {
    let mut state = State::new(ENGINES);
    let owner = client(1000, 3);
    let attached = Operation::Register(Registration {
        lifetime: Lifetime::Attached,
        linger_ms: 1500,
        token: [7; 16],
        ..registration()
    });
    let plan = decided(&state, &owner, &change(vec![attached]), &[facts()]).unwrap();
    state.commit(&plan);

    let Recovery {
        mut state, orphans, ..
    } = reconcile(&observed(&state), ENGINES, Moment(9));
    let [orphan] = &orphans[..] else {
        panic!("{orphans:?}")
    };
    assert_eq!(
        (&*orphan.name, orphan.until),
        ("xdp_program", Moment(9).after_ms(ORPHAN_LINGER_MS))
    );
    let ids = [orphan.member];
    assert!(expire(&state, orphan.chain, &ids).is_some());

    let again = client(1000, 4);
    state
        .reclaim(&again, interface(0).key, &orphan.name, &[7; 16])
        .unwrap();
    assert_eq!(expire(&state, orphan.chain, &ids), None);
    let member = &state.chains[&orphan.chain].members[0];
    assert_eq!(member.state, MemberState::Running);
    assert_eq!(member.owner.connection, again.connection());
    let (old, new) = (ConnectionId(3), ConnectionId(4));
    assert_eq!(state.connection_gone(old, Moment(20)), []);
    let orphans = orphans.into_iter().map(|orphan| Orphan {
        until: Moment(1520),
        ..orphan
    });
    assert!(
        state
            .connection_gone(new, Moment(20))
            .into_iter()
            .eq(orphans)
    );
    assert_eq!(state.connection_gone(new, Moment(30)), []);
}

/// What a state looks like from outside.
pub(super) fn observed(state: &State) -> Observed {
    Observed {
        chains: state.chains.values().map(pins).collect(),
    }
}

/// Where the first interface's chain has its pins.
fn dir() -> ChainDir {
    ChainDir {
        key: interface(0).key,
        again: 0,
    }
}

fn observe(pins: ObservedChain) -> Observed {
    Observed { chains: vec![pins] }
}

fn pins(chain: &Chain) -> ObservedChain {
    let registry = Registry::Chain(Box::new(chain.clone()));
    ObservedChain {
        dir: chain.dir,
        link: Some(holding(chain.build.0)),
        next_link: None,
        builds: vec![ObservedBuild {
            slots: chain.slots().map(|(slot, _)| slot).collect(),
            ..build(chain.build.0, registry)
        }],
        members: chain
            .members
            .iter()
            .map(|kept| ObservedMember {
                codes: vec![code(kept.code.0)],
                ..member(kept.id.0)
            })
            .collect(),
        faults: Vec::new(),
    }
}

/// A chain of members that are tail-called.
fn tail_called(members: usize) -> ObservedChain {
    let mut chain = chain(members);
    for member in &mut chain.members {
        member.form.engine = dispatcher_abi::Engine::Tailcall;
    }
    pins(&chain)
}

/// A link that holds this build on its hook.
fn holding(build: u64) -> ObservedLink {
    ObservedLink {
        holds: Holds::Build(Build(build)),
        is_attached: true,
    }
}

fn build(number: u64, registry: Registry) -> ObservedBuild {
    ObservedBuild {
        build: Build(number),
        registry,
        has_next_registry: false,
        root: Presence::Pinned,
        jump: Presence::Pinned,
        counters: Presence::Pinned,
        slots: Vec::new(),
    }
}

fn member(id: u64) -> ObservedMember {
    ObservedMember {
        member: MemberId(id),
        totals: Presence::Pinned,
        has_next_totals: false,
        codes: vec![code(1)],
    }
}

fn code(number: u32) -> ObservedCode {
    ObservedCode {
        code: CodeId(number),
        has_program: true,
    }
}

/// Build 1 of a chain of kept members 1, 2, ...
fn chain(members: usize) -> Chain {
    let plan = fill(members).play(&mut State::new(ENGINES));
    plan.unwrap().unwrap().next.unwrap()
}

fn retire(number: u64) -> Cleanup {
    Cleanup::RetireBuild {
        build: Build(number),
    }
}

/// What is left to do for a chain that runs.
fn leftovers(pins: ObservedChain) -> Vec<Cleanup> {
    let key = pins.dir.key;
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert!(recovery.state.at(key).is_some());
    let [(of, steps)] = &recovery.leftovers[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!(of.key, key);
    steps.clone()
}

/// Why nothing is done about it.
fn left_alone(pins: ObservedChain) -> Why {
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 0);
    assert_eq!(recovery.leftovers, []);
    assert_eq!(recovery.mends, []);
    let [unreadable] = &recovery.unreadable[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!(unreadable.dir, dir());
    unreadable.why.clone()
}

/// What is mended of a chain that runs.
fn mends(pins: ObservedChain) -> Vec<Mend> {
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 1, "{recovery:?}");
    let mends = recovery.mends.into_iter();
    mends.map(|(_, mend)| mend).collect()
}
