//! What a failed commit leads to, and what a requester is told beside what was done.

use dispatcher_abi::{Engine, Mode, ModeChoice};
use proptest::prelude::*;

use crate::testing::{
    ENGINES, Request, change, decided, facts, fill, registration, requests, root,
};
use crate::{
    Abilities, Change, Commit, Configuration, Facts, FailureKind, Note, Obstacle, Operation, Plan,
    Prepare, Registration, State, by_tail_call, in_the_way, instead,
};

const KINDS: [FailureKind; 5] = [
    FailureKind::Mode,
    FailureKind::Large,
    FailureKind::Busy,
    FailureKind::Gone,
    FailureKind::Failed,
];

const ERRNO: i32 = 34;

/// Whether a change leaves it to the daemon where its chain is made.
fn leaves_the_mode_open(change: &Change) -> bool {
    let is_open = |mode: Option<ModeChoice>| matches!(mode, None | Some(ModeChoice::Auto));
    let asks = |operation: &Operation| match operation {
        Operation::Configure(configuration) => !is_open(configuration.mode),
        Operation::Register(_)
        | Operation::Unregister { .. }
        | Operation::UnregisterAll
        | Operation::Move { .. }
        | Operation::Order { .. }
        | Operation::Set { .. }
        | Operation::Replace { .. } => false,
    };
    is_open(change.mode) && !change.operations.iter().any(asks)
}

fn without_frags(plan: &Plan) -> Vec<&str> {
    let members = plan.next.iter().flat_map(|chain| &chain.members);
    let plain = members.filter(|member| !member.abilities.frags);
    plain.map(|member| &*member.name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn only_a_first_attach_that_may_be_anywhere_is_tried_in_generic_mode(
        history in requests(1..=24),
    ) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            if let Request::Change { client, change, facts } = request {
                for kind in KINDS {
                    let is_first = matches!(plan.commit, Commit::Attach { .. });
                    let is_mode = [FailureKind::Mode, FailureKind::Large].contains(&kind);
                    let may = is_first && is_mode && leaves_the_mode_open(change);
                    let found = instead(change, &plan, kind, ERRNO);
                    prop_assert_eq!(found.is_some(), may);
                    let Some((other, note)) = found else { continue };
                    let in_the_way = if kind == FailureKind::Large {
                        without_frags(&plan)
                    } else {
                        Vec::new()
                    };
                    prop_assert_eq!(note, Note::Generic {
                        interface: plan.interface.clone(),
                        errno: ERRNO,
                        in_the_way: in_the_way.into_iter().map(String::from).collect(),
                    });
                    let second = decided(&state, client, &other, facts).unwrap();
                    let Commit::Attach { mode, .. } = second.commit else { panic!("{second:?}") };
                    prop_assert_eq!(mode, Mode::Generic);
                    prop_assert_eq!(instead(&other, &second, kind, ERRNO), None);
                    let mut next = second.next.clone().unwrap();
                    next.mode = plan.next.as_ref().unwrap().mode;
                    prop_assert_eq!(Some(&next), plan.next.as_ref());
                }
            }
            state.commit(&plan);
        }
    }

    #[test]
    fn only_packets_that_are_too_large_have_members_in_their_way(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            for kind in KINDS {
                let found = in_the_way(&plan, kind);
                if kind == FailureKind::Large {
                    prop_assert_eq!(found, without_frags(&plan));
                } else {
                    prop_assert_eq!(found, [""; 0]);
                }
            }
            state.commit(&plan);
        }
    }

    #[test]
    fn a_note_is_made_of_new_code_that_cannot_be_an_extension(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            let notes = by_tail_call(&plan, ENGINES);
            for note in &notes {
                let Note::ByTailCall { member, obstacle } = note else { panic!("{note:?}") };
                let (_, member) = plan.next.as_ref().unwrap().member(member).unwrap();
                prop_assert_eq!(member.form.engine, Engine::Tailcall);
                prop_assert_eq!(member.abilities.obstacle, Some(*obstacle));
                let gets_code = plan.prepare.iter().any(|step| matches!(
                    step, Prepare::PinCode { member: id, .. } if *id == member.id
                ));
                prop_assert!(gets_code);
            }
            state.commit(&plan);
        }
    }
}

fn named(name: &str) -> Operation {
    Operation::Register(Registration {
        name: Some(name.into()),
        ..registration()
    })
}

#[test]
fn a_mode_that_was_asked_for_is_not_exchanged() {
    let state = State::new(ENGINES);
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let change = Change {
            mode: Some(mode),
            ..change(vec![named("a")])
        };
        let plan = decided(&state, &root(), &change, &[facts()]).unwrap();
        assert_eq!(instead(&change, &plan, FailureKind::Mode, ERRNO), None);
    }
}

#[test]
fn a_chain_that_is_there_is_not_moved_to_generic_mode() {
    let mut state = State::new(ENGINES);
    let plan = fill(1).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    let change = change(vec![named("new")]);
    let plan = decided(&state, &root(), &change, &[facts()]).unwrap();
    for kind in KINDS {
        assert_eq!(instead(&change, &plan, kind, ERRNO), None);
    }
}

#[test]
fn members_that_take_no_large_packets_are_named() {
    let plain = Facts {
        abilities: Abilities {
            obstacle: None,
            frags: false,
        },
        ..facts()
    };
    let change = change(["a", "b", "c"].map(named).into());
    let facts = [plain.clone(), facts(), plain];
    let plan = decided(&State::new(ENGINES), &root(), &change, &facts).unwrap();
    let named = |kind| {
        let (_, note) = instead(&change, &plan, kind, ERRNO).unwrap();
        let Note::Generic { in_the_way, .. } = note else {
            panic!("{note:?}")
        };
        in_the_way
    };
    assert_eq!(named(FailureKind::Large), ["a", "c"]);
    assert_eq!(named(FailureKind::Mode), [""; 0]);
}

#[test]
fn who_asked_for_a_tail_call_is_told_nothing() {
    use dispatcher_abi::EngineChoice::{Auto, Tailcall};
    let odd = Facts {
        abilities: Abilities {
            obstacle: Some(Obstacle::NoTypes),
            frags: true,
        },
        ..facts()
    };
    let notes = |engine, facts| {
        let asked = Operation::Register(Registration {
            name: Some("a".into()),
            engine,
            ..registration()
        });
        let change = change(vec![asked]);
        let plan = decided(&State::new(ENGINES), &root(), &change, &[facts]).unwrap();
        by_tail_call(&plan, ENGINES)
    };
    let told = Note::ByTailCall {
        member: "a".into(),
        obstacle: Obstacle::NoTypes,
    };
    assert_eq!(notes(Auto, odd.clone()), [told]);
    assert_eq!(notes(Tailcall, odd), []);
    assert_eq!(notes(Auto, facts()), []);
}

#[test]
fn a_mode_that_an_operation_asks_for_is_not_exchanged() {
    for mode in [ModeChoice::Native, ModeChoice::Generic] {
        let configure = Operation::Configure(Configuration {
            mode: Some(mode),
            ..Configuration::default()
        });
        let change = change(vec![named("a"), configure]);
        let plan = decided(&State::new(ENGINES), &root(), &change, &[facts()]).unwrap();
        for kind in KINDS {
            assert_eq!(instead(&change, &plan, kind, ERRNO), None);
        }
    }
}
