//! Packets of a chain in an unprivileged application's memory, by a socket that the daemon opened.

use std::time::Duration;

use libdispatch::SocketRequest;
use libdispatch::xsk::{Options, Socket, Umem};
use tests::{DEADLINE, PairOptions, Rig, as_user, frame, wait_until};

const NOBODY: u32 = 65_534;
const DROP: u32 = 1;
const RING: u32 = 64;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn without_privileges_packets_are_received_and_sent_through_the_chain() {
    let rig = Rig::with(&["--allow-uid", "65534"], &PairOptions::default());
    rig.load_verdict("behind", DROP, &[]);
    let umem = Umem::builder()
        .frames(256)
        .build()
        .expect("there is memory");
    let options = Options::default().rings(RING);
    let (lease, mut socket) = as_user(NOBODY, || {
        let client = rig.client("unprivileged");
        let request = SocketRequest::new("xd0", 0).rings(RING);
        let lease = client.open_socket(&request, &umem).expect("it may");
        let descriptor = lease.try_clone_socket().expect("it can be copied");
        let (ifindex, queue) = (lease.ifindex(), lease.queue());
        let mut socket =
            Socket::from_bound(&umem, descriptor, ifindex, queue, &options).expect("it is ready");
        assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
        lease.activate().expect("it is bound and filled");
        (lease, socket)
    });
    let sent = frame(100);
    for burst in 1..=20 {
        rig.send(&sent, 32);
        as_user(NOBODY, || echo(&mut socket, &sent, 32));
        assert_eq!(
            rig.chain().member("xsk-redirect").packets.redirect,
            burst * 32
        );
    }
    assert_eq!(rig.chain().member("behind").packets.drop, 0);
    let statistics = socket.statistics().expect("it is a socket");
    assert_eq!((statistics.rx_dropped, statistics.tx_invalid), (0, 0));
    drop((socket, lease));
    assert_eq!(rig.chain().order(), ["behind"]);
}

/// Receives so many packets, all like this, and sends them back.
fn echo(socket: &mut Socket<'_>, sent: &[u8], count: usize) {
    let mut received = 0;
    wait_until("the burst is received", DEADLINE, || {
        let (receiver, sender) = socket.halves();
        let patience = Some(Duration::from_millis(100));
        receiver.wait(patience).expect("it can wait");
        for packet in receiver.receive(64) {
            assert!(packet.is_single());
            assert!(packet.frames().all(|frame| frame[..] == *sent));
            received += 1;
            sender.send(packet).expect("there is room");
        }
        sender.flush().expect("it can send");
        sender.reap();
        received == count
    });
}
