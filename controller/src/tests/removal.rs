//! Chains that go as a whole: unloaded, with the daemon, with their interface.

use super::ask::{daemon, eth0, is_commit, kept, unregister};
use super::daemon::Load;
use super::world::{Fate, Hook};
use crate::Answer;

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
