//! Packets of a chain in an unprivileged application's memory, by a socket that the daemon opened.

mod lent;

use std::time::Duration;

use lent::{NOBODY, client, open, umem};
use libdispatch::xsk::Socket;
use tests::{DEADLINE, PairOptions, Rig, as_user, frame, wait_until};

const DROP: u32 = 1;
/// Packets that are on the way at once.
const BURST: u64 = 32;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn without_privileges_packets_are_received_and_sent_through_the_chain() {
    let rig = rig();
    let umem = umem();
    let (lease, mut socket) = open(&client(&rig, "unprivileged"), &umem, 0);
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
    let (lease, mut socket) = open(&client(&rig, "unprivileged"), &umem, 0);
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
    let rig = lent::rig(&PairOptions::default());
    rig.load_verdict("behind", DROP, &[]);
    rig
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
