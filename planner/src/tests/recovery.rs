//! What a starting daemon makes of what it finds.

mod judged;
mod odd;
pub(super) mod pins;
mod random;

use dispatcher_abi::Lifetime;
use proptest::prelude::*;

use self::pins::{build, chain, code, dir, leftovers, member, observe, observed, pins, retire};
use crate::testing::{
    ENGINES, change, client, decided, facts, gone, interface, registration, requests,
};
use crate::{
    Build, ChainId, Cleanup, CodeId, ConnectionId, MemberId, MemberState, Moment, ORPHAN_LINGER_MS,
    Obsolete, Operation, Recovery, Registration, Registry, Slot, State, expire, reconcile,
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
            gone(&mut state, connection, now);
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
            Cleanup::Grace,
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
            Cleanup::Grace,
            fold(2),
            fold(3),
            retire(3),
            retire(2),
            retire(5),
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
fn a_number_is_not_given_again_while_something_of_it_is_pinned() {
    let mut pins = pins(&chain(2));
    pins.builds.push(build(4, Registry::Missing));
    pins.members[0].codes.push(code(2));
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
    // Packets may be inside of what a crash left, and of what this change leaves.
    assert_eq!(state.obsolete[&dir].newest(), Some(Build(4)));
    state.commit(&plan);
    assert_eq!(state.obsolete[&dir].newest(), Some(Build(4)));
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

    let Recovery { mut state, .. } = reconcile(&observed(&state), ENGINES, Moment(9));
    let chain = state.chains.values().next().unwrap();
    let (chain, id) = (chain.id, chain.members[0].id);
    let until = |state: &State| match state.chains[&chain].members[0].state {
        MemberState::Lingering { until } => Some(until),
        MemberState::Running => None,
    };
    assert_eq!(until(&state), Some(Moment(9).after_ms(ORPHAN_LINGER_MS)));
    assert!(expire(&state, chain, &[id]).is_some());

    let again = client(1000, 4);
    state
        .reclaim(&again, interface(0).key, id, &[7; 16])
        .unwrap();
    assert_eq!(expire(&state, chain, &[id]), None);
    assert_eq!(until(&state), None);
    let member = &state.chains[&chain].members[0];
    assert_eq!(member.owner.connection, again.connection());
    let (old, new) = (ConnectionId(3), ConnectionId(4));
    assert_eq!(gone(&mut state, old, Moment(20)), []);
    assert_eq!(gone(&mut state, new, Moment(20)), [id]);
    assert_eq!(until(&state), Some(Moment(1520)));
    assert_eq!(gone(&mut state, new, Moment(30)), []);
}
