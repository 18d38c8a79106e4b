//! Garbage from the other side of every ring.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::cursors::start;
use super::model::{Kernel, Plain, number, total};
use crate::xsk::inbound::Inbound;
use crate::xsk::ring::Descriptor;
use crate::xsk::{Frame, Packet, Umem};

/// What somebody writes into a ring.
#[derive(Clone, Copy, Debug)]
enum Garbage {
    /// Any value, or one that is near to making sense, in an index.
    Producer(u32),
    ProducerBy(i32),
    Consumer(u32),
    ConsumerBy(i32),
    Flags(u32),
    /// A value in a word.
    Word(usize, u64),
    /// An entry, published: a frame, where in it, how long, and options.
    Entry(u32, u32, u32, u32),
}

fn garbage(frames: u32) -> impl Strategy<Value = Garbage> {
    let near = u64::from(frames) * 2048;
    let length = prop_oneof![4 => 0..2100_u32, 1 => any::<u32>()];
    let options = prop_oneof![4 => Just(0), 2 => Just(1), 1 => any::<u32>()];
    prop_oneof![
        any::<u32>().prop_map(Garbage::Producer),
        (-70_i32..70).prop_map(Garbage::ProducerBy),
        any::<u32>().prop_map(Garbage::Consumer),
        (-70_i32..70).prop_map(Garbage::ConsumerBy),
        any::<u32>().prop_map(Garbage::Flags),
        (
            any::<usize>(),
            prop_oneof![any::<u64>(), 0..near, (0..near).prop_map(|word| word << 32)]
        )
            .prop_map(|(place, word)| Garbage::Word(place, word)),
        (0..frames + 2, 0..300_u32, length, options).prop_map(|(frame, start, length, options)| {
            Garbage::Entry(frame, start, length, options)
        }),
    ]
}

fn write(ring: &Plain, wide: bool, garbage: Garbage) {
    match garbage {
        Garbage::Producer(value) => ring.producer.store(value, Ordering::Relaxed),
        Garbage::ProducerBy(by) => {
            ring.producer
                .fetch_add(by.cast_unsigned(), Ordering::Relaxed);
        }
        Garbage::Consumer(value) => ring.consumer.store(value, Ordering::Relaxed),
        Garbage::ConsumerBy(by) => {
            ring.consumer
                .fetch_add(by.cast_unsigned(), Ordering::Relaxed);
        }
        Garbage::Flags(value) => ring.flags.store(value, Ordering::Relaxed),
        Garbage::Word(place, word) => {
            ring.words[place % ring.words.len()].store(word, Ordering::Relaxed);
        }
        Garbage::Entry(frame, start, length, options) => {
            let address = u64::from(frame) * 2048 + u64::from(start);
            if wide {
                ring.put(Descriptor {
                    address,
                    length,
                    options,
                });
            } else {
                ring.put(address);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_makes_a_second_token_nor_one_out_of_bounds(
        start in start(),
        log in 0_u32..6,
        garbage in proptest::collection::vec((0_usize..4, garbage(40), 0_u32..20), 0..200),
    ) {
        const FRAMES: u32 = 40;
        let umem = Umem::builder().frames(FRAMES).build().expect("the layout is right");
        let mut kernel = Kernel::new(&umem, [1 << log; 4], start);
        let (mut inbound, mut outbound) = kernel.halves();
        let mut held = Vec::<Packet<'_>>::new();
        for (ring, garbage, count) in garbage {
            inbound.refill();
            // What was published before may be garbage by now, so the kernel is careful as well.
            if garbage_free(&kernel) {
                kernel.receive(count as usize);
            }
            write(kernel.rings()[ring], ring > 1, garbage);
            let before = held.len();
            if count % 2 == 0 {
                held.extend(inbound.receive(count));
            } else {
                let mut number = 0;
                inbound.receive_each(count, |mut packet| {
                    packet.fill(0xa5);
                    number += 1;
                    if number % 2 == 0 {
                        held.push(packet.take());
                    }
                });
            }
            for frame in held[before..].iter_mut().flat_map(Packet::frames_mut) {
                prop_assert!(frame.headroom() + frame.len() + frame.tailroom() == 2048);
                frame.fill(0x5a);
            }
            if count % 3 == 0 {
                for packet in held.drain(..) {
                    drop(outbound.send(packet));
                }
                outbound.publish();
            }
            outbound.reap();
            let indices = held.iter().flat_map(Packet::frames).map(Frame::index);
            let indices: Vec<u32> = indices.collect();
            let distinct: BTreeSet<u32> = indices.iter().copied().collect();
            prop_assert_eq!(indices.len(), distinct.len(), "a frame has two tokens");
            prop_assert_eq!(total(umem.tally()), FRAMES);
            if count % 7 == 0 {
                held.clear();
            }
        }
        // Whatever is ours is in the pool at last, once.
        drop((held, inbound, outbound));
        prop_assert_eq!(umem.free(), umem.tally().ours as usize);
        let all: Vec<_> = std::iter::from_fn(|| umem.allocate()).collect();
        let distinct: BTreeSet<u32> = all.iter().map(Frame::index).collect();
        prop_assert_eq!(all.len(), distinct.len(), "a frame is free twice");
    }
}

/// Whether the kernel's side of FILL has only what the application could have put there.
fn garbage_free(kernel: &Kernel<'_>) -> bool {
    let frame = |word: &AtomicU64| {
        let address = word.load(Ordering::Relaxed);
        address < 40 * 2048 && address.is_multiple_of(2048)
    };
    kernel.fill.words.iter().all(frame)
}

#[test]
fn a_false_entry_is_counted_and_its_frame_stays_where_it_was() {
    let umem = Umem::builder()
        .frames(4)
        .build()
        .expect("the layout is right");
    let kernel = Kernel::new(&umem, [2, 8, 8, 8], 0);
    let (mut inbound, mut outbound) = kernel.halves();
    inbound.refill();
    let lent = [kernel.fill.get::<u64>(), kernel.fill.get()].map(|address| address.unwrap());
    let entry = |address, length| Descriptor {
        address,
        length,
        options: 0,
    };
    let free = (0..4)
        .map(|frame| frame * 2048)
        .find(|address| !lent.contains(address));
    let false_entries = [
        entry(free.unwrap(), 8), // it is in the pool
        entry(4 * 2048, 8),      // there is no such frame
        entry(u64::MAX, u32::MAX),
        entry(lent[0] + 2040, 9), // a byte over the end
    ];
    for entry in false_entries {
        assert!(kernel.rx.put(entry));
    }
    assert!(kernel.rx.put(entry(lent[0], 2048)));
    assert!(kernel.rx.put(entry(lent[0], 8)), "it comes twice");
    let packets: Vec<_> = inbound.receive(64).collect();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].len(), 2048);
    assert_eq!(inbound.faults().entries, 5);
    assert_eq!(umem.tally().fill, 1);

    for address in [lent[0], lent[1], free.unwrap(), u64::MAX] {
        assert!(kernel.completion.put(address));
    }
    assert_eq!(outbound.reap(), 0, "nothing was sent");
    assert_eq!(outbound.faults().entries, 4);
    assert_eq!(umem.tally().fill, 1);
}

#[test]
fn a_batch_that_is_forgotten_gives_no_frame_twice() {
    let umem = Umem::builder().frames(8).build();
    let umem = umem.expect("the layout is right");
    let mut kernel = Kernel::new(&umem, [16, 8, 8, 8], 0);
    let (mut inbound, _outbound) = kernel.halves();
    inbound.refill();
    assert_eq!(kernel.receive(4), 4);
    let mut batch = inbound.receive(2);
    let held: Vec<_> = batch.by_ref().collect();
    std::mem::forget(batch);
    let others: Vec<_> = inbound.receive(8).collect();
    assert_eq!((held.len(), others.len()), (2, 2));
    assert_eq!(kernel.receive(4), 4, "RX goes on");
    assert_eq!(inbound.receive(8).count(), 4);
    assert_eq!(inbound.faults().entries, 0);
}

/// What was read stays read, whatever becomes of the batch: an entry that is read again names a frame
/// that the kernel may have by then.
#[test]
fn what_was_handed_over_does_not_come_again() {
    let count = |inbound: &mut Inbound<'_, _>| {
        let mut packets = 0;
        inbound.receive_each(8, |packet| {
            drop(packet.take());
            packets += 1;
            assert!(packets < 3, "the third");
        });
        packets
    };
    for panics in [false, true] {
        let umem = Umem::builder().frames(8).build();
        let umem = umem.expect("the layout is right");
        let mut kernel = Kernel::new(&umem, [16, 8, 8, 8], 0);
        let (mut inbound, _outbound) = kernel.halves();
        inbound.refill();
        assert_eq!(kernel.receive(4), 4);
        if panics {
            let counted = catch_unwind(AssertUnwindSafe(|| count(&mut inbound)));
            assert!(counted.is_err());
        } else {
            let mut batch = inbound.receive(3);
            batch.by_ref().for_each(drop);
            std::mem::forget(batch);
        }
        // The frames that were dropped are the kernel's again.
        inbound.refill();
        let number_of = |packet: Packet<'_>| number(&packet);
        let left: Vec<_> = inbound.receive(8).map(number_of).collect();
        assert_eq!(left, [3]);
        assert_eq!(inbound.faults().entries, 0);
        let filled = kernel.receive(8);
        assert_eq!(inbound.receive(8).count(), filled);
        assert!(
            filled >= 7,
            "no frame is lost but the one that was looked at"
        );
    }
}

#[test]
fn a_packet_without_end_is_given_up() {
    let umem = Umem::builder()
        .frames(64)
        .build()
        .expect("the layout is right");
    let mut kernel = Kernel::new(&umem, [128, 8, 64, 8], 0);
    let (mut inbound, _outbound) = kernel.halves();
    inbound.refill();
    (0..40).for_each(|_| assert!(kernel.receive_part(true)));
    assert!(kernel.receive_part(false), "it ends at last");
    assert!(kernel.receive_part(false), "the next is whole");
    let packets: Vec<_> = inbound.receive(64).collect();
    assert_eq!(packets.len(), 1);
    assert_eq!(inbound.faults().long_packets, 1);
    drop((packets, inbound));
    assert_eq!(umem.tally().fill, 64 - 42);
    assert_eq!(umem.free(), 42);
}

/// In the loop that hands packets over as well, whose check is one comparison.
#[test]
fn a_length_ends_with_its_frame_whatever_the_options() {
    for unaligned in [false, true] {
        for start in [0, 256, 2047_u32] {
            let room = 2048 - start;
            for length in [0, room, room + 1, 1 << 31, u32::MAX] {
                for options in [0, 2, 1 << 31] {
                    let umem = Umem::builder().frames(4).unaligned(unaligned).build();
                    let umem = umem.expect("the layout is right");
                    let kernel = Kernel::new(&umem, [4; 4], 0);
                    let (mut inbound, _outbound) = kernel.halves();
                    inbound.refill();
                    let frame: u64 = kernel.fill.get().expect("there are four");
                    assert!(kernel.rx.put(Descriptor {
                        address: frame + u64::from(start),
                        length,
                        options,
                    }));
                    let mut lengths = Vec::new();
                    inbound.receive_each(4, |packet| lengths.push(packet.len()));
                    let fits = length <= room;
                    let expected: &[usize] = if fits { &[length as usize] } else { &[] };
                    assert_eq!(lengths, expected, "{start} {length} {options:#x}");
                    assert_eq!(inbound.faults().entries, u64::from(!fits));
                    assert_eq!(umem.tally().fill, 4);
                }
            }
        }
    }
}
