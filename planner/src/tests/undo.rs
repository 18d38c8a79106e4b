//! What is freed of a change whose commit is never done.

use proptest::prelude::*;

use super::obsolete::all_steps;
use crate::testing::{ENGINES, requests};
use crate::{Chain, Cleanup, Plan, Prepare, State};

/// What a plan's prepare steps make that isn't there yet.
fn made(before: Option<&Chain>, plan: &Plan) -> Vec<Cleanup> {
    let mut made = Vec::new();
    for step in &plan.prepare {
        match step {
            Prepare::PinCode { member, code, .. } => {
                let is_old = before.is_some_and(|chain| chain.member_by_id(*member).is_some());
                made.push(if is_old {
                    Cleanup::RemoveCode {
                        member: *member,
                        code: *code,
                    }
                } else {
                    Cleanup::RemoveMember { member: *member }
                });
            }
            Prepare::BuildRoot { build, .. } => made.push(Cleanup::RetireBuild { build: *build }),
            Prepare::WriteRegistry { build } => {
                if before.is_some_and(|chain| chain.build == *build) {
                    made.push(Cleanup::RemoveDraft { build: *build });
                }
            }
            Prepare::FillSlot { .. } => {}
        }
    }
    if before.is_none() {
        made.push(Cleanup::RemoveChain);
    }
    made
}

/// Whether a step frees something that runs.
pub(super) fn frees_what_runs(chain: &Chain, step: &Cleanup) -> bool {
    match step {
        Cleanup::Grace | Cleanup::FoldCounters { .. } | Cleanup::RemoveDraft { .. } => false,
        Cleanup::RetireBuild { build } => chain.build == *build,
        Cleanup::RemoveCode { member, code } => chain
            .member_by_id(*member)
            .is_some_and(|member| member.code == *code),
        Cleanup::RemoveMember { member } => chain.member_by_id(*member).is_some(),
        Cleanup::RemoveChain => true,
    }
}

/// Brings steps into an order of their own.
fn sorted(steps: &[Cleanup]) -> Vec<String> {
    let mut lines: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_abandoned_plan_frees_what_its_prepare_made_and_nothing_that_runs(
        history in requests(1..=24),
    ) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            let before = state.chains.get(&plan.chain);
            let steps = all_steps(&plan.undo());
            for step in &steps {
                let frees = before.is_some_and(|chain| frees_what_runs(chain, step));
                prop_assert!(!frees, "{:?}", step);
            }
            prop_assert_eq!(sorted(&steps), sorted(&made(before, &plan)));
            state.commit(&plan);
        }
    }

    #[test]
    fn what_is_left_of_a_plan_is_forgotten_once_it_is_freed(
        history in requests(1..=24),
        is_committed in any::<bool>(),
    ) {
        let mut state = State::new(ENGINES);
        for request in &history {
            let Ok(Some(plan)) = request.play(&mut state) else { continue };
            let left = if is_committed { crate::Obsolete::of(&plan.cleanup) } else { plan.undo() };
            let mut once = state.clone();
            if is_committed {
                once.commit(&plan);
            } else {
                once.reserve(&plan);
                let reserved = once.clone();
                once.abandon(&plan);
                prop_assert_eq!(&once.chains, &reserved.chains);
            }
            prop_assert_eq!(once.obsolete.get(&plan.dir).cloned().unwrap_or_default(), left.clone());
            for step in all_steps(&left) {
                let newest = once.obsolete.get(&plan.dir).and_then(crate::Obsolete::newest);
                once.freed(plan.dir, &step, newest.unwrap_or(crate::Build(0)));
            }
            prop_assert!(once.obsolete.is_empty());
            state.commit(&plan);
            state.obsolete.clear();
        }
    }
}
