//! Which verbs a request takes.

use dispatcher_abi::{Lifetime, ModeChoice};

use super::leases::{key, opening};
use crate::testing::{ENGINES, change, client, decided, facts, gone, interface, registration};
use crate::{
    Authority, Configuration, ConnectionId, Grant, LeaseState, Leases, Moment, Opening, Operation,
    Position, Refusal, Registration, Settings, State, Verb, Verbs,
};

fn granted(verbs: &[Verb]) -> Authority {
    let grant = Grant {
        // Of no use here, so that something is granted.
        verbs: Verbs::of(verbs) | Verbs::of(&[Verb::Events]),
        everybodys: false,
        sockets: None,
    };
    Authority {
        grant,
        ..client(1000, 1)
    }
}

/// Checks that a request is granted with these verbs, and refused without any one of them.
fn takes(verbs: &[Verb], ask: impl Fn(&Authority) -> Result<(), Refusal>) {
    assert_eq!(ask(&granted(verbs)), Ok(()));
    for lacking in verbs {
        let others = verbs.iter().filter(|verb| *verb != lacking);
        let others: Vec<Verb> = others.copied().collect();
        let refusal = ask(&granted(&others)).unwrap_err();
        let expected = Refusal::NotGranted {
            uid: 1000,
            interface: "eth0".to_owned(),
            verb: *lacking,
        };
        assert_eq!(refusal, expected);
    }
}

fn register(name: &str) -> Operation {
    Operation::Register(Registration {
        name: Some(name.to_owned()),
        lifetime: Lifetime::Attached,
        linger_ms: 100,
        ..registration()
    })
}

/// uid 1000 has a member called `mine`.
fn with_member() -> State {
    let mut state = State::new(ENGINES);
    let register = change(vec![register("mine")]);
    let plan = decided(&state, &client(1000, 1), &register, &[facts()]).unwrap();
    state.commit(&plan);
    state
}

#[test]
fn changes_take_the_right_to_load_and_first_ones_that_to_make_a_chain() {
    let ask = |state: &State, authority: &Authority, operation: &Operation| {
        let change = change(vec![operation.clone()]);
        decided(state, authority, &change, &vec![facts(); change.loads()]).map(drop)
    };
    let none = State::new(ENGINES);
    takes(&[Verb::Load, Verb::CreateChain], |authority| {
        ask(&none, authority, &register("other"))
    });
    let state = with_member();
    let name = "mine".to_owned();
    for operation in [
        register("other"),
        Operation::Unregister { name: name.clone() },
        Operation::UnregisterAll,
        Operation::Replace { name: name.clone() },
        Operation::Set {
            name: name.clone(),
            settings: Settings::default(),
        },
        Operation::Move {
            name,
            to: Position::First,
        },
    ] {
        takes(&[Verb::Load], |authority| {
            ask(&state, authority, &operation)
        });
    }
    let generic = Operation::Configure(Configuration {
        mode: Some(ModeChoice::Generic),
        ..Configuration::default()
    });
    let both = granted(&[Verb::Configure, Verb::Mode]);
    assert_eq!(ask(&state, &both, &generic), Ok(()));
    let refusal = ask(&state, &granted(&[Verb::Configure]), &generic).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "uid 1000 may not change a chain's mode on interface eth0"
    );
    let refusal = ask(&state, &granted(&[Verb::Mode]), &generic).unwrap_err();
    assert!(matches!(refusal, Refusal::RootOnly { .. }), "{refusal}");
}

#[test]
fn a_member_is_claimed_by_who_may_have_one() {
    let mut state = with_member();
    gone(&mut state, ConnectionId(1), Moment(0));
    let chain = state.at(interface(0).key).unwrap();
    let (site, id) = (chain.interface.key, chain.members[0].id);
    takes(&[Verb::Load], |authority| {
        state.clone().reclaim(authority, site, id, &[0; 16])
    });
}

#[test]
fn a_socket_takes_the_right_to_what_it_does() {
    let open = |redirect, sends| {
        move |authority: &Authority| {
            let opening = Opening {
                redirect,
                sends,
                ..opening(0, 0, 0)
            };
            Leases::default().open(authority, &opening).map(drop)
        }
    };
    takes(&[Verb::Redirect, Verb::Send], open(true, true));
    takes(&[Verb::Redirect], open(true, false));
    takes(&[Verb::Send], open(false, true));
    takes(&[Verb::Redirect], open(false, false));

    let mut leases = Leases::default();
    leases.open(&client(1000, 1), &opening(0, 0, 0)).unwrap();
    leases.opened(key(0, 0));
    takes(&[Verb::Redirect], |authority| {
        leases.may_activate(authority, "eth0", key(0, 0))
    });
    let mut lease = leases.close(key(0, 0)).unwrap();
    lease.state = LeaseState::Lingering {
        cookie: 9,
        until: Moment(9),
    };
    leases.recover(key(0, 0).place, lease);
    takes(&[Verb::Redirect], |authority| {
        leases.clone().reclaim(authority, "eth0", key(0, 0), 9)
    });
}
