//! What ends at a time, in a time that passes as the test says.

use dispatcher_abi::Lifetime;
use planner::testing::facts;
use planner::{MemberState, ORPHAN_LINGER_MS, Operation, Refusal, Registration, Settings};

use super::ask::{attached, daemon, eth0, is_commit, kept};
use super::daemon::Daemon;
use crate::{Answer, LOOK_MS, Request, RequestId};

impl Daemon {
    /// A client of this user wants a member of `eth0` back.
    fn reclaim(&mut self, uid: u32, name: &str, token: [u8; 16]) -> RequestId {
        let client = self.connect(uid);
        let member = self.member(name);
        self.ask(
            client,
            eth0(),
            Request::Reclaim { member, token },
            Vec::new(),
        )
    }

    /// Whether this runs until `ms` have passed, and no longer than a moment after.
    fn ends_after(&mut self, name: &str, ms: u64) {
        self.run();
        self.run_for(ms - 1);
        assert!(self.names().contains(&name), "{name} went too early");
        self.pass(1);
        self.run();
        assert!(!self.names().contains(&name), "{name} is there still");
    }
}

#[test]
fn a_member_lingers_as_long_as_it_was_registered_for() {
    for linger_ms in [1, 300, 3000, 600_000] {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("kept")]);
        let client = daemon.connect(0);
        daemon.made(client, vec![attached("guard", linger_ms)]);
        daemon.run_for(10_000);
        daemon.disconnect(client);
        daemon.ends_after("guard", linger_ms.into());
        assert_eq!(daemon.names(), ["kept"]);
        daemon.settle();
    }
}

#[test]
fn a_member_without_linger_goes_with_its_connection() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("guard", 0)]);
    daemon.disconnect(root);
    daemon.run();
    assert_eq!(daemon.names().len(), 0);
    daemon.settle();
}

#[test]
fn an_orphan_of_a_restart_lingers_for_half_a_minute_or_longer_if_it_said_so() {
    let half_a_minute = u64::from(ORPHAN_LINGER_MS);
    for (linger_ms, waits) in [(0, half_a_minute), (3000, half_a_minute), (45_000, 45_000)] {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("kept"), attached("guard", linger_ms)]);
        daemon.crash();
        let MemberState::Lingering { .. } = daemon.chain().members[1].state else {
            panic!("it is nobody's: {:?}", daemon.chain());
        };
        daemon.ends_after("guard", waits);
        assert_eq!(daemon.names(), ["kept"]);
        daemon.settle();
    }
}

#[test]
fn after_a_restart_members_and_sockets_wait_as_long_as_the_operator_says() {
    for waits in [1, 2000, 60_000] {
        let (mut daemon, root) = daemon();
        daemon.restart_linger_ms = waits;
        daemon.made(root, vec![kept("kept"), attached("guard", 0)]);
        daemon.active(root, 1, 1);
        daemon.crash();
        daemon.ends_after("guard", waits.into());
        assert_eq!(daemon.queues(), []);
        daemon.run_for(1000);
        assert_eq!(daemon.names(), ["kept"]);
        daemon.settle();
    }
}

#[test]
fn a_lingering_member_that_is_kept_stays() {
    let (mut daemon, root) = daemon();
    let client = daemon.connect(0);
    daemon.made(client, vec![attached("guard", 3000)]);
    daemon.disconnect(client);
    daemon.run_for(2000);
    let name = "guard".to_owned();
    let settings = Settings {
        lifetime: Some(Lifetime::Kept),
        ..Settings::default()
    };
    daemon.made(root, vec![Operation::Set { name, settings }]);
    daemon.run_for(600_000);
    assert_eq!(daemon.names(), ["guard"]);
    daemon.settle();
}

#[test]
fn every_restart_gives_orphans_their_half_minute_anew() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("guard", 0)]);
    for _ in 0..3 {
        daemon.crash();
        daemon.run_for(20_000);
    }
    daemon.crash();
    daemon.ends_after("guard", ORPHAN_LINGER_MS.into());
}

#[test]
fn a_member_that_is_reclaimed_stays_with_its_new_connection() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("guard", 3000)]);
    daemon.disconnect(root);
    daemon.run_for(2999);
    let id = daemon.reclaim(0, "guard", [0; 16]);
    assert!(matches!(daemon.answer(id), Answer::Reclaimed));
    daemon.run_for(600_000);
    assert_eq!(daemon.names(), ["guard"]);
}

#[test]
fn a_member_is_reclaimed_as_long_as_its_end_is_not_begun_and_not_after() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("kept"), attached("guard", 3000)]);
    daemon.disconnect(root);
    daemon.pass(3000);
    // Its end is being looked after when its client comes, and is done first.
    daemon.run_until(is_commit);
    let id = daemon.reclaim(0, "guard", [0; 16]);
    daemon.run();
    let answer = daemon.answer(id);
    assert!(
        matches!(answer, Answer::Refused(Refusal::NoSuchMember { .. })),
        "{answer:?}"
    );
    daemon.settle();
}

#[test]
fn a_lingering_member_is_not_given_to_who_is_another_or_does_not_know_its_token() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![attached("guard", 3000)]);
    let id = daemon.reclaim(0, "guard", [0; 16]);
    assert!(matches!(
        daemon.answer(id),
        Answer::Refused(Refusal::NotLingering { .. })
    ));
    daemon.disconnect(root);
    for (uid, token) in [(0, [0xff; 16]), (1000, [0; 16])] {
        let id = daemon.reclaim(uid, "guard", token);
        assert!(matches!(
            daemon.answer(id),
            Answer::Refused(Refusal::ClaimMismatch { .. })
        ));
    }
    daemon.ends_after("guard", 3000);
}

#[test]
fn a_connection_that_ends_while_its_change_is_made_takes_the_member_with_it_in_time() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("kept")]);
    let client = daemon.connect(0);
    daemon.ask_for(client, vec![attached("guard", 3000)]);
    daemon.run_until(is_commit);
    daemon.disconnect(client);
    daemon.ends_after("guard", 3000);
    daemon.settle();
}

#[test]
fn a_socket_whose_client_does_not_come_back_waits_for_half_a_minute_and_is_given_to_nobody_else() {
    let (mut daemon, root) = daemon();
    daemon.active(root, 1, 1);
    daemon.crash();
    daemon.run_for(29_000);
    let other = daemon.connect(0);
    let answer = daemon.lease(other, 1, 2);
    assert!(
        matches!(answer, Answer::Refused(Refusal::QueueTaken { .. })),
        "{answer:?}"
    );
    assert_eq!(daemon.queues(), [1]);
    daemon.run_for(2000);
    // The redirect program went with it.
    assert_eq!(daemon.names().len(), 0);
    daemon.active(other, 1, 3);
    daemon.settle();
}

#[test]
fn hooks_are_looked_at_once_a_second_and_nothing_wakes_the_daemon_in_between() {
    let (mut daemon, root) = daemon();
    daemon.ask_change(root, planner::testing::change(vec![kept("one")]), facts());
    daemon.run();
    daemon.history.clear();
    for _ in 0..100 {
        daemon.pass(u64::from(LOOK_MS) / 10);
        daemon.run();
    }
    let wakes = daemon
        .history
        .iter()
        .filter(|line| line.ends_with(": Time"));
    assert_eq!(wakes.count(), 10);
}

#[test]
fn a_change_that_is_sent_again_is_done_once_and_its_member_is_its_clients() {
    for crashes in [false, true] {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("kept")]);
        let Operation::Register(registration) = attached("guard", 50) else {
            unreachable!("it registers");
        };
        let guard = Operation::Register(Registration {
            token: [9; 16],
            ..registration
        });
        let client = daemon.connect(0);
        daemon.made(client, vec![guard.clone()]);
        let before = daemon.chain().clone();
        if crashes {
            daemon.crash();
        }
        // The end of the former connection is heard of before or after.
        let again = daemon.connect(0);
        let id = daemon.ask_for(again, vec![guard]);
        if !crashes {
            daemon.disconnect(client);
        }
        daemon.run();
        assert!(matches!(daemon.answer(id), Answer::TakenUp(_)));
        daemon.run_for(u64::from(ORPHAN_LINGER_MS) + 1000);
        assert_eq!(daemon.chain().revision, before.revision);
        assert_eq!(daemon.names(), ["kept", "guard"]);
        daemon.disconnect(again);
        daemon.ends_after("guard", 50);
        daemon.settle();
    }
}
