//! `AF_XDP` sockets: the order in which queues get their receivers, and lose them.

use dispatcher_abi::REDIRECT_MEMBER;
use planner::{ConnectionId, LeaseState, Opening, PinnedMemory, QueueKey, Refusal, SocketKey};

use super::ask::{daemon, eth0, is_commit, is_look, kept, unregister};
use super::daemon::{Daemon, Load};
use super::world::{Fate, Socket};
use crate::{Act, Answer, Event, Job, Notice, Request, RequestId};

fn is_give(job: &Job<&'static str>) -> bool {
    matches!(job, Job::Give { .. })
}

fn is_take(job: &Job<&'static str>) -> bool {
    matches!(job, Job::Take { .. })
}

impl Daemon {
    fn of_socket(&mut self, client: ConnectionId, request: Request) -> RequestId {
        self.ask(client, eth0(), request, Vec::new())
    }

    /// Leases a queue of `eth0`; its socket is not made yet.
    pub(super) fn lease(
        &mut self,
        client: ConnectionId,
        queue: u32,
        token: u8,
    ) -> Answer<&'static str> {
        let token = [token; 16];
        let bytes = 4096;
        let id = self.of_socket(
            client,
            Request::Open(Opening {
                interface: eth0(),
                queue,
                memory: PinnedMemory { of: token, bytes },
                beside: false,
                bare: false,
                redirect: true,
                sends: true,
                token,
            }),
        );
        self.answer(id)
    }

    /// Opens a socket on a queue of `eth0`.
    pub(super) fn open(&mut self, client: ConnectionId, queue: u32, token: u8) -> SocketKey {
        let answer = self.lease(client, queue, token);
        assert!(matches!(answer, Answer::Leased), "{answer:?}");
        let chain = eth0().key;
        let key = SocketKey {
            place: QueueKey { chain, queue },
            token: [token; 16],
        };
        let socket = Socket {
            cookie: token.into(),
            uid: self.connections[&client],
            place: key.place,
            is_bare: false,
            has_fill_ring: true,
            has_rx_ring: true,
            has_frames: true,
            is_open: true,
            is_held: false,
        };
        self.world.sockets.insert(key.token, socket);
        let id = self.of_socket(client, Request::Made { key, made: true });
        assert!(matches!(self.answer(id), Answer::Made(true)));
        key
    }

    pub(super) fn activate(&mut self, client: ConnectionId, key: SocketKey) -> RequestId {
        self.of_socket(client, Request::Activate { key })
    }

    /// Opens a socket and gives it its queue's packets.
    pub(super) fn active(&mut self, client: ConnectionId, queue: u32, token: u8) -> SocketKey {
        let key = self.open(client, queue, token);
        let id = self.activate(client, key);
        self.run();
        assert!(matches!(self.answer(id), Answer::Activated { .. }));
        key
    }

    /// The queues whose packets go to sockets.
    pub(super) fn queues(&self) -> Vec<u32> {
        let state = self.controller.state();
        let chain = state.at(eth0().key);
        let redirect = chain.and_then(|chain| chain.redirect());
        let in_map = redirect.map(|member| self.world.redirected(state, member.id));
        in_map
            .into_iter()
            .flatten()
            .map(|(queue, _)| queue)
            .collect()
    }
}

#[test]
fn a_socket_gets_packets_once_the_redirect_program_runs_and_its_rings_are_seen() {
    let (mut daemon, root) = daemon();
    let key = daemon.open(root, 1, 1);
    let id = daemon.activate(root, key);
    daemon.run_until(is_give);
    assert_eq!(daemon.names(), [REDIRECT_MEMBER]);
    assert_eq!(daemon.queues(), []);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Activated { .. }));
    assert_eq!(daemon.queues(), [1]);
    daemon.settle();
}

#[test]
fn a_socket_without_frames_or_without_an_rx_ring_gets_none() {
    for has_rx_ring in [true, false] {
        let (mut daemon, root) = daemon();
        let key = daemon.open(root, 1, 1);
        let socket = daemon.world.sockets.get_mut(&key.token).unwrap();
        (socket.has_rx_ring, socket.has_frames) = (has_rx_ring, false);
        let id = daemon.activate(root, key);
        daemon.run();
        let answer = daemon.answer(id);
        let is_right = if has_rx_ring {
            matches!(answer, Answer::Refused(Refusal::NoFrames { .. }))
        } else {
            matches!(answer, Answer::Refused(Refusal::NoRxRing { .. }))
        };
        assert!(is_right, "{answer:?}");
        assert_eq!(daemon.queues(), []);
        daemon.settle();
    }
}

#[test]
fn an_activation_whose_connection_ends_at_any_step_is_undone() {
    for steps in 0.. {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("one")]);
        let client = daemon.connect(1002);
        let key = daemon.open(client, 1, 1);
        daemon.activate(client, key);
        for _ in 0..steps {
            daemon.step(0, Fate::Works, Load::Works);
        }
        if daemon.running.is_empty() {
            break;
        }
        daemon.disconnect(client);
        daemon.run();
        assert_eq!(daemon.names(), ["one"], "after {steps} steps");
        assert_eq!(daemon.controller.state().leases.iter().count(), 0);
        daemon.settle();
    }
}

#[test]
fn the_last_socket_is_taken_out_of_the_map_and_then_the_redirect_program_goes() {
    let (mut daemon, root) = daemon();
    let (first, second) = (daemon.active(root, 0, 1), daemon.active(root, 1, 2));
    let id = daemon.of_socket(root, Request::Close { key: first });
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Closed));
    assert_eq!(daemon.queues(), [1]);
    let id = daemon.of_socket(root, Request::Close { key: second });
    daemon.run_until(is_commit);
    assert_eq!(daemon.queues(), []);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Closed));
    assert_eq!(daemon.names().len(), 0);
    daemon.settle();
}

#[test]
fn a_new_redirect_program_gets_every_active_socket_whatever_becomes_of_the_one_it_was_made_for() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.active(root, 0, 1);
    daemon.made(root, vec![unregister(REDIRECT_MEMBER)]);
    let key = daemon.open(root, 1, 2);
    daemon.world.sockets.get_mut(&key.token).unwrap().has_frames = false;
    let id = daemon.activate(root, key);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::Refused(_)));
    assert_eq!(daemon.queues(), [0]);
}

#[test]
fn a_queue_that_cannot_be_taken_from_its_socket_stays_leased_until_it_can() {
    let (mut daemon, root) = daemon();
    let client = daemon.connect(0);
    daemon.active(client, 0, 1);
    daemon.disconnect(client);
    daemon.run_until(is_take);
    daemon.fail_after(0);
    daemon.run();
    assert_eq!(daemon.queues(), [0]);
    let failed = |notice: &Notice<_>| matches!(notice, Notice::Failed { act: Act::Take, .. });
    assert_eq!(daemon.notices.iter().filter(|it| failed(it)).count(), 1);
    let answer = daemon.lease(root, 0, 2);
    assert!(matches!(
        answer,
        Answer::Refused(Refusal::QueueTaken { .. })
    ));
    daemon.run_for(2000);
    assert_eq!(daemon.names().len(), 0);
    daemon.open(root, 0, 3);
}

#[test]
fn a_close_that_failed_says_so_whatever_came_to_its_lane_meanwhile() {
    let (mut daemon, root) = daemon();
    let key = daemon.active(root, 0, 1);
    let other = daemon.connect(0);
    daemon.made(other, vec![kept("one")]);
    let id = daemon.of_socket(root, Request::Close { key });
    daemon.run_until(is_take);
    daemon.disconnect(other);
    daemon.fail_after(0);
    daemon.run();
    let answer = daemon.answer(id);
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    assert_eq!(daemon.queues(), [0]);
}

#[test]
fn a_closed_socket_counts_as_its_users_until_nobody_has_it_open() {
    let (mut daemon, _) = daemon();
    let client = daemon.connect(1002);
    for token in 1..=64 {
        let key = daemon.open(client, u32::from(token), token);
        let id = daemon.of_socket(client, Request::Close { key });
        assert!(matches!(daemon.answer(id), Answer::Closed));
    }
    let answer = daemon.lease(client, 0, 100);
    assert!(matches!(
        answer,
        Answer::Refused(Refusal::SocketQuota { still_open: 64, .. })
    ));
    daemon.handle(Event::SocketsGone(vec![[1; 16]]));
    assert!(matches!(daemon.lease(client, 0, 100), Answer::Leased));
}

#[test]
fn a_socket_that_is_reclaimed_while_its_end_waits_stays() {
    let (mut daemon, root) = daemon();
    let key = daemon.active(root, 0, 1);
    daemon.made(root, vec![kept("one")]);
    daemon.crash();
    daemon.run();
    let root = daemon.connect(0);
    // The lane is busy when the client comes, and still is when the time is over.
    daemon.ask_for(root, vec![kept("two")]);
    daemon.run_until(is_look);
    let other = daemon.connect(0);
    let id = daemon.of_socket(other, Request::ReclaimSocket { key, cookie: 1 });
    daemon.pass(31_000);
    daemon.run();
    assert!(matches!(daemon.answer(id), Answer::SocketReclaimed));
    daemon.run_for(60_000);
    assert_eq!(daemon.queues(), [0]);
    assert_eq!(
        daemon.controller.state().leases.get(key).unwrap().state,
        LeaseState::Active
    );
}

#[test]
fn sockets_are_taken_out_of_the_map_before_their_chain_goes() {
    for why in ["its interface is gone", "the daemon detaches and stops"] {
        let (mut daemon, root) = daemon();
        daemon.made(root, vec![kept("one")]);
        daemon.active(root, 0, 1);
        if why == "its interface is gone" {
            daemon.world.remove_nic(eth0().key);
            daemon.pass(1000);
        } else {
            daemon.stop(true);
        }
        daemon.run_until(is_commit);
        assert_eq!(daemon.queues(), [], "{why}");
        // Nothing else is tried with the chain in between.
        let commit = daemon.running[0].commit().expect("it is a commit");
        assert_eq!(commit.next, None, "{why}");
        daemon.settle();
    }
}

#[test]
fn a_socket_that_cannot_be_put_into_a_new_map_is_put_there_sometime() {
    let (mut daemon, root) = daemon();
    daemon.made(root, vec![kept("one")]);
    daemon.active(root, 0, 1);
    daemon.made(root, vec![unregister(REDIRECT_MEMBER)]);
    let key = daemon.open(root, 1, 2);
    daemon.activate(root, key);
    daemon.run_until(|job| matches!(job, Job::Give { again: true, .. }));
    daemon.fail_after(0);
    daemon.run();
    assert_eq!(daemon.queues(), [1]);
    daemon.run_for(2000);
    assert_eq!(daemon.queues(), [0, 1]);
}
