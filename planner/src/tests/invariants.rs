//! What holds after every request, whatever came before.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_abi::{Engine, SLOTS, TAIL_CALLS_MAX};
use proptest::prelude::*;

use super::oracle::Oracle;
use crate::testing::{ENGINES, Request, requests};
use crate::{
    AttachType, Build, Chain, ChainKey, CodeId, Commit, Form, Member, MemberId, MemberState,
    Operation, Plan, Slot, State, admit,
};

/// Plays a history, and shows each plan with the state before it and the request.
fn play(history: &[Request], mut seen: impl FnMut(&State, &Request, &Plan)) -> State {
    let mut state = State::new(ENGINES);
    for request in history {
        if let Ok(Some(plan)) = request.play(&mut state) {
            seen(&state, request, &plan);
            state.commit(&plan);
        }
    }
    state
}

fn before<'a>(state: &'a State, plan: &Plan) -> Vec<&'a Member> {
    let chain = state.chains.get(&plan.chain);
    chain.into_iter().flat_map(|chain| &chain.members).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_order_is_the_oracles(history in requests(1..=24)) {
        let mut oracles: BTreeMap<ChainKey, Oracle> = BTreeMap::new();
        play(&history, |_, request, plan| {
            let oracle = oracles.entry(plan.site).or_default();
            match request {
                Request::Change { change, facts, .. } => oracle.follow(change, facts),
                Request::Expire(_) | Request::Gone(_) | Request::Reclaim { .. } => {
                    oracle.forget(plan.removes.iter().map(|(_, name)| &**name));
                }
            }
            let members = plan.next.iter().flat_map(|chain| &chain.members);
            let order: Vec<_> = members.map(|m| (m.name.clone(), m.priority)).collect();
            assert_eq!(order, oracle.run_order());
        });
    }

    #[test]
    fn the_numbers_explain_the_order(history in requests(1..=24)) {
        play(&history, |_, _, plan| {
            let members = plan.next.iter().flat_map(|chain| &chain.members);
            let numbers: Vec<_> = members.map(|m| (m.priority, m.tie)).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        });
    }

    #[test]
    fn members_that_nobody_named_stay_as_they_are(history in requests(1..=24)) {
        play(&history, |state, request, plan| {
            let Request::Change { change, .. } = request else { return };
            let named = named(&change.operations);
            let Some(named) = named else { return };
            let mut stays = before(state, plan);
            stays.retain(|member| !named.contains(&*member.name));
            let mut next: Vec<_> = plan.next.iter().flat_map(|chain| &chain.members).collect();
            next.retain(|member| stays.iter().any(|stays| stays.id == member.id));
            let essence = |members: Vec<&Member>| -> Vec<_> {
                members.into_iter().map(|member| essence(plan, member)).collect()
            };
            assert_eq!(essence(stays), essence(next));
        });
    }

    #[test]
    fn a_chain_never_outgrows_its_slots_and_tail_calls(history in requests(1..=24)) {
        play(&history, |_, _, plan| {
            let members: Vec<_> = plan.next.iter().flat_map(|chain| &chain.members).collect();
            assert!(members.len() <= 128);
            let mut by_tail_call = members.clone();
            by_tail_call.retain(|member| member.form.engine == Engine::Tailcall);
            assert!(by_tail_call.is_empty() || members.len() <= SLOTS);
            let calls: u32 = by_tail_call.iter().map(|member| 1 + member.tail_depth).sum();
            assert!(calls <= TAIL_CALLS_MAX);
        });
    }

    #[test]
    fn names_and_ids_are_unique_and_ids_never_come_back(history in requests(1..=24)) {
        let mut gone = BTreeSet::new();
        play(&history, |_, _, plan| {
            gone.extend(plan.removes.iter().map(|(id, _)| *id));
            let members: Vec<_> = plan.next.iter().flat_map(|chain| &chain.members).collect();
            let names: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
            let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
            assert_eq!((names.len(), ids.len()), (members.len(), members.len()));
            assert!(ids.is_disjoint(&gone));
        });
    }

    #[test]
    fn a_refusal_changes_nothing_and_the_same_question_has_the_same_answer(
        history in requests(1..=24),
    ) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let mut once = state.clone();
            let mut again = state.clone();
            let answer = request.play(&mut once);
            prop_assert_eq!(&answer, &request.play(&mut again));
            prop_assert_eq!(&once, &again);
            if answer.is_err() {
                prop_assert_eq!(&once, &state);
            }
            state = once;
            if let Ok(Some(plan)) = answer {
                state.commit(&plan);
            }
        }
    }

    #[test]
    fn what_is_not_admitted_would_be_refused(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let answer = request.play(&mut state);
            if let Request::Change { client, change, .. } = request
                && admit(&state, client, change).is_err()
            {
                prop_assert!(answer.is_err());
            }
            if let Ok(Some(plan)) = answer {
                state.commit(&plan);
            }
        }
    }

    #[test]
    fn only_its_owner_or_root_or_time_changes_or_removes_a_member(history in requests(1..=24)) {
        play(&history, |state, request, plan| {
            let next = |id| plan.next.iter().flat_map(|c| &c.members).find(move |m| m.id == id);
            for member in before(state, plan) {
                let same = |next: &Member| essence(plan, next) == essence(plan, member);
                if next(member.id).is_some_and(same) {
                    continue;
                }
                match request {
                    Request::Change { client, .. } => assert!(
                        client.uid() == 0 || client.uid() == member.owner.uid
                    ),
                    Request::Expire(_) => assert!(
                        next(member.id).is_none() && member.owner.connection.is_none()
                            && matches!(member.state, MemberState::Lingering { .. })
                    ),
                    Request::Gone(_) | Request::Reclaim { .. } => unreachable!("no plan"),
                }
            }
        });
    }

    #[test]
    fn the_build_counts_swaps_and_nothing_else(history in requests(1..=24)) {
        play(&history, |state, _, plan| {
            let now = state.chains.get(&plan.chain).map_or(0, |chain| chain.build.0);
            let (from, to) = match plan.commit {
                Commit::Attach { build, .. } => (0, build.0),
                Commit::Swap { from, to } | Commit::Reattach { from, to, .. } => (from.0, to.0),
                Commit::Detach { build } => (build.0, 0),
                Commit::Registry { build } => (build.0, build.0),
            };
            assert_eq!(from, now);
            assert_eq!(plan.build, Build(to));
            match plan.commit {
                Commit::Attach { .. } => assert_eq!(to, 1),
                Commit::Swap { .. } | Commit::Reattach { .. } => assert_eq!(to, from + 1),
                Commit::Detach { .. } => assert_eq!(plan.next, None),
                Commit::Registry { .. } => assert_eq!(
                    runs(&state.chains[&plan.chain]),
                    runs(plan.next.as_ref().unwrap()),
                ),
            }
        });
    }

    #[test]
    fn a_description_has_a_line_for_each_step(history in requests(1..=24)) {
        play(&history, |_, _, plan| {
            let lines = plan.describe();
            assert_eq!(lines.len(), plan.prepare.len() + 1 + plan.cleanup.len());
            for line in lines {
                assert!(!line.contains("unknown") && !line.contains('\n'), "{line}");
            }
        });
    }
}

/// What nobody but its owner changes of a member: its tie may make room for another, and its code
/// may be loaded again from the same object because of another.
fn essence(plan: &Plan, member: &Member) -> Member {
    let mut member = member.clone();
    member.tie = 0;
    if plan.reloads.contains(&member.name) {
        member.code = CodeId(0);
        member.program_id = 0;
        member.form = Form {
            engine: Engine::Tailcall,
            frags: false,
            attach: AttachType::Xdp,
        };
    }
    member
}

/// What packets run.
fn runs(chain: &Chain) -> Vec<(Slot, MemberId, CodeId)> {
    chain
        .slots()
        .map(|(slot, m)| (slot, m.id, m.code))
        .collect()
}

/// The members that operations name as their subject; `None` if that is everybody.
fn named(operations: &[Operation]) -> Option<BTreeSet<&str>> {
    let mut names = BTreeSet::new();
    for operation in operations {
        match operation {
            Operation::Register(_) | Operation::Configure(_) => {}
            Operation::Unregister { name }
            | Operation::Move { name, .. }
            | Operation::Set { name, .. }
            | Operation::Replace { name } => drop(names.insert(&**name)),
            Operation::UnregisterAll | Operation::Order { .. } => return None,
        }
    }
    Some(names)
}
