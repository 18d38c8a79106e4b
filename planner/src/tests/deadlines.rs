//! When members and sockets have had their time.

use dispatcher_abi::Lifetime;
use proptest::collection::vec;
use proptest::prelude::*;

use super::leases::opening;
use super::recovery::pins::observed;
use crate::testing::{
    ENGINES, Request, change, client, decided, facts, gone, registration, requests,
};
use crate::{
    ConnectionId, Lease, LeaseState, MemberState, Moment, ORPHAN_LINGER_MS, Operation,
    Registration, SocketKey, Start, State, expire, reconcile,
};

/// Long after every time that these tests give.
const END: Moment = Moment(u64::MAX);

/// Plays a request at this moment.
fn play(state: &mut State, request: &Request, now: Moment) {
    if let Request::Gone(connection) = request {
        for id in gone(state, *connection, now) {
            let (_, member) = state.member(id).unwrap();
            let until = now.after_ms(member.linger_ms);
            assert_eq!(member.state, MemberState::Lingering { until });
            assert_eq!(member.owner.connection, None);
        }
    } else if let Ok(Some(plan)) = request.play(state) {
        state.commit(&plan);
    }
}

/// A socket that waits for its client until then.
fn waits(state: &mut State, queue: u32, until: Moment) -> SocketKey {
    let user = client(1002, 1);
    let key = state.leases.open(&user, &opening(0, queue, 0)).unwrap();
    let lease = state.leases.close(key).unwrap();
    let lease = Lease {
        state: LeaseState::Lingering { cookie: 99, until },
        ..lease
    };
    state.leases.recover(key.place, lease);
    key
}

fn is_over(state: &State, now: Moment) -> bool {
    !state.over(now).is_empty() || !state.leases.over(now).is_empty()
}

/// The next deadline is the first moment at which something is over.
fn check(state: &State) {
    let Some(next) = state.deadlines().min() else {
        assert!(!is_over(state, END), "{state:#?}");
        return;
    };
    assert!(is_over(state, next), "{state:#?}");
    if let Some(before) = next.0.checked_sub(1) {
        assert!(!is_over(state, Moment(before)), "{state:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn something_is_over_at_the_next_deadline_and_nothing_before(
        history in requests(1..=24),
        sockets in vec(0..5_000_u64, 0..4),
    ) {
        let mut state = State::new(ENGINES);
        for (queue, until) in (0..).zip(sockets) {
            waits(&mut state, queue, Moment(until));
        }
        for (step, request) in (0..).zip(&history) {
            play(&mut state, request, Moment(step * 137));
            check(&state);
        }
        // Time goes on until nobody waits any more.
        while let Some(now) = state.deadlines().min() {
            for (chain, members) in state.over(now) {
                for id in &members {
                    let (of, member) = state.member(*id).unwrap();
                    prop_assert_eq!(of.id, chain);
                    let is_lingering = matches!(member.state, MemberState::Lingering { .. });
                    prop_assert!(is_lingering);
                }
                let plan = expire(&state, chain, &members).unwrap();
                prop_assert!(plan.removes.iter().map(|(id, _)| id).eq(&members));
                state.commit(&plan);
            }
            for key in state.leases.over(now) {
                state.leases.leave(key);
            }
            prop_assert!(state.deadlines().min().is_none_or(|next| next > now));
            check(&state);
        }
    }

    #[test]
    fn a_member_that_is_reclaimed_has_no_deadline(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for (step, request) in (0..).zip(&history) {
            play(&mut state, request, Moment(step * 137));
            let waiting: Vec<_> = state.over(END).into_values().flatten().collect();
            for (left, id) in (0..waiting.len()).rev().zip(waiting) {
                let (chain, member) = state.member(id).unwrap();
                let (key, token) = (chain.interface.key, member.token);
                let again = client(member.owner.uid, 9);
                prop_assert_eq!(state.reclaim(&again, key, id, &token), Ok(()));
                let over: Vec<_> = state.over(END).into_values().flatten().collect();
                prop_assert!(!over.contains(&id));
                prop_assert_eq!(over.len(), left);
                let (_, member) = state.member(id).unwrap();
                prop_assert_eq!(member.state, MemberState::Running);
                prop_assert_eq!(member.owner.connection, Some(ConnectionId(9)));
            }
            prop_assert_eq!(state.deadlines().min(), None);
            // Its time begins anew when its client goes again.
            gone(&mut state, ConnectionId(9), Moment(step * 137));
        }
    }
}

#[test]
fn a_socket_that_is_reclaimed_has_no_deadline() {
    let mut state = State::new(ENGINES);
    let first = waits(&mut state, 0, Moment(10));
    let second = waits(&mut state, 1, Moment(20));
    assert_eq!(state.deadlines().min(), Some(Moment(10)));
    assert_eq!(state.leases.over(Moment(10)), [first]);
    state
        .leases
        .reclaim(&client(1002, 2), "eth0", first, 99)
        .unwrap();
    assert_eq!(state.deadlines().min(), Some(Moment(20)));
    assert_eq!(state.leases.over(END), [second]);
}

#[test]
fn a_restart_gives_every_client_time_to_come_back() {
    for (linger_ms, expected) in [
        (0, ORPHAN_LINGER_MS),
        (ORPHAN_LINGER_MS - 1, ORPHAN_LINGER_MS),
        (ORPHAN_LINGER_MS + 1, ORPHAN_LINGER_MS + 1),
        (u32::MAX, u32::MAX),
    ] {
        let mut state = State::new(ENGINES);
        let attached = Operation::Register(Registration {
            lifetime: Lifetime::Attached,
            linger_ms,
            ..registration()
        });
        let owner = client(1000, 3);
        let plan = decided(&state, &owner, &change(vec![attached]), &[facts()]).unwrap();
        state.commit(&plan);
        // Before the restart its own time goes, afterwards the longer one.
        let mut lingering = state.clone();
        gone(&mut lingering, ConnectionId(3), Moment(500));
        let own = Moment(500).after_ms(linger_ms);
        assert_eq!(lingering.deadlines().min(), Some(own));
        for state in [state, lingering] {
            let now = Moment(1000);
            let found = reconcile(&observed(&state), ENGINES, now);
            let until = now.after_ms(expected);
            assert_eq!(found.state.deadlines().min(), Some(until));
        }
    }
}

#[test]
fn an_operator_says_how_long_clients_have_after_a_restart() {
    for (restart_ms, linger_ms, expected) in [(0, 0, 0), (0, 7, 7), (500, 7, 500), (500, 900, 900)]
    {
        let mut state = State::new(ENGINES);
        let attached = Operation::Register(Registration {
            lifetime: Lifetime::Attached,
            linger_ms,
            ..registration()
        });
        let owner = client(1000, 3);
        let plan = decided(&state, &owner, &change(vec![attached]), &[facts()]).unwrap();
        state.commit(&plan);
        let start = Start {
            now: Moment(1000),
            linger_ms: restart_ms,
        };
        let found = reconcile(&observed(&state), ENGINES, start);
        let until = Moment(1000 + expected);
        assert_eq!(found.state.deadlines().min(), Some(until));
        // Sockets are registered with no linger of their own.
        assert_eq!(start.until(0), Moment(1000 + u64::from(restart_ms)));
    }
}

#[test]
fn a_time_that_is_past_is_no_time_away() {
    assert_eq!(Moment(7).ms_since(Moment(5)), 2);
    assert_eq!(Moment(5).ms_since(Moment(7)), 0);
    assert_eq!(Moment(u64::MAX).after_ms(1_u32), Moment(u64::MAX));
}
