//! Changes that are sent again.

use dispatcher_abi::Lifetime;

use crate::testing::{ENGINES, change, client, decided, facts, gone, registration, root};
use crate::{
    Authority, ConnectionId, MemberState, Moment, Operation, Registration, State, done_before,
};

#[test]
fn a_change_was_done_if_all_its_registrations_are_there_under_their_tokens() {
    let mut state = State::new(ENGINES);
    let owner = client(1000, 3);
    let asked = change(vec![register("a", 1), register("b", 2)]);
    assert_eq!(done_before(&state, &owner, &asked), None);
    let plan = decided(&state, &owner, &asked, &[facts(), facts()]).unwrap();
    state.commit(&plan);

    let found = |client: &Authority, operations| {
        let taken = done_before(&state, client, &change(operations))?;
        let name = |id: &_| state.member(*id).unwrap().1.name.clone();
        Some(taken.members.iter().map(name).collect::<Vec<_>>())
    };
    let both = || vec![register("a", 1), register("b", 2)];
    let names = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(found(&owner, both()), names);
    assert_eq!(found(&client(1000, 9), both()), names, "on any connection");
    assert_eq!(found(&client(1001, 3), both()), None, "of another uid");
    assert_eq!(found(&root(), both()), None, "not even root");
    let other_token = vec![register("a", 1), register("b", 3)];
    assert_eq!(found(&owner, other_token), None);
    assert_eq!(
        found(&owner, vec![register("c", 1)]),
        None,
        "by another name"
    );
    let unnamed = Operation::Register(Registration {
        token: [1; 16],
        ..registration()
    });
    assert_eq!(found(&owner, vec![unnamed]), Some(vec!["a".to_owned()]));
    let go = Operation::Unregister { name: "a".into() };
    assert_eq!(found(&owner, vec![go]), None, "it registers nothing");
}

#[test]
fn what_is_taken_up_belongs_to_the_new_connection_whether_it_lingers_or_not() {
    for is_gone in [false, true] {
        let mut state = State::new(ENGINES);
        let asked = change(vec![register("a", 1)]);
        let plan = decided(&state, &client(1000, 3), &asked, &[facts()]).unwrap();
        state.commit(&plan);
        if is_gone {
            assert_eq!(gone(&mut state, ConnectionId(3), Moment(5)).len(), 1);
        }
        let again = client(1000, 4);
        let taken = done_before(&state, &again, &asked).unwrap();
        state.take_up(&again, &taken);
        let (_, member) = state.member(taken.members[0]).unwrap();
        assert_eq!(member.state, MemberState::Running);
        assert_eq!(member.owner.connection, Some(ConnectionId(4)));
        assert_eq!(state.deadlines().count(), 0);
        // The end of the former connection is news of the past.
        assert_eq!(gone(&mut state, ConnectionId(3), Moment(9)), []);
        assert_eq!(gone(&mut state, ConnectionId(4), Moment(9)).len(), 1);
    }
}

fn register(name: &str, token: u8) -> Operation {
    Operation::Register(Registration {
        name: Some(name.into()),
        token: [token; 16],
        lifetime: Lifetime::Attached,
        ..registration()
    })
}
