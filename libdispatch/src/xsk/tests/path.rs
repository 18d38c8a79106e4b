//! Packets through both halves: none lost, none twice, contents exact.

use proptest::prelude::*;

use super::cursors::start;
use super::model::{Kernel, number, total};
use crate::xsk::{Packet, Tally, Umem, UmemBuilder, UnsentReason};

fn umem(frames: u32) -> UmemBuilder {
    Umem::builder().frames(frames)
}

fn ring_size(largest_log: u32) -> impl Strategy<Value = u32> {
    (0..=largest_log).prop_map(|log| 1 << log)
}

/// What is done in one step, each with so many packets.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The kernel receives.
    Arrive(usize),
    /// The application receives and sends all, or keeps them.
    Forward(usize),
    Keep(usize),
    /// The application looks at what comes; every third packet it takes, and every third it sends on.
    Look(usize),
    /// The application drops, recycles or sends what it kept.
    Drop(usize),
    Recycle(usize),
    Send(usize),
    /// The kernel sends.
    Transmit(usize),
    /// The application reaps.
    Reap,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = 0_usize..40;
    let step = prop_oneof![
        count.clone().prop_map(Step::Arrive),
        count.clone().prop_map(Step::Forward),
        count.clone().prop_map(Step::Keep),
        count.clone().prop_map(Step::Look),
        count.clone().prop_map(Step::Drop),
        count.clone().prop_map(Step::Recycle),
        count.clone().prop_map(Step::Send),
        count.prop_map(Step::Transmit),
        Just(Step::Reap),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_packet_is_lost_or_changed_and_no_frame_leaks(
        frames in 1_u32..80,
        sizes in [ring_size(6), ring_size(6), ring_size(6), ring_size(6)],
        shape in prop_oneof![Just((2048, 0, false)), Just((4096, 100, false)), Just((3000, 64, true))],
        start in start(),
        steps in steps(),
    ) {
        let (frame_size, headroom, unaligned) = shape;
        let umem = umem(frames)
            .frame_size(frame_size)
            .headroom(headroom)
            .unaligned(unaligned)
            .build()
            .expect("the layout is right");
        let mut kernel = Kernel::new(&umem, sizes, start);
        let (mut inbound, mut outbound) = kernel.halves();
        let (mut kept, mut received, mut sent) = (Vec::<Packet<'_>>::new(), 0, Vec::new());
        for step in steps {
            inbound.refill();
            match step {
                Step::Arrive(count) => { kernel.receive(count); }
                Step::Forward(count) | Step::Keep(count) => {
                    let count = u32::try_from(count).expect("it is small");
                    for packet in inbound.receive(count) {
                        prop_assert_eq!(number(&packet), received);
                        prop_assert_eq!(packet.headroom(), 256 + headroom as usize);
                        received += 1;
                        kept.push(packet);
                    }
                    if matches!(step, Step::Forward(_)) {
                        kept = kept.into_iter().filter_map(|packet| {
                            let carried = number(&packet);
                            let refused = outbound.send(packet).err();
                            if refused.is_none() {
                                sent.push(carried);
                            }
                            refused.map(|unsent| {
                                assert_eq!(unsent.reason, UnsentReason::RingFull);
                                unsent.packet
                            })
                        }).collect();
                        outbound.publish();
                    }
                }
                Step::Look(count) => {
                    let (before, count) = (received, u32::try_from(count).expect("it is small"));
                    let treated = inbound.receive_each(count, |packet| {
                        assert_eq!(number(&packet), received);
                        assert_eq!(packet.first().headroom(), 256 + headroom as usize);
                        received += 1;
                        match received % 3 {
                            0 => kept.push(packet.take()),
                            1 => match outbound.forward(packet) {
                                Ok(()) => sent.push(received - 1),
                                Err(reason) => assert_eq!(reason, UnsentReason::RingFull),
                            },
                            _ => (),
                        }
                    });
                    outbound.publish();
                    prop_assert_eq!(u64::from(treated), received - before);
                }
                Step::Drop(count) => drop(kept.drain(..count.min(kept.len()))),
                Step::Recycle(count) => {
                    kept.drain(..count.min(kept.len())).for_each(|packet| inbound.recycle(packet));
                }
                Step::Send(count) => {
                    for packet in kept.drain(..count.min(kept.len())) {
                        let carried = number(&packet);
                        if outbound.send(packet).is_ok() {
                            sent.push(carried);
                        }
                    }
                    outbound.publish();
                }
                Step::Transmit(count) => { kernel.send(count); }
                Step::Reap => { outbound.reap(); }
            }
            prop_assert_eq!(total(umem.tally()), frames);
        }
        // Everything comes home.
        drop(kept);
        while kernel.send(usize::MAX) + outbound.reap() > 0 {}
        prop_assert_eq!(&kernel.sent, &sent);
        while inbound.receive(u32::MAX).count() > 0 {}
        let filled = umem.tally().fill;
        prop_assert_eq!(umem.tally(), Tally { ours: frames - filled, fill: filled, transmit: 0 });
        drop(inbound);
        prop_assert_eq!(umem.free(), (frames - filled) as usize);
    }

    #[test]
    fn packets_of_several_frames_come_and_go_whole(
        parts in proptest::collection::vec(1_usize..=18, 1..30),
        batch in 1_u32..10,
        start in start(),
    ) {
        let umem = umem(256).build().expect("the layout is right");
        let mut kernel = Kernel::new(&umem, [128, 128, 64, 64], start);
        let (mut inbound, mut outbound) = kernel.halves();
        let mut whole = parts.iter();
        let mut next = 0;
        for count in &parts {
            inbound.refill();
            for part in 1..=*count {
                // In the middle of a packet nothing is taken, whole ones are.
                if part % 3 != 0 {
                    let mut packets: Vec<_> = Vec::new();
                    if part % 3 == 1 {
                        packets.extend(inbound.receive(batch));
                    } else {
                        inbound.receive_each(batch, |packet| packets.push(packet.take()));
                    }
                    for packet in packets {
                        let count = *whole.next().expect("no more than there were");
                        prop_assert_eq!(packet.frame_count(), count);
                        prop_assert_eq!(packet.total_len(), 8 * count);
                        for frame in packet.frames() {
                            prop_assert_eq!(number(frame), next);
                            next += 1;
                        }
                        outbound.send(packet).expect("there is room");
                    }
                } else {
                    inbound.receive_each(batch, |packet| {
                        let count = *whole.next().expect("no more than there were");
                        assert_eq!(packet.total_len(), 8 * count);
                        assert_eq!(number(&packet), next);
                        next += count as u64;
                        outbound.forward(packet).expect("there is room");
                    });
                }
                prop_assert!(kernel.receive_part(part < *count));
            }
            outbound.publish();
            kernel.send(usize::MAX);
            outbound.reap();
        }
        prop_assert!(kernel.sent.iter().copied().eq(0..next));
        drop(inbound.receive(u32::MAX).collect::<Vec<_>>());
        prop_assert_eq!(umem.tally().transmit, 0);
        prop_assert_eq!(inbound.faults().entries + outbound.faults().entries, 0);
    }
}

#[test]
fn a_million_packets_leak_no_frame() {
    const PACKETS: u64 = 1_000_000;
    let umem = umem(256).build().expect("the layout is right");
    let mut kernel = Kernel::new(&umem, [128, 64, 64, 32], u32::MAX - 1000);
    let (mut inbound, mut outbound) = kernel.halves();
    let (mut received, mut step) = (0, 0_usize);
    while received < PACKETS {
        step += 1;
        inbound.refill();
        kernel.receive(1 + step * 7 % 61);
        let batch = u32::try_from(1 + step * 5 % 37).expect("it is small");
        if step % 2 == 0 {
            inbound.receive_each(batch, |packet| {
                assert_eq!(number(&packet), received);
                received += 1;
                match received % 3 {
                    0 => (),
                    1 => drop(packet.take()),
                    _ => drop(outbound.forward(packet)),
                }
            });
        } else {
            let mut packets = inbound.receive(batch);
            while let Some(packet) = packets.next() {
                assert_eq!(number(&packet), received);
                received += 1;
                match received % 3 {
                    0 => packets.recycle(packet),
                    1 => drop(packet),
                    _ => drop(outbound.send(packet)),
                }
            }
        }
        outbound.publish();
        kernel.send(step % 50);
        outbound.reap();
        kernel.sent.clear();
    }
    while kernel.send(usize::MAX) + outbound.reap() > 0 {}
    drop((inbound, outbound));
    let Tally {
        ours,
        fill,
        transmit,
    } = umem.tally();
    assert_eq!((ours + fill, transmit), (256, 0));
    assert_eq!(umem.free(), ours as usize);
}

/// Who never waits has FILL refilled while it receives, however little comes at a time.
#[test]
fn fill_never_runs_dry_while_there_are_free_frames() {
    let shapes = [1, 2, 16, 64, 256]
        .map(|size| [1, 5, 40].map(|batch| [(size, batch, true), (size, batch, false)]));
    for (size, batch, each) in shapes.into_iter().flatten().flatten() {
        let umem = umem(1024).build().expect("the layout is right");
        let mut kernel = Kernel::new(&umem, [size, 64, 64, 64], 0);
        let (mut inbound, _outbound) = kernel.halves();
        let (mut arrived, mut received) = (0, 0);
        for _ in 0..2000 {
            inbound.refill_if_low();
            arrived += kernel.receive(batch);
            if each {
                inbound.receive_each(64, |packet| {
                    drop(packet.take());
                    received += 1;
                });
            } else {
                received += inbound.receive(64).count();
            }
        }
        assert_eq!(received, arrived);
        let least = 2000 * batch.min(size as usize / 2 + 1);
        assert!(arrived >= least, "FILL of {size}: {arrived} of {least}");
    }
}

#[test]
fn a_frame_has_room_on_both_sides_and_no_further() {
    let umem = umem(1).headroom(32).build().expect("the layout is right");
    let mut frame = umem.allocate().expect("it is free");
    assert!(umem.allocate().is_none(), "there is one");
    assert_eq!(
        (frame.len(), frame.headroom(), frame.tailroom()),
        (0, 32, 2016)
    );
    assert!(frame.write(b"payload"));
    assert!(frame.grow_front(4));
    frame[..4].copy_from_slice(b"head");
    assert_eq!(&*frame, b"headpayload");
    assert!(!frame.grow_front(29));
    assert!(frame.grow_front(28));
    assert_eq!(frame.headroom(), 0);
    assert!(!frame.set_len(2049));
    assert!(frame.set_len(2048));
    assert_eq!(frame.tailroom(), 0);
    assert!(!frame.shrink_front(2049));
    assert!(frame.shrink_front(28));
    assert_eq!(&frame[..11], b"headpayload");
    assert!(frame.shrink_front(4));
    assert_eq!(frame.metadata(4), Some(&b"head"[..]));
    assert_eq!(frame.metadata(33), None);
    drop(frame);
    let frame = umem.allocate().expect("it is free again");
    assert_eq!((frame.len(), frame.headroom()), (0, 32));
}

#[test]
fn what_cannot_be_sent_comes_back_with_the_reason() {
    let (umem, other) = (umem(64).build(), umem(64).build());
    let (umem, other) = (umem.expect("it is right"), other.expect("it is right"));
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let frame = |umem| -> Packet<'_> {
        let mut frame = Umem::allocate(umem).expect("there are enough");
        assert!(frame.write(&[1; 8]));
        frame.into()
    };
    let mut refused = |packet| outbound.send(packet).expect_err("it can't be sent").reason;
    let empty = umem.allocate().expect("there are enough");
    assert_eq!(refused(empty.into()), UnsentReason::Empty);
    assert_eq!(refused(frame(&other)), UnsentReason::OtherUmem);
    let mut mixed = frame(&umem);
    mixed.append(frame(&other).into_parts().0);
    assert_eq!(refused(mixed), UnsentReason::OtherUmem);
    let mut long = frame(&umem);
    (1..19).for_each(|_| long.append(frame(&umem).into_parts().0));
    assert_eq!(refused(long), UnsentReason::TooManyFrames);
    let mut parts = frame(&umem);
    (1..9).for_each(|_| parts.append(frame(&umem).into_parts().0));
    assert_eq!(refused(parts), UnsentReason::RingFull);
    assert_eq!((umem.free(), other.free()), (64, 64), "all came back");
}

#[test]
fn what_cannot_be_sent_on_is_received_into_again() {
    let (umem, other) = (umem(16).build(), umem(16).build());
    let (umem, other) = (umem.expect("it is right"), other.expect("it is right"));
    let mut kernel = Kernel::new(&umem, [16, 16, 16, 4], 0);
    let elsewhere = Kernel::new(&other, [4; 4], 0);
    let ((mut inbound, mut outbound), (_inbound, mut others)) =
        (kernel.halves(), elsewhere.halves());
    for round in 0..8 {
        inbound.refill();
        assert_eq!(kernel.receive(6), 6, "FILL was refilled in full");
        let mut reasons = Vec::new();
        inbound.receive_each(6, |mut packet| {
            let sent = match number(&packet) % 6 {
                0 => {
                    assert!(packet.set_len(0) && packet.is_empty());
                    outbound.forward(packet)
                }
                1 => others.forward(packet),
                _ => outbound.forward(packet),
            };
            reasons.extend(sent.err());
        });
        if round % 2 == 0 {
            let all = [UnsentReason::Empty, UnsentReason::OtherUmem];
            assert_eq!(reasons, all, "four have room");
        } else {
            assert_eq!(reasons[2..], [UnsentReason::RingFull; 4]);
        }
        outbound.publish();
        if round % 2 == 1 {
            assert_eq!(kernel.send(usize::MAX), 4);
            outbound.reap();
        }
    }
    assert_eq!(kernel.sent.len(), 16);
    assert_eq!(total(umem.tally()), 16);
    assert_eq!(umem.tally().transmit, 0);
    assert_eq!(other.tally().ours, 16);
}

#[test]
fn a_packet_of_several_frames_is_sent_on_whole_or_not_at_all() {
    let umem = umem(16).build().expect("the layout is right");
    let mut kernel = Kernel::new(&umem, [16, 16, 16, 4], 0);
    let (mut inbound, mut outbound) = kernel.halves();
    for _ in 0..20 {
        inbound.refill();
        for part in 0..6 {
            assert!(kernel.receive_part(part % 3 != 2), "FILL was refilled");
        }
        let mut sent = Vec::new();
        let packets = inbound.receive_each(6, |packet| sent.push(outbound.forward(packet)));
        assert_eq!(packets, 2);
        assert_eq!(
            sent,
            [Ok(()), Err(UnsentReason::RingFull)],
            "TX has four places"
        );
        outbound.publish();
        assert_eq!((kernel.send(usize::MAX), outbound.reap()), (3, 3));
        assert_eq!(total(umem.tally()), 16);
        assert_eq!(umem.tally().transmit, 0);
    }
}
