//! As what programs are loaded, and when that changes.

use dispatcher_abi::{Engine, EngineChoice};
use proptest::prelude::*;

use crate::testing::{
    ENGINES, Request, change, decided, facts, fill, outline, registration, reloaded, requests, root,
};
use crate::{
    Abilities, Chain, Commit, Configuration, Engines, Facts, Form, Obstacle, Operation, Plan,
    Prepare, Refusal, Registration, Root, RootProgram, State, decide, needs,
};

const TAILCALL_ONLY: Engines = Engines {
    freplace: false,
    tailcall: true,
};

const PLAIN: Abilities = Abilities {
    obstacle: None,
    frags: false,
};

const ODD: Abilities = Abilities {
    obstacle: Some(Obstacle::Prototype),
    frags: true,
};

#[test]
fn a_root_has_as_many_slots_as_its_members_need() {
    for (members, kind) in [
        (1, RootProgram::EXT[0]),
        (16, RootProgram::EXT[0]),
        (17, RootProgram::EXT[1]),
        (64, RootProgram::EXT[1]),
        (65, RootProgram::EXT[2]),
        (128, RootProgram::EXT[2]),
    ] {
        assert_eq!(Root::of(chain(&filled(ENGINES, members))).program, kind);
    }
    let tail_called = filled(TAILCALL_ONLY, 1);
    assert_eq!(
        Root::of(chain(&tail_called)).program,
        RootProgram::DISPATCHER
    );
}

#[test]
fn a_program_that_cannot_be_an_extension_gets_a_tail_call_slot_among_the_others() {
    let mut state = filled(ENGINES, 2);
    let plan = add(&state, "odd", ODD).unwrap();
    state.commit(&plan);
    let engines = chain(&state).members.iter().map(|m| m.form.engine);
    let engines: Vec<_> = engines.collect();
    assert_eq!(
        engines,
        [Engine::Freplace, Engine::Freplace, Engine::Tailcall]
    );
    assert_eq!(Root::of(chain(&state)).program, RootProgram::DISPATCHER);
    assert_eq!(plan.reloads, [""; 0]);
}

#[test]
fn another_engine_loads_every_member_again_and_keeps_what_a_member_asked_for() {
    let mut state = filled(ENGINES, 2);
    let asked = Registration {
        name: Some("asked".into()),
        engine: EngineChoice::Freplace,
        ..registration()
    };
    let plan = decided(
        &state,
        &root(),
        &change(vec![Operation::Register(asked)]),
        &[facts()],
    );
    state.commit(&plan.unwrap());
    let plan = decided(&state, &root(), &configure(EngineChoice::Tailcall), &[]).unwrap();
    assert_eq!(plan.reloads, ["m0", "m1"]);
    assert!(matches!(plan.commit, Commit::Swap { .. }));
    let pins = plan
        .prepare
        .iter()
        .filter(|step| matches!(step, Prepare::PinCode { .. }));
    assert_eq!(pins.count(), 2);
    assert!(
        plan.describe()
            .contains(&"aside: pin code 2 of m0, loaded again with its maps".into())
    );
    state.commit(&plan);
    let back = decided(&state, &root(), &configure(EngineChoice::Auto), &[]).unwrap();
    assert_eq!(back.reloads, ["m0", "m1"]);
    let same = decided(&state, &root(), &configure(EngineChoice::Tailcall), &[]).unwrap();
    assert!(same.reloads.is_empty() && matches!(same.commit, Commit::Registry { .. }));
}

#[test]
fn what_was_not_loaded_again_is_not_changed() {
    let state = filled(ENGINES, 2);
    let change = configure(EngineChoice::Tailcall);
    let needs = needs(&state, &root(), &change, &[], true).unwrap();
    let both: Vec<_> = needs.reloads.iter().map(reloaded).collect();
    let of_older_code = |facts: &Facts| Facts {
        replaces: facts
            .replaces
            .map(|(member, code)| (member, crate::CodeId(code.0 + 1))),
        ..facts.clone()
    };
    let stale: Vec<_> = both.iter().map(of_older_code).collect();
    for insufficient in [&[][..], &both[..1], &stale] {
        let decided = decide(&state, &root(), &change, &[], insufficient);
        assert!(matches!(decided, Err(Refusal::ChangedMeanwhile { .. })));
    }
    assert!(decide(&state, &root(), &change, &[], &both).is_ok());
}

#[test]
fn one_plain_member_makes_a_tail_call_chain_plain_until_it_goes() {
    let mut state = filled(TAILCALL_ONLY, 2);
    assert!(Root::of(chain(&state)).frags);
    let plan = add(&state, "plain", PLAIN).unwrap();
    assert_eq!(plan.reloads, ["m0", "m1"]);
    state.commit(&plan);
    assert!(!Root::of(chain(&state)).frags);

    let go = change(vec![Operation::Unregister {
        name: "plain".into(),
    }]);
    let without = decide(&state, &root(), &go, &[], &[]).unwrap();
    assert!(without.reloads.is_empty(), "no change needs an upgrade");
    assert!(!Root::of(without.next.as_ref().unwrap()).frags);

    let plan = decided(&state, &root(), &go, &[]).unwrap();
    assert_eq!(plan.reloads, ["m0", "m1"]);
    state.commit(&plan);
    assert!(Root::of(chain(&state)).frags);
}

#[test]
fn extensions_need_no_reload_for_a_plain_member() {
    let mut state = filled(ENGINES, 2);
    let plan = add(&state, "plain", PLAIN).unwrap();
    assert_eq!(plan.reloads, [""; 0]);
    state.commit(&plan);
    assert!(!Root::of(chain(&state)).frags);
    let go = change(vec![Operation::Unregister {
        name: "plain".into(),
    }]);
    state.commit(&decided(&state, &root(), &go, &[]).unwrap());
    assert!(Root::of(chain(&state)).frags);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_program_array_takes_every_member_that_is_in_it(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
            for chain in state.chains.values() {
                let root = Root::of(chain);
                for member in &chain.members {
                    let Form { engine, frags, attach } = member.form;
                    prop_assert_eq!(attach, chain.attach);
                    if engine == Engine::Tailcall {
                        prop_assert_eq!(frags, root.frags);
                        prop_assert_eq!(root.program, RootProgram::DISPATCHER);
                    } else {
                        prop_assert_eq!(member.abilities.obstacle, None);
                    }
                    prop_assert!(member.abilities.frags || !frags);
                }
                prop_assert!(chain.members.len() <= usize::from(root.program.slots));
            }
        }
    }

    #[test]
    fn what_needs_asks_for_is_enough(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Request::Change { client, change, facts } = request else { continue };
            let outlines: Vec<_> = facts.iter().map(outline).collect();
            for upgrade in [true, false] {
                let Ok(needs) = needs(&state, client, change, &outlines, upgrade) else { continue };
                let mut facts = facts.clone();
                for (facts, form) in facts.iter_mut().zip(&needs.forms) {
                    facts.form = *form;
                }
                let reloads: Vec<_> = needs.reloads.iter().map(reloaded).collect();
                let decided = decide(&state, client, change, &facts, &reloads);
                let meanwhile = matches!(decided, Err(Refusal::ChangedMeanwhile { .. }));
                prop_assert!(!meanwhile, "{:?}", decided);
            }
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
        }
    }
}

fn chain(state: &State) -> &Chain {
    state.chains.values().next().unwrap()
}

fn filled(engines: Engines, members: usize) -> State {
    let mut state = State::new(engines);
    let plan = fill(members).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    state
}

fn add(state: &State, name: &str, abilities: Abilities) -> Result<Plan, Refusal> {
    let registration = Registration {
        name: Some(name.into()),
        ..registration()
    };
    let facts = Facts {
        abilities,
        ..facts()
    };
    decided(
        state,
        &root(),
        &change(vec![Operation::Register(registration)]),
        &[facts],
    )
}

fn configure(engine: EngineChoice) -> crate::Change {
    change(vec![Operation::Configure(Configuration {
        engine: Some(engine),
        ..Configuration::default()
    })])
}
