//! What an application without privileges sends by a lent socket, byte by byte.

mod lent;
mod xsk;

use lent::{NOBODY, client, open, umem};
use tests::{DEADLINE, PairOptions, Tap, as_user, volume, wait_until};
use xsk::{BURST, assert_echo_by, index, numbered, turn};

const LARGEST: usize = 1514;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_a_lent_socket_sends_arrives_in_order_with_its_bytes_and_nothing_else_does() {
    let packets = volume(20_000);
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let (lease, mut socket) = open(&client(&rig, "sender"), &umem, 0);
    let tap = Tap::on(&rig.pair.far);
    let packet = |number| {
        let mut packet = numbered(number, 60 + index(number) * 7 % (LARGEST - 59));
        turn(&mut packet);
        packet
    };
    for first in (0..packets).step_by(BURST) {
        let burst = first..packets.min(first + BURST as u64);
        as_user(NOBODY, || {
            let (_, sender) = socket.halves();
            for number in burst.clone() {
                let mut frame = umem.allocate().expect("there are more than the rings hold");
                assert!(frame.write(&packet(number)));
                sender.send(frame).expect("there is room");
            }
            wait_until("the burst is sent", DEADLINE, || {
                sender.flush().expect("the interface is up");
                sender.reap();
                umem.tally().transmit == 0
            });
        });
        for number in burst {
            assert_eq!(tap.next_frame(), packet(number), "packet {number}");
        }
    }
    assert_eq!(tap.try_next(), None);
    let statistics = socket.statistics().expect("it is a socket");
    assert_eq!(statistics.tx_invalid, 0);
    // What is sent passes no chain.
    assert_eq!(rig.chain().member("xsk-redirect").packets.total(), 0);
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_a_lent_socket_receives_goes_back_with_its_bytes() {
    let packets = volume(20_000);
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let (lease, mut socket) = open(&client(&rig, "echo"), &umem, 0);
    let tap = Tap::on(&rig.pair.far);
    as_user(NOBODY, || {
        assert_echo_by(&tap, &umem, &mut socket, packets, LARGEST);
    });
    let counted = rig.chain().member("xsk-redirect").packets;
    assert_eq!((counted.redirect, counted.total()), (packets, packets));
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}
