//! Lent sockets that only receive, and such as only send.

mod lent;
mod socket;
mod xsk;

use std::os::fd::{AsFd as _, AsRawFd as _};

use lent::{NOBODY, RING, bind, client, open_as, ready, request, umem};
use libdispatch::xsk::{Options, UnsentReason};
use libdispatch::{RefusalCode, SocketLease};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket::{code, lends_bound_sockets};
use tests::{DEADLINE, PairOptions, RawRings, Tap, as_user, frame, volume, wait_until};
use xsk::{BURST, answer, assert_sound, bytes_of, numbered, receive, turn};

const DROP: u32 = 1;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_without_a_tx_ring_receives_and_sends_nothing() {
    let bursts = volume(50);
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let options = Options {
        tx: 0,
        ..lent::options()
    };
    let (lease, mut socket) = open_as(&client(&rig, "receiver"), &umem, 0, &options);
    let tap = Tap::on(&rig.pair.far);
    as_user(NOBODY, || {
        for burst in 0..bursts {
            let sent = (0..BURST as u64).map(|number| numbered(burst ^ number, 60 + 40 * BURST));
            let sent: Vec<_> = sent.collect();
            for packet in &sent {
                tap.send(packet);
            }
            let (receiver, sender) = socket.halves();
            for (packet, sent) in receive(receiver, BURST).into_iter().zip(sent) {
                assert_eq!(bytes_of(&packet), sent);
                let unsent = sender.send(packet).expect_err("there is no ring");
                assert_eq!(unsent.reason, UnsentReason::NoRing);
            }
            sender.flush().expect("there is nothing to do");
        }
        assert_sound(&umem, &mut socket, umem.layout().frames());
    });
    let counted = rig.chain().member("xsk-redirect").packets;
    assert_eq!(counted.redirect, bursts * BURST as u64);
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_without_an_rx_ring_sends_and_takes_no_packets_from_the_chain() {
    let packets = volume(2000);
    let rig = lent::rig(&PairOptions::default());
    rig.load_verdict("behind", DROP, &[]);
    let before = rig.chain().without_packets();
    let umem = umem();
    let options = sends_only();
    let client = client(&rig, "sender");
    let (lease, mut socket) = as_user(NOBODY, || {
        ready(&client, &umem, 0, &options).expect("the queue is free")
    });
    let tap = Tap::on(&rig.pair.far);
    as_user(NOBODY, || {
        for number in 0..packets {
            let mut packet = numbered(number, 60 + 7 * 200);
            turn(&mut packet);
            let mut frame = umem.allocate().expect("none is in FILL");
            assert!(frame.write(&packet));
            let (receiver, sender) = socket.halves();
            sender.send(frame).expect("there is room");
            wait_until("the packet is sent", DEADLINE, || {
                sender.flush().expect("the interface is up");
                umem.tally().transmit == 0
            });
            assert_eq!(receiver.receive(1).count(), 0);
            assert_eq!(answer(&tap), packet);
        }
        assert_sound(&umem, &mut socket, umem.layout().frames());
    });
    rig.send(&frame(64), 10);
    assert_eq!(rig.chain().member("behind").packets.drop, 10);
    assert_eq!(rig.chain().without_packets(), before);
    drop((socket, lease));
}

/// Where a packet comes to a socket that has frames in its FILL ring, the kernel takes the RX ring to be
/// there.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_without_an_rx_ring_is_not_given_the_queues_packets() {
    let rig = lent::rig(&PairOptions::default());
    rig.load_verdict("behind", DROP, &[]);
    let before = rig.chain().without_packets();
    let umem = umem();
    let options = sends_only();
    let client = client(&rig, "sender");
    let refused = |lease: &SocketLease| {
        let error = lease.activate().expect_err("it can't receive");
        assert_eq!(code(&error), RefusalCode::Conflict, "{error}");
        assert!(error.to_string().contains("RX ring"), "{error}");
    };
    as_user(NOBODY, || {
        let (lease, socket) = ready(&client, &umem, 0, &options).expect("the queue is free");
        refused(&lease);
        drop((lease, socket));
        let request = request(&umem, 0, &options);
        let lease = client.open_bare_socket(&request).expect("it is allowed");
        refused(&lease);
        let socket = bind(&lease, &umem, &options).expect("the queue is free");
        refused(&lease);
        drop(socket);
    });
    assert_eq!(rig.chain().without_packets(), before);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_without_an_rx_ring_that_a_program_gives_packets_loses_them() {
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let client = client(&rig, "sender");
    if !lends_bound_sockets(&client) {
        // Who binds a socket itself says what it has.
        return;
    }
    let request = request(&umem, 0, &sends_only()).without_redirect();
    let lease = as_user(NOBODY, || client.open_socket(&request, &umem));
    let lease = lease.expect("the queue is free");
    // Or the next packet would be this kernel's last.
    let looked = rustix::net::recv(&lease, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    assert_ne!(looked.map(drop), Err(Errno::NOBUFS));
    let ring = RING as usize;
    let rings = RawRings::of(lease.as_fd(), [ring, ring, 0, ring]).expect("they are its own");
    // All frames are given to the kernel, and nothing else.
    let mut indices = std::iter::once(RING);
    rings.scribble(|_| 0, || indices.next().unwrap_or(0));

    rig.load("xsk_redirect", "own", &[]);
    let descriptor = lease.as_fd().as_raw_fd().to_ne_bytes();
    let map = rig.map("own", "XSKS");
    map.set(&0_u32.to_ne_bytes(), &descriptor)
        .expect("it is root's");
    rig.send(&frame(64), 100);
    assert_eq!(rig.chain().member("own").packets.redirect, 100);
    let statistics = rustix::net::sockopt::xdp_statistics(&lease).expect("it is a socket");
    assert!(statistics.rx_ring_full >= Some(90), "{statistics:?}");
}

fn sends_only() -> Options {
    Options {
        rx: 0,
        ..lent::options()
    }
}
