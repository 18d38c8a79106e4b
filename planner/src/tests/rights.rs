//! Who may do what, operation by operation.

use dispatcher_abi::{ModeChoice, Priority};

use crate::testing::{ENGINES, change, client, decided, facts, registration};
use crate::{
    Authority, Configuration, Operation, Position, Refusal, Registration, Settings, State, admit,
};

/// uid 1000 has registered `mine`, uid 1001 `theirs`.
fn shared() -> State {
    let mut state = State::new(ENGINES);
    for (uid, name) in [(1000, "mine"), (1001, "theirs")] {
        let change = change(vec![register(name, 50)]);
        let plan = decided(&state, &client(uid, 1), &change, &[facts()]).unwrap();
        state.commit(&plan);
    }
    state
}

#[test]
fn root_may_do_everything_to_every_member() {
    for operation in on_one("theirs").into_iter().chain(on_all()) {
        assert_eq!(answer(&client(0, 1), &operation), Ok(()), "{operation:?}");
    }
}

#[test]
fn who_may_load_changes_their_own_members_and_nobody_elses() {
    let user = client(1000, 2);
    for operation in on_one("mine") {
        assert_eq!(answer(&user, &operation), Ok(()), "{operation:?}");
    }
    for operation in on_one("theirs") {
        let refusal = answer(&user, &operation).unwrap_err();
        assert!(
            matches!(
                &refusal,
                Refusal::NotOwner {
                    uid: 1000,
                    owner: 1001,
                    ..
                }
            ),
            "{operation:?}: {refusal}",
        );
    }
}

#[test]
fn only_root_does_what_concerns_every_member() {
    for operation in on_all() {
        let refusal = answer(&client(1000, 2), &operation).unwrap_err();
        assert!(
            matches!(refusal, Refusal::RootOnly { .. } | Refusal::NotOwner { .. }),
            "{operation:?}: {refusal}",
        );
    }
}

#[test]
fn everything_is_removed_by_whom_everything_belongs_to() {
    let mut state = shared();
    let change = change(vec![Operation::UnregisterAll]);
    assert!(decided(&state, &client(1000, 1), &change, &[]).is_err());
    for chain in state.chains.values_mut() {
        chain.members.retain(|member| member.owner.uid == 1000);
    }
    let plan = decided(&state, &client(1000, 9), &change, &[]).unwrap();
    assert_eq!(plan.next, None);
}

#[test]
fn who_may_use_the_redirect_program_loads_nothing() {
    for operation in [
        register("own", 50),
        Operation::Replace {
            name: "mine".into(),
        },
    ] {
        assert_eq!(
            answer(&client(1002, 1), &operation),
            Err(Refusal::RedirectOnly { uid: 1002 }),
        );
    }
}

#[test]
fn who_was_granted_nothing_may_do_nothing() {
    let operations = on_one("mine").into_iter().chain(on_all());
    for operation in operations.chain([register("own", 50)]) {
        assert_eq!(
            answer(&client(1003, 1), &operation),
            Err(Refusal::NoRights { uid: 1003 }),
        );
    }
}

/// The answer to a change of this one operation, which is the same before its object is loaded.
fn answer(client: &Authority, operation: &Operation) -> Result<(), Refusal> {
    let state = shared();
    let change = change(vec![operation.clone()]);
    let decided = decided(&state, client, &change, &vec![facts(); change.loads()]).map(drop);
    assert_eq!(admit(&state, client, &change), decided);
    decided
}

fn on_one(name: &str) -> Vec<Operation> {
    let name = String::from(name);
    let positions = [Position::Priority(7), Position::First, Position::Last];
    let moves = positions.map(|to| Operation::Move {
        name: name.clone(),
        to,
    });
    let mut operations = vec![
        Operation::Unregister { name: name.clone() },
        Operation::Set {
            name: name.clone(),
            settings: Settings::default(),
        },
        Operation::Replace { name: name.clone() },
    ];
    operations.extend(moves);
    operations
}

fn on_all() -> Vec<Operation> {
    vec![
        Operation::UnregisterAll,
        Operation::Order {
            names: vec!["theirs".into(), "mine".into()],
        },
        Operation::Configure(Configuration {
            mode: Some(ModeChoice::Generic),
            ..Configuration::default()
        }),
    ]
}

fn register(name: &str, priority: Priority) -> Operation {
    Operation::Register(Registration {
        name: Some(name.into()),
        priority: Some(priority),
        ..registration()
    })
}
