//! Every plan, stopped at every effect that it has.

use planner::testing::{ENGINES, Request, requests};
use planner::{Chain, Commit, ConnectionId, Plan, Root, State, reconcile};
use proptest::prelude::*;

use super::*;
use crate::kernel::fake::{FakeKernel, Fault};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_pinned_is_what_the_state_says(history in requests(1..=16)) {
        play(&history, |world, _| world.assert_clean());
    }

    #[test]
    fn a_plan_that_fails_before_its_commit_leaves_no_trace(history in requests(1..=8)) {
        play(&history, |world, plan| {
            for at in 0.. {
                let mut tried = world.clone();
                tried.kernel.plan_fault(Fault::Error(at));
                if run(&mut tried.kernel, plan).is_ok() {
                    break;
                }
                tried.assert_clean();
            }
        });
    }

    #[test]
    fn cleanup_that_fails_anywhere_is_finished_by_reconciling(history in requests(1..=8)) {
        play(&history, |world, plan| {
            for at in 0.. {
                let mut tried = world.clone();
                tried.kernel.plan_fault(Fault::Error(at));
                let Ok(failures) = run(&mut tried.kernel, plan) else { continue };
                tried.state.commit(plan);
                tried.assert_runs();
                if !tried.kernel.is_faulted() {
                    break;
                }
                assert!(!failures.is_empty());
                tried.recover();
                tried.assert_clean();
            }
        });
    }

    #[test]
    fn cleanup_that_is_put_off_until_the_next_change_loses_nothing(
        history in requests(1..=16),
        faults in prop::collection::vec(0..24_usize, 17),
    ) {
        let mut world = World::new();
        let mut put_off: Option<(ChainDir, Vec<Cleanup>)> = None;
        for (request, at) in history.iter().zip(faults) {
            let Ok(Some(plan)) = request.play(&mut world.state) else { continue };
            if let Some((chain, steps)) = put_off.take() {
                assert!(finish(&mut world.kernel, chain, &steps).is_empty());
            }
            world.kernel.plan_fault(Fault::Error(at));
            if run(&mut world.kernel, &plan).is_ok() {
                world.state.commit(&plan);
                put_off = Some((plan.dir, plan.cleanup));
            }
            world.kernel.restart();
            world.assert_runs();
        }
        if let Some((chain, steps)) = put_off {
            finish(&mut world.kernel, chain, &steps);
        }
        world.assert_clean();
    }

    #[test]
    fn a_crash_anywhere_ends_before_or_after_the_change(history in requests(1..=8)) {
        play(&history, |world, plan| {
            for at in 0.. {
                let mut tried = world.clone();
                tried.kernel.plan_fault(Fault::Crash(at));
                let ended = run(&mut tried.kernel, plan);
                if !tried.kernel.is_faulted() {
                    break;
                }
                tried.kernel.restart();
                tried.recover();
                tried.assert_clean();
                if ended.is_ok() {
                    assert_eq!(what_runs(&tried.state), what_runs(&world.after(plan)));
                } else if !tried.is_between_modes(plan) {
                    assert_eq!(what_runs(&tried.state), what_runs(&world.orphaned()));
                }
            }
        });
    }

    #[test]
    fn a_crash_while_recovering_from_a_crash_changes_nothing(
        history in requests(1..=6),
        at in any::<prop::sample::Index>(),
    ) {
        play(&history, |world, plan| {
            let mut crashed = world.clone();
            crashed.kernel.plan_fault(Fault::Crash(at.index(12)));
            let _ = run(&mut crashed.kernel, plan);
            crashed.kernel.restart();
            let mut straight = crashed.clone();
            straight.recover();
            for at in 0.. {
                let mut tried = crashed.clone();
                tried.kernel.plan_fault(Fault::Crash(at));
                tried.recover();
                if !tried.kernel.is_faulted() {
                    break;
                }
                tried.kernel.restart();
                tried.recover();
                tried.assert_clean();
                assert_eq!(what_runs(&tried.state), what_runs(&straight.state));
            }
        });
    }
}

/// A daemon's state, and the kernel that it believes to know.
#[derive(Clone)]
struct World {
    state: State,
    kernel: FakeKernel,
}

/// Plays a history without faults, and shows each plan with the world before it.
fn play(history: &[Request], mut seen: impl FnMut(&World, &Plan)) {
    let mut world = World::new();
    for request in history {
        let Ok(Some(plan)) = request.play(&mut world.state) else {
            continue;
        };
        seen(&world, &plan);
        let failures = run(&mut world.kernel, &plan).unwrap();
        assert!(failures.is_empty(), "{failures:?}");
        world.state.commit(&plan);
    }
}

/// The chains without the numbers of builds that failed: those are known as long as their pins
/// last.
fn what_runs(state: &State) -> Vec<Chain> {
    let chains = state.chains.values().cloned();
    let without = |chain: Chain| Chain {
        last_build: chain.build,
        ..chain
    };
    chains.map(without).collect()
}

impl World {
    fn new() -> Self {
        Self {
            state: State::new(ENGINES),
            kernel: FakeKernel::default(),
        }
    }

    /// What a daemon does when it starts.
    fn recover(&mut self) {
        let observed = self.kernel.observe().unwrap();
        let recovery = reconcile(&observed, ENGINES);
        assert_eq!(recovery.unreadable, []);
        for (chain, step) in &recovery.mends {
            // A daemon that dies here mends it at its next start.
            let _ = self.kernel.mend(*chain, step);
        }
        for (chain, steps) in &recovery.leftovers {
            finish(&mut self.kernel, *chain, steps);
        }
        self.state = recovery.state;
    }

    /// The state of a daemon that started anew before the plan.
    fn orphaned(&self) -> State {
        let mut state = self.state.clone();
        for connection in 1..3 {
            state.connection_gone(ConnectionId(connection));
        }
        state
    }

    /// The state of a daemon that started anew after the plan.
    fn after(&self, plan: &Plan) -> State {
        let mut world = self.clone();
        world.state.commit(plan);
        world.orphaned()
    }

    /// Whether the crash hit the moment at which the interface runs no program.
    fn is_between_modes(&self, plan: &Plan) -> bool {
        matches!(plan.commit, Commit::Reattach { .. })
            && !self.state.chains.contains_key(&plan.chain)
    }

    /// Packets run exactly what the state says.
    fn assert_runs(&self) {
        for chain in self.state.chains.values() {
            let members = chain.members.iter().map(|member| (member.id, member.code));
            assert_eq!(self.kernel.running(chain.dir), Some(members.collect()));
            assert_eq!(self.kernel.root(chain.dir), Some(&Root::of(chain)));
        }
    }

    /// Besides, nothing is pinned that the state doesn't know, and every packet is counted once.
    fn assert_clean(&self) {
        self.assert_runs();
        let observed = self.kernel.clone().observe().unwrap();
        let recovery = reconcile(&observed, ENGINES);
        assert_eq!(recovery.leftovers, []);
        assert_eq!(recovery.mends, []);
        assert_eq!(what_runs(&recovery.state), what_runs(&self.orphaned()));
        for chain in self.state.chains.values() {
            for member in &chain.members {
                let ran = self.kernel.ran(member.id);
                assert_eq!(
                    self.kernel.count(chain.dir, member.id),
                    ran,
                    "{}",
                    member.name
                );
            }
        }
    }
}
