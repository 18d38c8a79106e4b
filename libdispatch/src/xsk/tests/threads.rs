//! The halves on threads of their own.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;

use super::model::{Kernel, Plain, number};
use crate::xsk::inbound::Inbound;
use crate::xsk::ring::{Descriptor, Fill, Rx};
use crate::xsk::{Receiver, Sender, Socket, Tally, Umem};

#[test]
fn halves_and_packets_move_between_threads() {
    fn moves<T: Send>() {}
    moves::<Socket<'static>>();
    moves::<Receiver<'static>>();
    moves::<Sender<'static>>();
    moves::<crate::xsk::Packet<'static>>();
}

#[test]
fn one_thread_receives_and_another_sends() {
    const PACKETS: u64 = 20_000;
    let umem = Umem::builder()
        .frames(64)
        .build()
        .expect("the layout is right");
    let mut kernel = Kernel::new(&umem, [32, 32, 16, 16], u32::MAX - 100);
    let (mut inbound, mut outbound) = kernel.halves();
    let (hand_over, taken) = mpsc::sync_channel(16);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut received = 0;
            while received < PACKETS {
                inbound.refill();
                for packet in inbound.receive(8) {
                    assert_eq!(number(&packet), received);
                    received += 1;
                    hand_over.send(packet).expect("the other thread takes it");
                }
                thread::yield_now();
            }
        });
        scope.spawn(move || {
            for mut packet in taken {
                while let Err(unsent) = outbound.send(packet) {
                    packet = unsent.packet;
                    outbound.publish();
                    outbound.reap();
                    thread::yield_now();
                }
                outbound.publish();
                outbound.reap();
            }
            while umem_transmits(outbound.umem()) {
                outbound.reap();
                thread::yield_now();
            }
        });
        while kernel.sent.len() < usize::try_from(PACKETS).expect("it is small") {
            if kernel.next < PACKETS {
                let left = usize::try_from(PACKETS - kernel.next).expect("it is small");
                kernel.receive(left.min(8));
            }
            kernel.send(8);
            thread::yield_now();
        }
        // Room for the last completions comes as they are reaped.
        while umem_transmits(&umem) {
            kernel.send(0);
            thread::yield_now();
        }
    });
    assert!(kernel.sent.iter().copied().eq(0..PACKETS));
    let Tally {
        ours,
        fill,
        transmit,
    } = umem.tally();
    assert_eq!((ours + fill, transmit), (64, 0));
    assert_eq!(umem.free(), ours as usize);
}

fn umem_transmits(umem: &Umem) -> bool {
    umem.tally().transmit > 0
}

#[test]
fn two_sockets_on_one_fill_ring_never_get_the_same_frame() {
    const ROUNDS: usize = if cfg!(miri) { 5 } else { 300 };
    const FRAMES: u32 = 32;
    let umem = Umem::builder()
        .frames(FRAMES)
        .build()
        .expect("the layout is right");
    let fill = Plain::new(2 * FRAMES, 1, 0);
    let both = [Plain::new(FRAMES, 2, 0), Plain::new(FRAMES, 2, 0)];
    let ring = umem.ring().expect("there are few");
    let inbound = |fill, rx: &std::sync::Arc<Plain>| {
        Inbound::new(&umem, ring, fill, Some(Rx::new(rx.clone())), true)
    };
    let mut first = inbound(Some(Fill::new(fill.clone())), &both[0]);
    let mut second = inbound(None, &both[1]);
    for _ in 0..ROUNDS {
        first.refill();
        second.refill();
        // The kernel lies: both sockets received every frame.
        while let Some(address) = fill.get::<u64>() {
            let lie = Descriptor {
                address,
                length: 8,
                options: 0,
            };
            assert!(both.iter().all(|rx| rx.put(lie)));
        }
        let line = Barrier::new(2);
        let take = |inbound: &mut Inbound<'_, _>| {
            line.wait();
            let packets: Vec<_> = inbound.receive(FRAMES).collect();
            packets
                .iter()
                .map(|packet| packet.index())
                .collect::<Vec<_>>()
        };
        let (a, b) = thread::scope(|scope| {
            let other = scope.spawn(|| take(&mut second));
            (take(&mut first), other.join().expect("it can't fail"))
        });
        let distinct: BTreeSet<_> = a.iter().chain(&b).collect();
        assert_eq!(a.len() + b.len(), FRAMES as usize);
        assert_eq!(distinct.len(), FRAMES as usize);
    }
}
