//! What a plan consists of.

use dispatcher_abi::{Engine, FinalVerdict, Lifetime, ModeChoice, VerdictMask};
use proptest::prelude::*;

use crate::testing::{ENGINES, change, decided, facts, fill, registration, requests, root};
use crate::{
    Build, Chain, Change, Cleanup, CodeId, Commit, Configuration, Facts, LoadId, Member, MemberId,
    ObjectSource, Operation, Plan, Position, Prepare, Registration, Revision, Settings, Slot,
    Source, State,
};

#[test]
fn the_first_member_attaches_a_chain() {
    let plan = planned(&State::new(ENGINES), vec![register("stats")]);
    assert_eq!(
        plan.describe(),
        [
            "aside: pin code 1 of stats",
            "aside: build build 1 from dispatcher_ext_16: slots 1, final verdict pass, counters \
             on, frags on",
            "aside: put stats into slot 0 by freplace",
            "aside: write down the members of build 1",
            "commit: attach build 1 to eth0 in native mode",
        ],
    );
}

#[test]
fn a_set_of_operations_is_one_swap() {
    let plan = planned(
        &filled(3),
        vec![
            register("stats"),
            first("stats"),
            unregister("m0"),
            replace("m1"),
        ],
    );
    assert_eq!(
        plan.describe(),
        [
            "aside: pin code 1 of stats",
            "aside: pin code 2 of m1",
            "aside: build build 2 from dispatcher_ext_16: slots 3, final verdict pass, counters \
             on, frags on",
            "aside: put stats into slot 0 by freplace",
            "aside: put m1 into slot 1 by freplace",
            "aside: put m2 into slot 2 by freplace",
            "aside: write down the members of build 2",
            "commit: swap build 1 of eth0 for 2",
            "cleanup: wait for packets that are still inside",
            "cleanup: add the counts of build 1 to the totals of m1, m2",
            "cleanup: free build 1",
            "cleanup: free code 1 of m1",
            "cleanup: free m0 and its maps",
        ],
    );
}

#[test]
fn counts_are_saved_by_the_slots_that_counted_them() {
    let plan = planned(&filled(3), vec![unregister("m1")]);
    let fold = Cleanup::FoldCounters {
        build: Build(1),
        members: vec![(Slot(0), MemberId(1)), (Slot(2), MemberId(3))],
    };
    assert!(plan.cleanup.contains(&fold), "{plan:?}");
}

#[test]
fn the_last_member_takes_the_chain_with_it() {
    for operations in [
        vec![unregister("m0"), unregister("m1")],
        vec![Operation::UnregisterAll],
        vec![register("stats"), Operation::UnregisterAll],
    ] {
        let plan = planned(&filled(2), operations);
        assert_eq!(plan.next, None);
        assert_eq!(
            plan.describe(),
            [
                "commit: detach build 1 from eth0",
                "cleanup: wait for packets that are still inside",
                "cleanup: free build 1",
                "cleanup: free m0 and its maps",
                "cleanup: free m1 and its maps",
                "cleanup: free the chain of eth0",
            ],
        );
    }
}

#[test]
fn another_mode_is_a_new_build_attached_anew() {
    let mode = Configuration {
        mode: Some(ModeChoice::Generic),
        ..Configuration::default()
    };
    let plan = planned(&filled(1), vec![Operation::Configure(mode)]);
    assert!(matches!(plan.commit, Commit::Reattach { .. }));
    assert!(
        plan.describe().contains(
            &"commit: detach build 1 from eth0 (native mode) and attach 2 in generic mode: in \
          between, packets meet no program"
                .into()
        )
    );
}

#[test]
fn what_no_packet_can_tell_is_written_down_without_a_swap() {
    let kept = Settings {
        lifetime: Some(Lifetime::Kept),
        ..Settings::default()
    };
    let same = Settings {
        chain_call: Some(VerdictMask::PASS),
        ..Settings::default()
    };
    let auto = Configuration {
        mode: Some(ModeChoice::Auto),
        final_verdict: Some(FinalVerdict::Pass),
        counters: Some(true),
        ..Configuration::default()
    };
    for operation in [
        set("m1", kept),
        set("m1", same),
        Operation::Configure(auto),
        moved("m1", Position::Priority(50)),
        // m0 runs before m1 either way.
        moved("m0", Position::Priority(40)),
        first("m0"),
        Operation::Order {
            names: vec!["m0".into(), "m1".into()],
        },
    ] {
        let plan = planned(&filled(2), vec![operation]);
        let build = Build(1);
        assert_eq!(plan.prepare, [Prepare::WriteRegistry { build }]);
        assert_eq!(plan.commit, Commit::Registry { build });
        assert_eq!(plan.cleanup, []);
    }
}

#[test]
fn a_member_that_comes_and_goes_in_one_change_leaves_no_step() {
    let plan = planned(&filled(1), vec![register("stats"), unregister("stats")]);
    let mut next = plan.next.clone().unwrap();
    assert_eq!(next.revision, Revision(2));
    next.revision = Revision(1);
    assert_eq!(Some(&next), filled(1).chains.values().next());
    assert_eq!(plan.describe().len(), 2);
}

#[test]
fn a_name_that_is_given_again_is_another_member() {
    let mut state = filled(1);
    let plan = planned(&state, vec![unregister("m0"), register("m0")]);
    assert_eq!(plan.removes, [(MemberId(1), "m0".into())]);
    state.commit(&plan);
    let chain = state.chains.values().next().unwrap();
    assert_eq!(chain.members[0].id, MemberId(2));
}

#[test]
fn replaced_code_keeps_its_member_and_slot() {
    let state = filled(3);
    let before = &state.chains.values().next().unwrap().members[1];
    let new = Facts {
        load: LoadId(7),
        program_id: 77,
        source: Source::Object(ObjectSource {
            program: "better".into(),
            ..ObjectSource::default()
        }),
        has_program_array: true,
        ..facts()
    };
    let plan = decided(&state, &root(), &change(vec![replace("m1")]), &[new]).unwrap();
    assert_eq!(
        plan.prepare[0],
        Prepare::PinCode {
            member: before.id,
            code: CodeId(2),
            load: LoadId(7)
        }
    );
    let after = &plan.next.as_ref().unwrap().members[1];
    assert_eq!(
        (after.id, &*after.name, after.tie),
        (before.id, "m1", before.tie)
    );
    assert_eq!((after.source.program(), after.program_id), ("better", 77));
    assert_eq!((after.code, after.tail_depth), (CodeId(2), 1));
}

#[test]
fn what_a_registration_leaves_open_comes_from_the_object_then_from_the_defaults() {
    let wishes = Facts {
        source: Source::Object(ObjectSource {
            program: "wish".into(),
            ..ObjectSource::default()
        }),
        priority: Some(7),
        chain_call: Some(VerdictMask::NONE),
        has_program_array: true,
        ..facts()
    };
    let asked = Registration {
        name: Some("asked".into()),
        priority: Some(9),
        chain_call: Some(VerdictMask::PASS),
        tail_depth: Some(0),
        ..registration()
    };
    for (registration, facts, expected) in [
        (
            registration(),
            facts(),
            ("xdp_program", 50, VerdictMask::PASS, 0),
        ),
        (
            registration(),
            wishes.clone(),
            ("wish", 7, VerdictMask::NONE, 1),
        ),
        (asked, wishes, ("asked", 9, VerdictMask::PASS, 0)),
    ] {
        let change = change(vec![Operation::Register(registration)]);
        let plan = decided(&State::new(ENGINES), &root(), &change, &[facts]).unwrap();
        let member = &plan.next.unwrap().members[0];
        let (name, priority, chain_call, tail_depth) = expected;
        assert_eq!(member.name, name);
        assert_eq!(member.priority, priority);
        assert_eq!(member.requested_priority, priority);
        assert_eq!(member.chain_call, chain_call);
        assert_eq!(member.tail_depth, tail_depth);
        assert_eq!(member.allowed, VerdictMask::ALL);
    }
}

#[test]
fn a_whole_order_raises_a_priority_only_where_the_sequence_would_fall() {
    let mut state = State::new(ENGINES);
    let members = [("a", 10), ("b", 20), ("c", 30), ("d", 40)];
    let registrations = members.map(|(name, priority)| {
        Operation::Register(Registration {
            name: Some(name.into()),
            priority: Some(priority),
            ..registration()
        })
    });
    state.commit(&planned(&state, registrations.into()));
    let names = ["a", "c", "b", "d"].map(String::from).into();
    let plan = planned(&state, vec![Operation::Order { names }]);
    let next = plan.next.unwrap();
    let order: Vec<_> = next
        .members
        .iter()
        .map(|m| (&*m.name, m.priority))
        .collect();
    assert_eq!(order, [("a", 10), ("c", 30), ("b", 30), ("d", 40)]);
}

proptest! {
    #[test]
    fn to_register_and_unregister_restores_the_chain_but_for_its_numbers(
        history in requests(0..=12),
    ) {
        let mut state = filled(1);
        for request in &history {
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
        }
        let former = state.clone();
        let key = change(Vec::new()).interface.key;
        let upgraded = state.at(key).is_some_and(waits_for_an_upgrade);
        if let Ok(plan) = decided(&state, &root(), &change(vec![register("new")]), &[facts()]) {
            state.commit(&plan);
            state.commit(&planned(&state, vec![unregister("new")]));
        }
        let mut chain = state.at(key).cloned();
        if let (Some(chain), Some(former)) = (&mut chain, former.at(key)) {
            assert!(chain.revision >= former.revision);
            chain.revision = former.revision;
            (chain.build, chain.last_build) = (former.build, former.last_build);
            if upgraded {
                // Loaded again with frags, and otherwise as they were.
                for (member, former) in chain.members.iter_mut().zip(&former.members) {
                    prop_assert!(member.form.frags || member.form == former.form);
                    prop_assert_eq!(member.form.engine, former.form.engine);
                    (member.form, member.code) = (former.form, former.code);
                    member.program_id = former.program_id;
                }
            }
        }
        prop_assert_eq!(chain.as_ref(), former.at(key));
    }
}

/// Whether the next change of any kind loads members again because the one for whose sake they
/// were loaded without frags has gone.
fn waits_for_an_upgrade(chain: &Chain) -> bool {
    let frags = |member: &Member| member.form.engine == Engine::Freplace || member.form.frags;
    chain.members.iter().all(|member| member.abilities.frags) && !chain.members.iter().all(frags)
}

/// A chain of root's plain members `m0`, `m1`, ...
fn filled(members: usize) -> State {
    let mut state = State::new(ENGINES);
    let plan = fill(members).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    state
}

fn planned(state: &State, operations: Vec<Operation>) -> Plan {
    let change: Change = change(operations);
    decided(state, &root(), &change, &vec![facts(); change.loads()]).unwrap()
}

fn register(name: &str) -> Operation {
    Operation::Register(Registration {
        name: Some(name.into()),
        ..registration()
    })
}

fn unregister(name: &str) -> Operation {
    Operation::Unregister { name: name.into() }
}

fn replace(name: &str) -> Operation {
    Operation::Replace { name: name.into() }
}

fn moved(name: &str, to: Position) -> Operation {
    Operation::Move {
        name: name.into(),
        to,
    }
}

fn first(name: &str) -> Operation {
    moved(name, Position::First)
}

fn set(name: &str, settings: Settings) -> Operation {
    Operation::Set {
        name: name.into(),
        settings,
    }
}
