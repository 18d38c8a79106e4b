//! Pins that could not be mended when the daemon started.

use std::collections::BTreeSet;

use dispatcher_abi::Lifetime;
use planner::testing::policy;
use planner::{Build, MEND_AGAIN_MS, Mend, Operation, Settings, SocketLimits, reconcile};

use super::ask::{attached, daemon, is_commit, unregister};
use super::daemon::{Daemon, Load};
use super::world::{Error, Fate};
use crate::{Controller, Job, Notice, Setup};

/// A daemon that found a registry which never came into force, and could not remove it.
fn unmended() -> Daemon {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("one", 600_000)]);
    let name = "one".to_owned();
    let settings = Settings {
        lifetime: Some(Lifetime::Kept),
        ..Settings::default()
    };
    daemon.ask_for(root, vec![Operation::Set { name, settings }]);
    daemon.run_until(is_commit);
    daemon.running.clear();
    daemon.pending.clear();
    daemon.connections.clear();
    daemon.world.crash();
    let recovery = reconcile(&daemon.world.observe(), daemon.engines, daemon.now);
    let dir = daemon.chain().dir;
    let step = Mend::DropNextRegistry { build: Build(1) };
    assert_eq!(recovery.mends, [(dir, step)]);
    let setup = Setup {
        policy: policy(SocketLimits::default()),
        frags: true,
        pid: 1,
        objects: BTreeSet::new(),
    };
    let (controller, jobs) = Controller::start(recovery, Vec::new(), setup, daemon.now);
    daemon.controller = controller;
    daemon.notices.clear();
    daemon.history.clear();
    daemon.perform(jobs);
    daemon.run();
    daemon
}

fn is_mend(job: &Job<Error>) -> bool {
    matches!(job, Job::Mend { .. })
}

impl Daemon {
    /// How often it was tried to mend something.
    fn mends(&self) -> usize {
        let lines = self.history.iter();
        lines.filter(|line| line.contains("  Mend {")).count()
    }
}

#[test]
fn what_could_not_be_mended_is_tried_again_and_said_once() {
    let mut daemon = unmended();
    let wait = u64::from(MEND_AGAIN_MS);
    for tries in 0..3 {
        daemon.run_for(wait - 1);
        assert_eq!(daemon.mends(), tries, "at most once in that time");
        daemon.pass(1);
        daemon.run_until(is_mend);
        daemon.step(0, Fate::Fails, Load::Works);
        daemon.run();
    }
    let mended = |notice: &&Notice<_>| matches!(notice, Notice::Mended { .. });
    assert_eq!(daemon.notices.iter().filter(mended).count(), 0);
    daemon.run_for(wait);
    assert_eq!(daemon.mends(), 4);
    assert_eq!(daemon.notices.iter().filter(mended).count(), 1);
    daemon.run_for(3 * wait);
    assert_eq!(daemon.mends(), 4);
    daemon.assert_at_rest();
}

#[test]
fn what_a_chain_does_without_is_not_mended() {
    let mut daemon = unmended();
    let root = daemon.connect(0);
    daemon.made(root, vec![super::ask::kept("two")]);
    daemon.run_for(2 * u64::from(MEND_AGAIN_MS));
    assert_eq!(daemon.mends(), 0, "its build is gone");
    daemon.assert_at_rest();

    let mut daemon = unmended();
    let root = daemon.connect(0);
    daemon.made(root, vec![unregister("one")]);
    daemon.run_for(2 * u64::from(MEND_AGAIN_MS));
    assert_eq!(daemon.mends(), 0, "the chain is gone");
    daemon.assert_at_rest();
}
