//! Busy polling, which takes a privilege, for applications that have none: the daemon turns it on.

mod echo;
mod lent;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use echo::Echo;
use lent::{NOBODY, RING, client, umem};
use libdispatch::xsk::{BusyPoll, Call, Error, Options, Socket, Umem};
use libdispatch::{SocketLease, SocketRequest};
use nix::libc;
use nix::sys::signal::Signal;
use tests::{
    DEADLINE, PairOptions, Rig, Tap, as_user, frame, is_too_old, kernel_is, patience,
    socket_option, wait_until,
};

const TIME: Duration = Duration::from_micros(50);
const BUDGET: u16 = 48;
/// Packets that are on the way at once: a poll may take them all.
const BURST: u64 = 32;
/// Longer than a test takes: the device's timer, so that what comes was polled, and how long is polled.
const FOREVER: Duration = Duration::from_secs(600);

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_has_the_options_and_where_the_kernel_polls_its_packets_come_by_that_alone() {
    let rig = rig();
    let umem = umem();
    let Some((lease, mut socket)) = polling(&rig, &umem) else {
        return;
    };
    let expected = [(libc::SO_PREFER_BUSY_POLL, 1), (libc::SO_BUSY_POLL, 50)];
    for (option, value) in expected {
        assert_eq!(socket_option(&socket, option), value, "option {option}");
    }
    let tap = Tap::on(&rig.pair.far);
    // The device interrupts for these; from the first packet on the socket knows what to poll.
    burst(&tap, &mut socket);
    let near = &rig.pair.near;
    let told = is_told(&socket);
    if told {
        near.defer_interrupts(1, FOREVER);
        // It interrupts a last time: then it knows that it isn't to.
        burst(&tap, &mut socket);
    }
    let before = near.netns.busy_polled();
    for round in 1..=20 {
        burst(&tap, &mut socket);
        let polled = near.netns.busy_polled() - before;
        assert_eq!(polled, if told { round * BURST } else { 0 });
    }
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_that_did_not_ask_is_not_polled() {
    let rig = rig();
    let umem = umem();
    let (_lease, mut socket) = lent::open(&client(&rig, "unprivileged"), &umem, 0);
    for option in [libc::SO_PREFER_BUSY_POLL, libc::SO_BUSY_POLL] {
        assert_eq!(socket_option(&socket, option), 0, "option {option}");
    }
    burst(&Tap::on(&rig.pair.far), &mut socket);
    assert_eq!(rig.pair.near.netns.busy_polled(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_application_that_polls_answers_even_if_nothing_interrupts_it() {
    let rig = rig();
    let umem = umem();
    let Some((lease, mut socket)) = polling(&rig, &umem) else {
        return;
    };
    burst(&Tap::on(&rig.pair.far), &mut socket);
    let told = is_told(&socket);
    drop((socket, lease));
    let time = FOREVER.as_micros().to_string();
    let echo = Echo::start(&rig, &["xd0", "--busy-poll", &time]);
    let far = rig.pair.far.netns.run(|| UdpSocket::bind(("10.1.0.2", 0)));
    let far = far.expect("the address is this end's");
    far.connect(("10.1.0.1", 7)).expect("there is a route");
    far.set_read_timeout(Some(patience(DEADLINE)))
        .expect("it is not zero");
    let ask = |number: u64| {
        far.send(&number.to_ne_bytes()).expect("the cable has room");
        let mut answer = [0; 8];
        far.recv(&mut answer).expect("it comes back");
        assert_eq!(u64::from_ne_bytes(answer), number);
    };
    ask(0);
    let near = &rig.pair.near;
    if told {
        near.defer_interrupts(1, FOREVER);
    }
    ask(1);
    let before = near.netns.busy_polled();
    for number in 2..202 {
        ask(number);
    }
    let polled = near.netns.busy_polled() - before;
    // Not all are counted: who stops polling looks a last time.
    assert_eq!(polled > 0, told);
    assert!(echo.end(Signal::SIGTERM).success());
}

fn rig() -> Rig {
    lent::rig(&PairOptions {
        addresses: true,
        ..PairOptions::default()
    })
}

/// A socket of the user nobody that polls its queue, active. `None` on kernels older than 6.4, where
/// nobody else can turn it on for an application, as is looked at here.
fn polling<'u>(rig: &Rig, umem: &'u Umem) -> Option<(SocketLease, Socket<'u>)> {
    let client = client(rig, "unprivileged");
    let request = SocketRequest::new("xd0", 0).rings(RING);
    let options = Options {
        busy_poll: Some(BusyPoll {
            microseconds: 50,
            budget: BUDGET,
        }),
        ..Options::default().rings(RING)
    };
    as_user(NOBODY, || {
        let polled = request.clone().busy_poll(TIME, BUDGET);
        let place = |lease: &SocketLease| {
            let socket = lease.try_clone_socket().expect("it can be copied");
            (socket, lease.ifindex(), lease.queue())
        };
        let opened = client.open_socket(&polled, umem);
        if is_too_old(&opened) {
            let lease = client.open_bare_socket(&request).expect("it is allowed");
            let (socket, ifindex, queue) = place(&lease);
            let error = Socket::from_bare(umem, socket, ifindex, queue, &options);
            let error = error.expect_err("it has no privilege");
            assert!(
                matches!(&error, Error::System { call: Call::PreferBusyPoll, source }
                    if source.kind() == ErrorKind::PermissionDenied),
                "{error:?}"
            );
            return None;
        }
        let lease = opened.expect("the queue is free");
        let (socket, ifindex, queue) = place(&lease);
        let socket = Socket::from_bound(umem, socket, ifindex, queue, &options);
        let mut socket = socket.expect("it is ready");
        assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
        lease.activate().expect("it is bound");
        Some((lease, socket))
    })
}

/// Sends a burst, and receives it without ever sleeping.
fn burst(tap: &Tap, socket: &mut Socket<'_>) {
    for _ in 0..BURST {
        tap.send(&frame(100));
    }
    let mut received = 0;
    wait_until("the burst is received", DEADLINE, || {
        received += socket.halves().0.receive(64).count() as u64;
        received == BURST
    });
}

/// Whether the kernel tells the socket, which has received something, what to poll. Where packets are
/// copied, as here, it did until Linux 6.12.
fn is_told(socket: &Socket<'_>) -> bool {
    let told = socket_option(socket, libc::SO_INCOMING_NAPI_ID) != 0;
    assert!(told || kernel_is((6, 13)), "it always was");
    told
}
