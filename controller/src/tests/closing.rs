//! Queues that are given back, and whose sockets can't be taken off them.

use planner::LeaseState;

use super::ask::{daemon, eth0, is_commit, kept};
use super::daemon::{Daemon, Load};
use super::world::Fate;
use crate::{Answer, Job, Request};

fn is_take(job: &Job<&'static str>) -> bool {
    matches!(job, Job::Take { .. })
}

impl Daemon {
    /// Lets time pass in which nothing can be taken off its queue.
    fn run_without_takes(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.pass(100);
            while !self.running.is_empty() {
                let fails = self.running.iter().position(|it| is_take(&it.job));
                let fate = fails.map_or(Fate::Works, |_| Fate::Fails);
                self.step(fails.unwrap_or(0), fate, Load::Works);
            }
        }
    }
}

#[test]
fn a_close_whose_socket_stays_in_the_map_fails_whoever_else_goes_meanwhile() {
    let (mut daemon, root) = daemon();
    let other = daemon.connect(0);
    let key = daemon.active(root, 0, 1);
    let id = daemon.ask(root, eth0(), Request::Close { key }, Vec::new());
    daemon.run_until(is_take);
    daemon.disconnect(other);
    daemon.fail_after(0);
    daemon.run();
    let answer = daemon.answer(id);
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    daemon.settle();
}

#[test]
fn a_close_that_is_begun_is_done_whenever_the_daemon_is_told_to_stop() {
    for steps in 0.. {
        let (mut daemon, root) = daemon();
        let key = daemon.active(root, 0, 1);
        let id = daemon.ask(root, eth0(), Request::Close { key }, Vec::new());
        daemon.run_until(is_take);
        for _ in 0..steps {
            daemon.step(0, Fate::Works, Load::Works);
        }
        if daemon.running.is_empty() {
            break;
        }
        daemon.stop(false);
        daemon.run();
        let answer = daemon.answer(id);
        assert!(matches!(answer, Answer::Closed), "{answer:?} after {steps}");
    }
}

#[test]
fn a_queue_that_cannot_be_taken_when_the_daemon_stops_is_nobody_elses_until_it_has() {
    for detach in [false, true] {
        let (mut daemon, root) = daemon();
        let key = daemon.active(root, 0, 1);
        let id = daemon.ask(root, eth0(), Request::Close { key }, Vec::new());
        daemon.run_until(is_take);
        daemon.stop(detach);
        while !daemon.is_stopped {
            let is_take = daemon.running.first().is_some_and(|it| is_take(&it.job));
            let fate = if is_take { Fate::Fails } else { Fate::Works };
            daemon.step(0, fate, Load::Works);
            daemon.check();
        }
        let answer = daemon.answer(id);
        assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
        assert_eq!(daemon.names().is_empty(), detach);
    }
}

#[test]
fn a_socket_that_is_reclaimed_when_it_could_not_be_taken_off_its_queue_stays() {
    for waits in [false, true] {
        let (mut daemon, root) = daemon();
        let key = daemon.active(root, 0, 1);
        daemon.made(root, vec![kept("one")]);
        daemon.crash();
        daemon.run();
        daemon.run_without_takes(32_000);
        let lease = daemon.controller.state().leases.get(key);
        assert!(matches!(
            lease.expect("it is leased still").state,
            LeaseState::Lingering { .. }
        ));
        let (root, client) = (daemon.connect(0), daemon.connect(0));
        if waits {
            // The lane is busy when its client comes, and its end waits in the lane behind it.
            daemon.ask_for(root, vec![kept("two")]);
            daemon.run_until(is_commit);
        }
        let reclaim = Request::ReclaimSocket { key, cookie: 1 };
        let id = daemon.ask(client, eth0(), reclaim, Vec::new());
        daemon.pass(1000);
        daemon.run();
        assert!(matches!(daemon.answer(id), Answer::SocketReclaimed));
        daemon.run_for(5000);
        let lease = daemon.controller.state().leases.get(key);
        assert_eq!(lease.expect("it is its client's").state, LeaseState::Active);
        daemon.settle();
    }
}
