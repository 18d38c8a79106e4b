//! The objects that are kept: those that members were loaded from, and no others for long.

use std::collections::BTreeSet;

use planner::testing::{change, facts, interface, policy};
use planner::{
    ChainDir, Change, Digest, Facts, ObjectSource, Recovery, SocketLimits, Source, State,
    Unreadable, Why,
};

use super::ask::{daemon, eth0, is_prepare, kept, replace};
use crate::{Answer, Controller, Setup};

fn digest(number: u8) -> Digest {
    [number; 32]
}

/// A program of an object of its own.
fn of(number: u8) -> Facts {
    Facts {
        source: Source::Object(ObjectSource {
            sha256: digest(number),
            program: "xdp_program".to_owned(),
            ..ObjectSource::default()
        }),
        ..facts()
    }
}

#[test]
fn a_change_that_fails_leaves_no_object_behind() {
    let (mut daemon, root) = daemon();
    daemon.ask_change(root, change(vec![kept("one")]), of(1));
    daemon.run_until(is_prepare);
    daemon.fail_after(3);
    daemon.run();
    assert_eq!(daemon.world.objects, BTreeSet::new());
    daemon.world.foreign_attach(eth0().key, 77);
    for number in 2..20 {
        let id = daemon.ask_change(root, change(vec![kept("one")]), of(number));
        daemon.run();
        let answer = daemon.answer(id);
        assert!(
            matches!(answer, Answer::Failed { error: "EBUSY", .. }),
            "{answer:?}"
        );
        assert_eq!(daemon.world.objects, BTreeSet::new());
    }
    daemon.settle();
}

#[test]
fn a_change_that_fails_takes_no_object_that_others_need() {
    let (mut daemon, root) = daemon();
    daemon.ask_change(root, change(vec![kept("one")]), of(1));
    daemon.run();
    let elsewhere = Change {
        interface: interface(2),
        ..change(vec![kept("one")])
    };
    daemon.ask_change(root, elsewhere, of(2));
    daemon.run_until(is_prepare);
    let prepared = daemon.running.remove(0);
    let other = daemon.connect(0);
    daemon.ask_change(other, change(vec![replace("one")]), of(3));
    daemon.run_until(is_prepare);
    daemon.fail_after(3);
    daemon.running.push(prepared);
    daemon.run();
    assert_eq!(daemon.world.objects, BTreeSet::from([digest(1), digest(2)]));
    daemon.settle();
}

#[test]
fn beside_a_chain_that_cannot_be_read_only_what_was_kept_before_stays() {
    let (mut daemon, root) = daemon();
    let key = interface(1).key;
    let found = BTreeSet::from([digest(8), digest(9)]);
    daemon.world.objects.clone_from(&found);
    let recovery = Recovery {
        state: State::new(daemon.engines),
        leftovers: Vec::new(),
        mends: Vec::new(),
        unreadable: vec![Unreadable {
            id: None,
            is_attached: true,
            dir: ChainDir { key, again: 0 },
            site: key,
            interface: None,
            why: Why::TwoLinks,
        }],
    };
    let setup = Setup {
        policy: policy(SocketLimits::default()),
        frags: true,
        pid: 1,
        objects: found.clone(),
    };
    (daemon.controller, _) = Controller::start(recovery, Vec::new(), setup, daemon.now);
    daemon.ask_change(root, change(vec![kept("one")]), of(1));
    daemon.run();
    for number in 2..5 {
        daemon.ask_change(root, change(vec![replace("one")]), of(number));
        daemon.run();
        let mut expected = found.clone();
        expected.insert(digest(number));
        assert_eq!(daemon.world.objects, expected);
    }
}
