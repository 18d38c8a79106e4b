//! Chains that go as a whole: unloaded, with the daemon, with their interface.

use dispatcher_abi::EngineChoice;
use planner::testing::{change, facts};
use planner::{Abilities, Facts, Operation, Refusal, Registration};

use super::ask::{attached, daemon, eth0, is_commit, is_look, kept, replace, unregister};
use super::daemon::Load;
use super::world::{Fate, Hook};
use crate::{Answer, Job, Notice};

#[test]
fn a_chain_that_was_off_its_hook_after_a_crash_does_not_come_back() {
    for effects in 0..4 {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("one")]);
        daemon.ask_for(root, vec![unregister("one")]);
        daemon.run_until(is_commit);
        for _ in 0..effects {
            daemon.step(0, Fate::Works, Load::Works);
        }
        daemon.crash();
        let left = daemon.world.nics[&eth0().key].hook;
        daemon.run_for(2000);
        let now = daemon.world.nics[&eth0().key].hook;
        assert_eq!(
            now == Hook::Empty,
            left == Hook::Empty,
            "after {effects} effects {left:?} became {now:?}"
        );
        daemon.assert_at_rest();
    }
}

#[test]
fn a_chain_that_cannot_be_taken_off_its_hook_stays_whole() {
    for effects in 0..2 {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("one")]);
        let id = daemon.ask_for(root, vec![unregister("one")]);
        daemon.run_until(is_commit);
        daemon.fail_after(effects);
        daemon.run();
        let answer = daemon.answer(id);
        assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
        assert_eq!(daemon.names(), ["one"]);
        assert_eq!(daemon.notices.len(), 0, "{:?}", daemon.notices);
        daemon.assert_at_rest();
    }
}

/// A tail-called program, with packets of several buffers or without.
fn program(frags: bool) -> Facts {
    Facts {
        abilities: Abilities {
            obstacle: None,
            frags,
        },
        ..facts()
    }
}

#[test]
fn a_daemon_that_stops_and_detaches_attaches_nothing_that_has_to_be_loaded_again() {
    let (mut daemon, root) = daemon();
    let by_tail_call = Operation::Register(Registration {
        name: Some("one".to_owned()),
        engine: EngineChoice::Tailcall,
        ..planner::testing::registration()
    });
    daemon.made(root, vec![by_tail_call]);
    let (first, second) = (daemon.connect(0), daemon.connect(0));
    daemon.ask_for(first, vec![replace("one")]);
    // It has "one" loaded again, which is another code by the time that this is decided.
    let id = daemon.ask_change(second, change(vec![kept("two")]), program(false));
    while daemon.controller.state().at(eth0().key).unwrap().members[0]
        .code
        .0
        == 1
    {
        daemon.step(0, Fate::Works, Load::Works);
    }
    daemon.run_until(is_look);
    daemon.stop(true);
    daemon.run();
    assert!(daemon.is_stopped);
    let answer = daemon.answer(id);
    assert!(matches!(answer, Answer::Stopping), "{answer:?}");
    assert_eq!(daemon.world.nics[&eth0().key].hook, Hook::Empty);
}

#[test]
fn a_daemon_that_stops_waits_for_no_load() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let (first, second) = (daemon.connect(0), daemon.connect(0));
    daemon.ask_for(first, vec![replace("one")]);
    daemon.ask_for(second, vec![attached("two", 500), replace("one")]);
    while daemon.chain().members[0].code.0 == 1 {
        daemon.step(0, Fate::Works, Load::Works);
    }
    daemon.run_until(is_look);
    daemon.stop(false);
    let loads = |job: &Job<_>| matches!(job, Job::Load { .. });
    for _ in 0..100 {
        assert!(!daemon.running.iter().any(|running| loads(&running.job)));
        daemon.step(0, Fate::Works, Load::Works);
    }
    assert!(daemon.is_stopped);
}

#[test]
fn a_chain_that_cannot_go_with_its_interface_is_tried_once_a_second() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.active(root, 0, 1);
    let client = daemon.connect(0);
    daemon.made(client, vec![attached("two", 0)]);
    let id = daemon.ask_for(root, vec![kept("three")]);
    daemon.run_until(is_look);
    daemon.world.remove_nic(eth0().key);
    daemon.disturbed.insert(eth0().key);
    daemon.disconnect(client);
    for _ in 0..1000 {
        let takes = |job: &Job<_>| matches!(job, Job::Take { .. });
        let is_take = daemon.running.first().is_some_and(|it| takes(&it.job));
        let fate = if is_take { Fate::Fails } else { Fate::Works };
        daemon.step(0, fate, Load::Works);
    }
    assert_eq!(daemon.running.len(), 0, "it tries again and again");
    let answer = daemon.answer(id);
    let is_gone = matches!(&answer, Answer::Refused(Refusal::InterfaceGone { .. }));
    assert!(is_gone, "{answer:?}");
    let said = |notice: &&Notice<_>| matches!(notice, Notice::InterfaceGone { .. });
    assert_eq!(daemon.notices.iter().filter(said).count(), 1);
    daemon.run_for(2000);
    assert_eq!(daemon.names().len(), 0);
    daemon.settle();
}
