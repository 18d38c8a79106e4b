//! What failed before, and what was at the wrong time.

use std::collections::BTreeSet;

use planner::testing::policy;
use planner::{
    Build, ChainDir, Cleanup, CodeId, FailureKind, Recovery, SocketLimits, Standing, State,
    Unreadable, Waiting, Why,
};

use super::ask::{attached, daemon, eth0, is_commit, is_load, is_look, is_prepare, kept, replace};
use super::daemon::Load;
use super::world::Fate;
use crate::{
    Answer, CommitFailure, Controller, Done, Event, HookLeft, Job, Notice, Setup, StepFailure,
};

#[test]
fn what_a_link_that_could_not_be_pinned_ran_is_freed_after_a_grace_period() {
    let (mut daemon, root) = daemon();
    daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_commit);
    daemon.fail_after(1);
    daemon.step(0, Fate::Works, Load::Works);
    let Some(Job::Free { steps, .. }) = daemon.running.first().map(|it| &it.job) else {
        panic!("nothing is freed: {:?}", daemon.running);
    };
    assert_eq!(*steps, [Cleanup::Grace]);
    daemon.settle();
    assert_eq!(daemon.names().len(), 0);
}

#[test]
fn a_daemon_that_stops_and_waits_does_not_wake_for_nothing() {
    let (mut daemon, root) = daemon();
    daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_prepare);
    daemon.stop(false);
    daemon.pass(10_000);
    daemon.run();
    assert!(daemon.is_stopped);
}

#[test]
fn a_change_whose_connection_ends_before_it_is_decided_is_given_up() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let other = daemon.connect(0);
    let id = daemon.ask_for(other, vec![attached("two", 0), replace("one")]);
    daemon.run_until(is_look);
    daemon.disconnect(other);
    daemon.run();
    assert_eq!(daemon.names(), ["one"]);
    assert!(!daemon.answers.contains_key(&id));
    daemon.settle();
}

#[test]
fn a_change_that_is_loaded_again_belongs_to_nobody_who_is_gone() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let (first, second) = (daemon.connect(0), daemon.connect(0));
    daemon.ask_for(first, vec![replace("one")]);
    daemon.ask_for(second, vec![attached("two", 500), replace("one")]);
    // Both are loaded, the first is made, the second is begun.
    daemon.run_until(is_prepare);
    daemon.step(0, Fate::Works, Load::Works);
    daemon.run_until(is_look);
    daemon.disconnect(second);
    daemon.run();
    assert_eq!(daemon.names(), ["one"]);
    daemon.settle();
}

#[test]
fn code_that_could_not_be_freed_keeps_its_number() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.ask_for(root, vec![replace("one")]);
    daemon.run_until(is_prepare);
    daemon.fail_after(2);
    daemon.world.stuck = Some(|_| true);
    daemon.run();
    daemon.world.stuck = None;
    assert_eq!(daemon.obsolete().len(), 1);
    let changed = daemon.made(root, vec![replace("one")]);
    let next = changed.plan.next.as_ref().expect("it stays");
    assert_eq!(next.members[0].code, CodeId(3));
    daemon.settle();
}

#[test]
fn a_build_that_was_left_by_a_crash_keeps_its_number() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_commit);
    daemon.crash();
    daemon.world.stuck = Some(|_| true);
    daemon.run();
    daemon.world.stuck = None;
    let root = daemon.connect(0);
    let changed = daemon.made(root, vec![kept("two")]);
    assert_eq!(changed.plan.build, Build(3));
    daemon.settle();
}

#[test]
fn a_daemon_that_has_stopped_begins_nothing() {
    let (mut daemon, root) = daemon();
    let id = daemon.ask_for(root, vec![kept("one")]);
    daemon.run_until(is_load);
    daemon.stop(true);
    assert!(daemon.is_stopped);
    assert!(matches!(daemon.answer(id), Answer::Stopping));
    // The load, its client, and whoever comes late.
    daemon.run();
    let id = daemon.ask_for(root, vec![kept("one")]);
    assert!(matches!(daemon.answer(id), Answer::Stopping));
    daemon.disconnect(root);
    daemon.pass(10_000);
}

#[test]
fn a_chain_that_cannot_be_put_back_says_so_before_anything_else_and_says_when_it_is() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.made(root, vec![kept("two")]);
    daemon.detach();
    daemon.pass(1000);
    daemon.run_until(is_commit);
    daemon.fail_after(0);
    daemon.step(0, Fate::Works, Load::Works);
    assert_eq!(
        daemon.chain().standing,
        Standing::Waiting(Waiting::Detached)
    );
    daemon.notices.clear();
    daemon.run_for(1500);
    assert_eq!(daemon.chain().standing, Standing::InForce);
    assert!(matches!(daemon.notices[..], [Notice::Attached { .. }]));
}

#[test]
fn a_kernel_that_leaves_a_hook_empty_twice_is_asked_no_third_time() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.detach();
    daemon.pass(1000);
    daemon.run_until(is_commit);
    daemon.running.clear();
    let failed = |left| {
        let step = StepFailure {
            kind: FailureKind::Failed,
            errno: 12,
            error: "ENOMEM",
        };
        let outcome = Err(CommitFailure { step, left });
        let site = eth0().key;
        Event::Done(Done::Committed { site, outcome })
    };
    daemon.handle(failed(HookLeft::Empty));
    assert!(daemon.running.is_empty(), "{:?}", daemon.running);
    daemon.run_for(1500);
    daemon.assert_at_rest();
}

#[test]
fn a_detached_chain_is_attached_again_whatever_else_fails_in_its_lane() {
    for what in ["a member's end", "what is left"] {
        let (mut daemon, root) = daemon();
        let client = daemon.connect(0);
        daemon.made(root, vec![kept("one")]);
        daemon.made(client, vec![attached("two", 500)]);
        daemon.world.stuck = Some(|_| true);
        if what == "what is left" {
            daemon.made(root, vec![kept("three")]);
        } else {
            daemon.disconnect(client);
        }
        daemon.detach();
        daemon.run_for(4000);
        assert!(daemon.disturbed.is_empty(), "{what}");
    }
}

#[test]
fn a_chain_that_cannot_be_read_gets_no_redirect_program_either() {
    let (mut daemon, root) = daemon();
    let key = eth0().key;
    let recovery = Recovery {
        state: State::new(daemon.engines),
        leftovers: Vec::new(),
        mends: Vec::new(),
        unreadable: vec![Unreadable {
            dir: ChainDir { key, again: 0 },
            site: key,
            id: None,
            interface: None,
            is_attached: true,
            why: Why::TwoLinks,
        }],
    };
    let setup = Setup {
        policy: policy(SocketLimits::default()),
        frags: true,
        pid: 1,
        objects: BTreeSet::new(),
    };
    (daemon.controller, _) = Controller::start(recovery, Vec::new(), setup, daemon.now);
    let socket = daemon.open(root, 0, 1);
    let asked = [
        daemon.activate(root, socket),
        daemon.ask_for(root, vec![kept("one")]),
    ];
    for id in asked {
        assert!(matches!(daemon.answer(id), Answer::Unreadable(_)));
    }
}
