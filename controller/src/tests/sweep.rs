//! Every plan of a history, with a fault or a crash at every effect that it has.

use std::collections::BTreeMap;

use dispatcher_abi::Lifetime;
use planner::testing::{ENGINES, Request as Drawn, outline, requests};
use planner::{Chain, ChainId, Commit, MemberState, Moment, Standing};
use proptest::prelude::*;

use super::daemon::{Daemon, Load};
use super::world::Fate;
use crate::{Answer, Request};

/// The chains, but for what only a daemon knows that lives: whose members are, and until when.
fn essence(daemon: &Daemon) -> BTreeMap<ChainId, Chain> {
    let mut chains = daemon.controller.state().chains.clone();
    for chain in chains.values_mut() {
        chain.last_build = chain.build;
        chain.standing = Standing::InForce;
        for member in &mut chain.members {
            member.owner.connection = None;
            if member.lifetime == Lifetime::Attached {
                let until = Moment(0);
                member.state = MemberState::Lingering { until };
            }
        }
    }
    chains
}

/// Plays a history without faults, and shows each change that makes a plan with the daemon before it.
fn play(history: &[Drawn], mut seen: impl FnMut(&Daemon, &mut dyn FnMut(&mut Daemon))) {
    let mut daemon = Daemon::new(ENGINES);
    daemon.run();
    for drawn in history {
        let Drawn::Change {
            client,
            change,
            facts,
        } = drawn
        else {
            continue;
        };
        let mut ask = |daemon: &mut Daemon| {
            let connection = daemon.connect(client.uid());
            let request = Request::Change {
                change: change.clone(),
                outlines: facts.iter().map(outline).collect(),
                dry_run: false,
            };
            daemon.ask(connection, change.interface.clone(), request, facts.clone());
        };
        daemon.history.clear();
        seen(&daemon, &mut ask);
        ask(&mut daemon);
        daemon.run();
    }
    daemon.run_for(1000);
    daemon.assert_at_rest();
}

/// How many effects a change has; 0 if it is refused.
fn effects(daemon: &Daemon, ask: &mut dyn FnMut(&mut Daemon)) -> usize {
    let mut tried = daemon.clone();
    tried.answers.clear();
    ask(&mut tried);
    let mut effects = 0;
    while !tried.running.is_empty() {
        tried.step(0, Fate::Works, Load::Works);
        effects += 1;
    }
    let is_made = matches!(tried.answers.values().next(), Some(Answer::Changed(_)));
    if is_made { effects } else { 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5) })]

    #[test]
    fn a_fault_anywhere_ends_before_or_after_the_change(history in requests(1..=5)) {
        play(&history, |daemon, ask| {
            let mut after = daemon.clone();
            ask(&mut after);
            after.run();
            for at in 0..effects(daemon, ask) {
                let mut tried = daemon.clone();
                tried.answers.clear();
                ask(&mut tried);
                for _ in 0..at {
                    tried.step(0, Fate::Works, Load::Works);
                }
                tried.step(0, Fate::Fails, Load::Fails);
                tried.run();
                // The looks come by, and the connections stay.
                tried.run_for(2000);
                tried.assert_at_rest();
                let is_made = matches!(tried.answers.values().next(), Some(Answer::Changed(_)));
                let wanted = if is_made { &after } else { daemon };
                assert_eq!(essence(&tried).len(), essence(wanted).len());
                if !is_made {
                    assert_eq!(essence(&tried), essence(daemon));
                }
            }
        });
    }

    #[test]
    fn a_crash_anywhere_ends_before_or_after_the_change(history in requests(1..=5)) {
        play(&history, |daemon, ask| {
            let mut after = daemon.clone();
            ask(&mut after);
            after.run();
            for at in 0..effects(daemon, ask) {
                let mut tried = daemon.clone();
                ask(&mut tried);
                for _ in 0..at {
                    tried.step(0, Fate::Works, Load::Works);
                }
                tried.crash();
                tried.run_for(2000);
                tried.assert_at_rest();
                let found = essence(&tried);
                assert!(found == essence(daemon) || found == essence(&after));
            }
        });
    }

    #[test]
    fn a_crash_while_recovering_from_a_crash_changes_nothing(
        history in requests(1..=3),
        at in any::<prop::sample::Index>(),
    ) {
        play(&history, |daemon, ask| {
            let effects = effects(daemon, ask);
            if effects == 0 {
                return;
            }
            let mut crashed = daemon.clone();
            ask(&mut crashed);
            for _ in 0..at.index(effects) {
                crashed.step(0, Fate::Works, Load::Works);
            }
            crashed.crash();
            let mut straight = crashed.clone();
            straight.run_for(1000);
            for at in 0.. {
                let mut tried = crashed.clone();
                for _ in 0..at {
                    tried.step(0, Fate::Works, Load::Works);
                }
                if tried.running.is_empty() {
                    break;
                }
                tried.crash();
                tried.run_for(1000);
                tried.assert_at_rest();
                assert_eq!(essence(&tried), essence(&straight));
            }
        });
    }
}

#[test]
fn a_crash_between_two_modes_leaves_the_chain_in_one_of_them() {
    use dispatcher_abi::ModeChoice;
    use planner::{Configuration, Operation};

    let (mut daemon, root) = super::ask::daemon();
    daemon.made(root, vec![super::ask::kept("one")]);
    daemon.ask_for(
        root,
        vec![Operation::Configure(Configuration {
            mode: Some(ModeChoice::Generic),
            ..Configuration::default()
        })],
    );
    daemon.run_until(|job| matches!(job, crate::Job::Commit { plan, .. } if matches!(plan.commit, Commit::Reattach { .. })));
    for effects in 0..5 {
        let mut tried = daemon.clone();
        for _ in 0..effects {
            tried.step(0, Fate::Works, Load::Works);
        }
        tried.crash();
        tried.run_for(1000);
        tried.assert_at_rest();
        assert_eq!(tried.names(), ["one"]);
    }
}
