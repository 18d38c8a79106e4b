//! What is known of a chain's hook, and since when.

use planner::{HookProgram, Moment, Operation, Standing, Waiting};

use super::ask::{attached, daemon, eth0, is_commit, is_look, kept};
use super::daemon::{Daemon, Load};
use super::world::Fate;
use crate::{LOOK_MS, Notice};

impl Daemon {
    /// How long ago readers know what `eth0`'s hook runs.
    fn look_age(&self) -> Option<u64> {
        let at: Option<Moment> = self.shown.last_look(self.chain().id);
        at.map(|at| self.now.ms_since(at))
    }

    /// The next look at `eth0`'s hook fails.
    fn fail_look(&mut self) {
        self.pass(LOOK_MS.into());
        self.run_until(is_look);
        self.step(0, Fate::Fails, Load::Works);
        self.run();
    }

    /// Somebody puts this program in the place of `eth0`'s chain.
    fn taken_by(&mut self, program: u32) {
        self.detach();
        self.world.foreign_attach(eth0().key, program);
    }
}

fn taken(id: u32) -> Standing {
    let name = "rival".to_owned();
    Standing::Waiting(Waiting::Taken(HookProgram { id, name }))
}

#[test]
fn a_look_is_never_older_than_a_second_and_begins_with_the_attachment() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    assert_eq!(daemon.look_age(), Some(0));
    for _ in 0..50 {
        daemon.run_for(150);
        let age = daemon.look_age();
        assert!(age <= Some(LOOK_MS.into()), "{age:?}");
    }
    daemon.made(root, vec![kept("two")]);
    assert_eq!(daemon.look_age(), Some(0));
}

#[test]
fn a_look_that_fails_is_none_and_what_was_seen_last_stands() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    for looks in 1..=3 {
        daemon.fail_look();
        assert_eq!(daemon.chain().standing, Standing::InForce);
        assert_eq!(daemon.look_age(), Some(looks * u64::from(LOOK_MS)));
    }
    // It is said once, and again if it happens again.
    assert!(matches!(daemon.notices[..], [Notice::NotSeen { .. }]));
    daemon.run_for(LOOK_MS.into());
    assert_eq!(daemon.look_age(), Some(0));
    daemon.fail_look();
    assert_eq!(daemon.notices.len(), 2);
    // Neither is a hook that is somebody else's given out for an empty one.
    daemon.taken_by(77);
    daemon.run_for(LOOK_MS.into());
    assert_eq!(daemon.chain().standing, taken(77));
    daemon.fail_look();
    assert_eq!(daemon.chain().standing, taken(77));
    daemon.settle();
}

#[test]
fn each_program_that_takes_a_hook_is_told_and_waited_for() {
    let (mut daemon, root) = daemon();
    let key = eth0().key;
    daemon.made(root, vec![kept("one")]);
    for program in [77, 78] {
        daemon.world.foreign_leave(key);
        daemon.taken_by(program);
        daemon.run_for(5000);
        assert_eq!(daemon.chain().standing, taken(program));
        assert_eq!(daemon.look_age(), Some(0));
    }
    let told = daemon.notices.iter().filter_map(|notice| {
        let Notice::Taken { program, .. } = notice else {
            return None;
        };
        Some(program.id)
    });
    assert_eq!(told.collect::<Vec<_>>(), [77, 78]);
    daemon.world.foreign_leave(key);
    daemon.run_for(LOOK_MS.into());
    assert_eq!(daemon.chain().standing, Standing::InForce);
    daemon.assert_at_rest();
}

#[test]
fn a_hook_that_is_empty_again_and_takes_no_chain_is_shown_as_empty() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.taken_by(77);
    daemon.run_for(LOOK_MS.into());
    daemon.world.foreign_leave(eth0().key);
    daemon.pass(LOOK_MS.into());
    daemon.run_until(is_commit);
    daemon.fail_after(0);
    daemon.run();
    let detached = Standing::Waiting(Waiting::Detached);
    assert_eq!(daemon.chain().standing, detached);
    daemon.run_for(LOOK_MS.into());
    daemon.assert_at_rest();
}

#[test]
fn members_whose_time_is_over_wait_for_the_hook_without_a_word() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    let client = daemon.connect(0);
    daemon.made(client, vec![attached("two", 500)]);
    daemon.disconnect(client);
    daemon.taken_by(77);
    daemon.run_for(20_000);
    assert_eq!(daemon.names(), ["one", "two"]);
    let failed = |notice: &&Notice<_>| matches!(notice, Notice::Failed { .. });
    assert_eq!(daemon.notices.iter().filter(failed).count(), 0);
    daemon.world.foreign_leave(eth0().key);
    daemon.run_for(2000);
    assert_eq!(daemon.names(), ["one"]);
    daemon.made(root, vec![Operation::UnregisterAll]);
    daemon.settle();
}
