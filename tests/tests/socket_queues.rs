//! Each queue of an interface with a socket of its own, of two applications.

mod flows;
mod lent;

use flows::{FLOWS, Flows, arrived, number_of, queues};
use lent::{Lent, NOBODY, client, open, try_open, umem};
use libdispatch::xsk::Umem;
use libdispatch::{Client, RefusalCode};
use std::collections::BTreeSet;
use tests::{DEADLINE, as_user, volume, wait_until};

const QUEUES: usize = 4;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn each_datagram_comes_to_one_socket_of_four_and_each_socket_gets_some() {
    let rig = lent::rig(&queues(4));
    let clients = [client(&rig, "one"), client(&rig, "two")];
    let umems = [(); QUEUES].map(|()| umem());
    let mut sockets = open_all(&clients, &umems);
    let mut flows = Flows::into(&rig);
    let mut counts = [0; QUEUES];
    for _ in 0..volume(200) {
        let mut missing = (flows.sent()..flows.sent() + FLOWS).collect();
        flows.send_round(&rig);
        as_user(NOBODY, || {
            wait_until("all datagrams are there", DEADLINE, || {
                receive(&mut sockets, &mut missing, &mut counts);
                missing.is_empty()
            });
        });
    }
    // Nothing comes twice.
    receive(&mut sockets, &mut BTreeSet::new(), &mut counts);
    for (queue, count) in (0..).zip(counts) {
        assert!(count > 0, "{counts:?}");
        assert_eq!(arrived(&rig, queue), count, "queue {queue}");
    }
    assert_eq!(counts.iter().sum::<u64>(), flows.sent());
    let packets = rig.chain().member("xsk-redirect").packets;
    assert_eq!(
        (packets.redirect, packets.total()),
        (flows.sent(), flows.sent())
    );
    for (_, socket) in &sockets {
        let statistics = socket.statistics().expect("it is a socket");
        assert_eq!(
            (statistics.rx_dropped, statistics.rx_ring_full),
            (0, Some(0))
        );
    }
    drop(sockets);
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_of_a_queue_that_another_application_has_is_refused_with_its_name() {
    let rig = lent::rig(&queues(4));
    let clients = [client(&rig, "one"), client(&rig, "two")];
    let umems = [(); QUEUES].map(|()| umem());
    let sockets = open_all(&clients, &umems);
    let before = rig.chain().without_packets();
    let spare = umem();
    for queue in 0..4 {
        let owner = ["one", "two"][owner(queue)];
        for client in &clients {
            let error = as_user(NOBODY, || try_open(client, &spare, queue).map(drop));
            let error = error.expect_err("it is taken");
            let refusal = error.refusal().expect("the daemon says so");
            assert_eq!(refusal.code, RefusalCode::QueueTaken);
            let expected = format!(
                "queue {queue} of interface xd0 belongs to \"{owner}\" (uid {NOBODY}, pid {})",
                std::process::id()
            );
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
    assert_eq!(rig.chain().without_packets(), before);
    drop(sockets);
    assert_eq!(rig.try_chain(), None);
}

/// A socket for each queue, two of each application.
fn open_all<'u>(clients: &[Client; 2], umems: &'u [Umem; QUEUES]) -> Vec<Lent<'u>> {
    (0..)
        .zip(umems)
        .map(|(queue, umem)| open(&clients[owner(queue)], umem, queue))
        .collect()
}

/// Which of the applications has this queue.
fn owner(queue: u32) -> usize {
    usize::from(queue >= 2)
}

/// Receives what is there: each datagram once, unchanged.
fn receive(sockets: &mut [Lent<'_>], missing: &mut BTreeSet<u64>, counts: &mut [u64; QUEUES]) {
    for ((_, socket), count) in sockets.iter_mut().zip(counts) {
        for packet in socket.halves().0.receive(64) {
            let number = number_of(&packet);
            assert!(missing.remove(&number), "{number} comes once, in its round");
            *count += 1;
        }
    }
}
