//! An application that is killed loses its queue and what was on the way to it, and nobody else anything.

mod echo;
mod flows;
mod lent;
mod socket;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dispatcher_abi::SocketClaim;
use echo::{Echo, received};
use flows::{Flows, arrived, queues};
use libdispatch::{Client, RefusalCode, SocketLease};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use socket::{MEMORY, Victim, active, code, detail, states, try_open};
use tests::{Chain, DEADLINE, Rig, as_user, intruder, patience, wait_until};

const PASS: u32 = 2;
/// Whose application is killed, and whose isn't.
const KILLED: u32 = 1;
const RUNNING: u32 = 0;
/// Queues of nobody's.
const OTHERS: [u32; 2] = [2, 3];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_killed_applications_queue_is_free_at_once_and_nobody_else_misses_a_packet() {
    let rig = lent::rig(&queues(4));
    rig.load_verdict("ahead", PASS, &["--priority", "10"]);
    rig.load_verdict("behind", PASS, &["--priority", "30"]);
    let kernel = Kernel::of(&rig);
    let mut running = start(&rig, RUNNING);
    let mut killed = start(&rig, KILLED);
    let observer = rig.client("observer");
    let next = rig.client("next");
    let mut flows = Flows::into(&rig);
    for _ in 0..4 {
        flows.send_round(&rig);
    }
    let before = arrived(&rig, KILLED);
    killed.report_where(|report| received(report) == before);

    let mut taken = Vec::new();
    let claim = while_sending(&rig, &mut flows, &kernel, &mut taken, || {
        let pid = killed.pid();
        let start = Instant::now();
        let ended = killed.end(Signal::SIGKILL);
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32));
        let mut claim = None;
        wait_until("its queue is free", DEADLINE, || {
            match try_open(&next, KILLED, MEMORY) {
                Ok(lease) => claim = Some(lease),
                Err(error) => assert_eq!(code(&error), RefusalCode::QueueTaken, "{error}"),
            }
            claim.is_some()
        });
        let elapsed = start.elapsed();
        assert!(elapsed < patience(Duration::from_secs(1)), "{elapsed:?}");
        let owners = detail(&observer).sockets.into_iter();
        let owners: Vec<_> = owners
            .map(|socket| (socket.queue, socket.owner.pid))
            .collect();
        assert!(owners.iter().all(|(_, owner)| *owner != pid), "{owners:?}");
        claim
    });
    assert_eq!(
        states(&rig),
        [(RUNNING, "active".into()), (KILLED, "opened".into())]
    );
    let chain = assert_complete(&rig, &flows, &mut running, &kernel, &mut taken);
    let redirected = chain.member("xsk-redirect").packets.redirect - arrived(&rig, RUNNING);
    assert!((before..=arrived(&rig, KILLED)).contains(&redirected));

    // From now on all of that queue are the kernel's, and no others.
    for _ in 0..4 {
        flows.send_round(&rig);
    }
    assert!(arrived(&rig, KILLED) > redirected);
    let chain = assert_complete(&rig, &flows, &mut running, &kernel, &mut taken);
    let all = chain.member("xsk-redirect").packets.redirect;
    assert_eq!(all, arrived(&rig, RUNNING) + redirected);
    let others: u64 = OTHERS.iter().map(|queue| arrived(&rig, *queue)).sum();
    let passed = others + arrived(&rig, KILLED) - redirected;
    assert_eq!(chain.member("behind").packets.pass, passed);
    drop(claim);
    assert!(running.end(Signal::SIGTERM).success());
    assert_eq!(rig.chain().order(), ["ahead", "behind"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_written_down_of_a_closed_socket_is_gone() {
    let (mut rig, client, _running) = with_running();
    let lease = active(&client, KILLED);
    // While it is open, the kernel leaves it in its map: only the daemon takes it out.
    let socket = lease.try_clone_socket().expect("it can be copied");
    assert_is_in_maps(&rig, KILLED, socket.as_fd());
    lease.close().expect("it is ours");
    assert_only_running_is_left(&mut rig, socket.as_fd());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_written_down_of_a_killed_clients_socket_is_gone() {
    let (mut rig, _client, _running) = with_running();
    let mut victim = as_user(lent::NOBODY, || Victim::holding(&rig, KILLED));
    let socket = victim.socket();
    assert_is_in_maps(&rig, KILLED, socket.as_fd());
    victim.kill();
    let claims = rig.map("xsk-redirect", "CLAIMS");
    wait_until("the daemon noticed", DEADLINE, || {
        claims.get(&KILLED.to_ne_bytes()).is_err()
    });
    assert_only_running_is_left(&mut rig, socket.as_fd());
}

/// An interface, and somebody who has a socket on a queue of it.
fn with_running() -> (Rig, Client, SocketLease) {
    let rig = lent::rig(&queues(4));
    let client = rig.client("running");
    let lease = active(&client, RUNNING);
    (rig, client, lease)
}

/// The queue has a claim, and this socket.
#[track_caller]
fn assert_is_in_maps(rig: &Rig, queue: u32, socket: BorrowedFd<'_>) {
    let claim = claim(rig, queue).expect("it was written down");
    assert_eq!(claim.pid, std::process::id());
    intruder::replace(sockets(rig).as_fd(), queue, socket).expect("it is in there already");
}

/// Only one queue has a claim and a socket, and no daemon finds anything else. `other` is any socket.
#[track_caller]
fn assert_only_running_is_left(rig: &mut Rig, other: BorrowedFd<'_>) {
    assert_eq!(states(rig), [(RUNNING, "active".to_owned())]);
    for queue in [KILLED, OTHERS[0], OTHERS[1]] {
        assert_eq!(claim(rig, queue), None, "queue {queue}");
        let replaced = intruder::replace(sockets(rig).as_fd(), queue, other);
        let error = replaced.expect_err("it has no socket");
        assert_eq!(error.kind(), ErrorKind::NotFound, "queue {queue}: {error}");
    }
    assert_eq!(claim(rig, RUNNING).expect("it is held").uid, 0);
    rig.daemon.kill();
    rig.daemon.restart();
    let queues: Vec<_> = states(rig).into_iter().map(|(queue, _)| queue).collect();
    assert_eq!(queues, [RUNNING], "whoever has it, claims it again");
    wait_until("it was claimed again", DEADLINE, || {
        states(rig) == [(RUNNING, "active".to_owned())]
    });
}

/// What is written down of a queue.
fn claim(rig: &Rig, queue: u32) -> Option<SocketClaim> {
    let claims = rig.map("xsk-redirect", "CLAIMS");
    let bytes = match claims.get(&queue.to_ne_bytes()) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    Some(SocketClaim::from_bytes(&bytes).expect("it is of this version"))
}

/// The map of sockets, which can't be read.
fn sockets(rig: &Rig) -> OwnedFd {
    let id = rig.map("xsk-redirect", "XSKS").id();
    intruder::map_by_id(id).expect("root may")
}

/// An application that takes this queue's packets.
fn start(rig: &Rig, queue: u32) -> Echo {
    Echo::start(rig, &["xd0", "--drop", "--queue", &queue.to_string()])
}

/// Does it while datagrams keep coming, and adds those that the kernel got to `taken`.
fn while_sending<T>(
    rig: &Rig,
    flows: &mut Flows,
    kernel: &Kernel,
    taken: &mut Vec<u64>,
    work: impl FnOnce() -> T,
) -> T {
    /// Tells the other thread, when the work panics too.
    struct Done<'a>(&'a AtomicBool);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                flows.send_round(rig);
                kernel.take(taken);
            }
        });
        let _done = Done(&is_done);
        work()
    })
}

/// Each datagram was at every member that is to have it, and where it ended; only those of the
/// killed application's queue may have ended with it.
#[track_caller]
fn assert_complete(
    rig: &Rig,
    flows: &Flows,
    running: &mut Echo,
    kernel: &Kernel,
    taken: &mut Vec<u64>,
) -> Chain {
    let own = arrived(rig, RUNNING);
    let report = running.report_where(|report| received(report) == own);
    for what in ["no-frame", "ring-full"] {
        assert_eq!(report["lost"][what]["packets"], 0, "{report}");
    }
    let chain = rig.chain();
    assert_eq!(chain.order(), ["ahead", "xsk-redirect", "behind"]);
    let [ahead, redirect, behind] =
        ["ahead", "xsk-redirect", "behind"].map(|name| chain.member(name).packets);
    assert_eq!((ahead.pass, ahead.total()), (flows.sent(), flows.sent()));
    assert_eq!(redirect.redirect + redirect.pass, flows.sent());
    assert_eq!(redirect.total(), flows.sent());
    assert_eq!(
        (behind.pass, behind.total()),
        (redirect.pass, redirect.pass)
    );
    // The last ones may still be on their way up.
    wait_until("the kernel has what was passed", DEADLINE, || {
        kernel.take(taken);
        taken.len() as u64 >= behind.pass
    });
    assert_eq!(taken.len() as u64, behind.pass);
    chain
}

/// Who gets the datagrams that the chain passes.
struct Kernel(UdpSocket);

impl Kernel {
    fn of(rig: &Rig) -> Self {
        let socket = rig.pair.near.netns.run(|| UdpSocket::bind("10.1.0.1:7"));
        let socket = socket.expect("the address is this end's");
        // Room for all of a round, however much the kernel counts for each.
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).expect("it is root's");
        socket.set_nonblocking(true).expect("it is ours");
        Self(socket)
    }

    /// Takes the numbers of all that have come.
    fn take(&self, taken: &mut Vec<u64>) {
        let mut buffer = [0; 2048];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => {
                    let number = buffer[..length].first_chunk().expect("it has a number");
                    taken.push(u64::from_be_bytes(*number));
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    return;
                }
            }
        }
    }
}
