//! Numbers are given once, whatever becomes of the changes that they were given for.

use std::collections::BTreeSet;

use dispatcher_abi::EngineChoice;
use proptest::collection::vec;
use proptest::prelude::*;

use super::obsolete::all_steps;
use super::undo::frees_what_runs;
use crate::testing::{ENGINES, change, decided, facts, fill, requests, root};
use crate::{
    Build, ChainDir, ChainId, Change, CodeId, Configuration, MemberId, Operation, Plan, Prepare,
    State,
};

/// Everything that was ever prepared.
#[derive(Debug, Default)]
struct Given {
    chains: BTreeSet<ChainId>,
    builds: BTreeSet<(ChainDir, Build)>,
    members: BTreeSet<MemberId>,
    codes: BTreeSet<(MemberId, CodeId)>,
}

impl Given {
    /// Notes what a plan prepares anew; none of it was ever given before.
    fn note(&mut self, state: &State, plan: &Plan) {
        let before = state.chains.get(&plan.chain);
        if before.is_none() {
            assert!(self.chains.insert(plan.chain), "{plan:?}");
        }
        for step in &plan.prepare {
            match step {
                Prepare::BuildRoot { build, .. } => {
                    assert!(self.builds.insert((plan.dir, *build)), "{plan:?}");
                }
                Prepare::PinCode { member, code, .. } => {
                    let is_old = before.is_some_and(|chain| chain.member_by_id(*member).is_some());
                    assert!(is_old || self.members.insert(*member), "{plan:?}");
                    assert!(self.codes.insert((*member, *code)), "{plan:?}");
                }
                Prepare::FillSlot { .. } | Prepare::WriteRegistry { .. } => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_number_is_given_once_whether_or_not_its_change_is_done(
        history in requests(1..=24),
        done in vec(prop::bool::weighted(0.6), 25),
    ) {
        let mut state = State::new(ENGINES);
        let mut given = Given::default();
        for (request, is_done) in history.iter().zip(done) {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            given.note(&state, &plan);
            state.reserve(&plan);
            if is_done {
                state.commit(&plan);
            } else {
                state.abandon(&plan);
            }
            for chain in state.chains.values() {
                let Some(left) = state.obsolete.get(&chain.dir) else { continue };
                for step in all_steps(left) {
                    prop_assert!(!frees_what_runs(chain, &step), "{:?}", step);
                }
            }
        }
    }

    #[test]
    fn to_reserve_a_plans_numbers_changes_nothing_else(history in requests(1..=24)) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            let mut reserved = state.clone();
            reserved.reserve(&plan);
            let mut again = reserved.clone();
            again.reserve(&plan);
            prop_assert_eq!(&again, &reserved);
            let mut committed = reserved.clone();
            committed.commit(&plan);
            state.commit(&plan);
            prop_assert_eq!(&committed, &state, "a commit reserves by itself");
            if let (Some(next), Some(chain)) = (&plan.next, reserved.chains.get_mut(&plan.chain)) {
                chain.last_build = next.last_build;
                prop_assert_eq!(chain.last_build, committed.chains[&plan.chain].last_build);
            }
        }
    }
}

#[test]
fn a_members_next_code_is_none_that_is_left_of_an_abandoned_change() {
    let replace = change(vec![Operation::Replace { name: "m0".into() }]);
    let tail_calls = change(vec![Operation::Configure(Configuration {
        engine: Some(EngineChoice::Tailcall),
        ..Configuration::default()
    })]);
    for abandoned in [&replace, &tail_calls] {
        for again in [&replace, &tail_calls] {
            let mut state = State::new(ENGINES);
            let plan = fill(2).play(&mut state).unwrap().unwrap();
            state.commit(&plan);
            let planned = |state: &State, change: &Change| {
                decided(state, &root(), change, &vec![facts(); change.loads()]).unwrap()
            };
            let plan = planned(&state, abandoned);
            state.reserve(&plan);
            state.abandon(&plan);
            let plan = planned(&state, again);
            state.commit(&plan);
            let chain = &state.chains[&plan.chain];
            assert_eq!(chain.members[0].code, CodeId(3));
            let steps = all_steps(&state.obsolete[&plan.dir]);
            assert!(!steps.iter().any(|step| frees_what_runs(chain, step)));
            state.obsolete.clear();
            let plan = planned(&state, &replace);
            assert_eq!(plan.next.unwrap().members[0].code, CodeId(4));
        }
    }
}
