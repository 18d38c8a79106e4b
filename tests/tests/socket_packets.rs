//! Packets of a chain in an unprivileged application's memory, by a socket that the daemon opened.

use std::time::Duration;

use libdispatch::xsk::{Options, Socket, Umem};
use libdispatch::{Client, Error, RefusalCode, SocketLease, SocketRequest};
use tests::{DEADLINE, PairOptions, Rig, as_user, frame, wait_until};

const NOBODY: u32 = 65_534;
const DROP: u32 = 1;
const RING: u32 = 64;
/// Packets that are on the way at once.
const BURST: u64 = 32;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn without_privileges_packets_are_received_and_sent_through_the_chain() {
    let rig = rig();
    let umem = umem();
    let (lease, mut socket) = as_user(NOBODY, || open(&rig.client("unprivileged"), &umem));
    for burst in 1..=20 {
        round(&rig, &mut socket);
        let packets = rig.chain().member("xsk-redirect").packets;
        assert_eq!(packets.redirect, burst * BURST);
    }
    assert_eq!(rig.chain().member("behind").packets.drop, 0);
    let statistics = socket.statistics().expect("it is a socket");
    assert_eq!((statistics.rx_dropped, statistics.tx_invalid), (0, 0));
    drop((socket, lease));
    assert_eq!(rig.chain().order(), ["behind"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_application_receives_while_the_daemon_is_away_and_after_it_came_back() {
    let mut rig = rig();
    let umem = umem();
    let (lease, mut socket) = as_user(NOBODY, || open(&rig.client("unprivileged"), &umem));
    round(&rig, &mut socket);
    rig.daemon.kill();
    round(&rig, &mut socket);
    rig.daemon.restart();
    let observer = rig.client("observer");
    wait_until("the socket is its client's again", DEADLINE, || {
        let shown = observer.show("xd0", "xsk-redirect").expect("it is there");
        shown.sockets[0].state.name() == "active"
    });
    round(&rig, &mut socket);
    let packets = rig.chain().member("xsk-redirect").packets;
    assert_eq!(packets.redirect, 3 * BURST);
    drop((socket, lease));
    assert_eq!(rig.chain().order(), ["behind"]);
}

fn rig() -> Rig {
    let rig = Rig::with(&["--allow-bare", "65534"], &PairOptions::default());
    rig.load_verdict("behind", DROP, &[]);
    rig
}

fn umem() -> Umem {
    Umem::builder()
        .frames(256)
        .build()
        .expect("there is memory")
}

/// A socket that gets the queue's packets: bound, where the kernel lets a bound one be used.
fn open<'u>(client: &Client, umem: &'u Umem) -> (SocketLease, Socket<'u>) {
    let request = SocketRequest::new("xd0", 0).rings(RING);
    let options = Options::default().rings(RING);
    let place = |lease: &SocketLease| {
        let socket = lease.try_clone_socket().expect("it can be copied");
        (socket, lease.ifindex(), lease.queue())
    };
    let (lease, mut socket) = match client.open_socket(&request, umem) {
        Err(Error::Refused(refusal)) if refusal.code == RefusalCode::Unsupported => {
            let lease = client.open_bare_socket(&request).expect("it is allowed");
            let (socket, ifindex, queue) = place(&lease);
            let socket = Socket::from_bare(umem, socket, ifindex, queue, &options);
            (lease, socket.expect("it can be bound"))
        }
        opened => {
            let lease = opened.expect("it is allowed");
            let (socket, ifindex, queue) = place(&lease);
            let socket = Socket::from_bound(umem, socket, ifindex, queue, &options);
            (lease, socket.expect("it is ready"))
        }
    };
    assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
    lease.activate().expect("it is bound and filled");
    (lease, socket)
}

/// Sends a burst, which the application receives and sends back.
fn round(rig: &Rig, socket: &mut Socket<'_>) {
    let sent = frame(100);
    rig.send(&sent, BURST);
    as_user(NOBODY, || {
        let mut received = 0;
        wait_until("the burst is received", DEADLINE, || {
            let (receiver, sender) = socket.halves();
            let patience = Some(Duration::from_millis(100));
            receiver.wait(patience).expect("it can wait");
            for packet in receiver.receive(64) {
                assert!(packet.is_single());
                assert!(packet.frames().all(|frame| frame[..] == sent));
                received += 1;
                sender.send(packet).expect("there is room");
            }
            sender.flush().expect("it can send");
            sender.reap();
            received == BURST
        });
    });
}
