//! What is asked of a driver stands where it looks for it, and what it answers is read from there.

use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::model::{Kernel, Plain};
use crate::xsk::outbound::Outbound;
use crate::xsk::ring::Descriptor;
use crate::xsk::{Frame, Packet, RequestError, Sent, Umem, UmemBuilder, UnsentReason};

const ROOM: u64 = 24;
/// `struct xsk_tx_metadata`: flags, where a checksum begins and goes, launch time.
type Asked = (u64, u16, u16, u64);
type Ask = fn(&mut Frame<'_>) -> Result<(), RequestError>;

fn builder() -> UmemBuilder {
    Umem::builder().frames(8).headroom(64).tx_metadata(24)
}

fn umem() -> Umem {
    builder().build().expect("the layout is right")
}

fn frame(umem: &Umem) -> Frame<'_> {
    let mut frame = umem.allocate().expect("it is free");
    assert!(frame.write(&[1; 60]));
    frame
}

/// The kernel takes a packet from TX; returns what is asked for it.
fn asked(umem: &Umem, kernel: &Kernel<'_>) -> (Descriptor, Asked) {
    let descriptor = kernel.tx.get::<Descriptor>().expect("it was sent");
    let mut bytes = [0; 24];
    let place = descriptor.address - ROOM;
    let read = rustix::io::pread(umem.as_fd(), &mut bytes, place).expect("a memfd can be read");
    assert_eq!(read, bytes.len());
    let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("they are 8"));
    (descriptor, (word(0), half(8), half(10), word(16)))
}

/// Sends a packet; returns what the kernel gets to see.
fn send<'u>(
    outbound: &mut Outbound<'u, Arc<Plain>>,
    kernel: &Kernel<'u>,
    frame: Frame<'u>,
) -> (Descriptor, Asked) {
    let umem = frame.umem();
    outbound.send(frame.into()).expect("it has room");
    outbound.publish();
    asked(umem, kernel)
}

/// The kernel says when a packet was sent, and that it was.
fn stamp(umem: &Umem, kernel: &Kernel<'_>, address: u64, time: u64) {
    write_stamp(umem, address, time);
    assert!(kernel.completion.put(address));
}

fn write_stamp(umem: &Umem, address: u64, time: u64) {
    let written = rustix::io::pwrite(umem.as_fd(), &time.to_ne_bytes(), address - ROOM + 8);
    assert_eq!(written.expect("a memfd can be written"), 8);
}

fn sent(index: u32, timestamp: u64) -> Sent {
    Sent {
        index,
        timestamp: NonZeroU64::new(timestamp),
    }
}

#[test]
fn requests_stand_ahead_of_the_packet_and_add_up() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let cases: [(&[Ask], Asked); 5] = [
        (&[|f| f.offload_checksum(34, 6)], (2, 34, 6, 0)),
        (&[|f| f.request_timestamp()], (1, 0, 0, 0)),
        (&[|f| f.request_launch_time(7)], (4, 0, 0, 7)),
        (
            &[
                |f| f.request_timestamp(),
                |f| f.request_launch_time(7),
                |f| f.offload_checksum(34, 6),
            ],
            (7, 34, 6, 7),
        ),
        (
            &[
                |f| f.offload_checksum(14, 10),
                |f| f.offload_checksum(34, 6),
                |f| f.request_timestamp(),
            ],
            (3, 34, 6, 7),
        ),
    ];
    for (asks, expected) in cases {
        for moved in [0, 10] {
            let mut frame = frame(&umem);
            assert!(frame.grow_front(moved));
            for ask in asks {
                ask(&mut frame).expect("there is room");
            }
            let headroom = u32::try_from(frame.headroom()).expect("it is small");
            let start = umem.layout().address(frame.index(), headroom);
            assert_eq!(frame[..moved + 60][moved..], [1; 60], "the packet is whole");
            let (descriptor, (flags, checksum, offset, launch)) =
                send(&mut outbound, &kernel, frame);
            assert_eq!((descriptor.address, descriptor.options), (start, 2));
            assert_eq!(
                (flags, checksum, offset),
                (expected.0, expected.1, expected.2)
            );
            if flags & 4 != 0 {
                assert_eq!(launch, expected.3);
            }
            stamp(&umem, &kernel, descriptor.address, 1);
            assert_eq!(outbound.reap(), 1);
        }
    }
}

#[test]
fn moving_the_front_takes_requests_back() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let moves: [fn(&mut Frame<'_>) -> bool; 2] = [|f| f.grow_front(14), |f| f.shrink_front(14)];
    for change in moves {
        let mut frame = frame(&umem);
        frame.offload_checksum(34, 6).expect("there is room");
        frame.request_timestamp().expect("there is room");
        assert!(change(&mut frame));
        let (descriptor, _) = send(&mut outbound, &kernel, frame);
        assert_eq!(descriptor.options, 0);
        stamp(&umem, &kernel, descriptor.address, 1);
        let freed = outbound.reap_with(|sent| panic!("{sent:?} was not asked for"));
        assert_eq!(freed, 1);
    }
}

#[test]
fn what_can_not_be_asked_says_why_and_changes_nothing() {
    let small = |bytes| builder().tx_metadata(bytes).build();
    let asks: [(Ask, u32); 3] = [
        (|f| f.offload_checksum(34, 6), 16),
        (|f| f.request_timestamp(), 16),
        (|f| f.request_launch_time(1), 24),
    ];
    for bytes in [0, 8, 16] {
        let umem = small(bytes).expect("the layout is right");
        for (ask, needed) in asks {
            let asked = ask(&mut frame(&umem));
            let refused = (bytes < needed).then_some(RequestError::Metadata { bytes, needed });
            assert_eq!(asked.err(), refused);
        }
    }
    let umem = umem();
    let mut frame = frame(&umem);
    assert!(frame.grow_front(41));
    for (ask, _) in asks {
        assert_eq!(ask(&mut frame), Err(RequestError::NoRoom));
    }
    assert!(frame.shrink_front(41));
    let outside = RequestError::Outside {
        place: 59,
        length: 60,
    };
    assert_eq!(frame.offload_checksum(53, 6), Err(outside));
    assert!(!frame.has_requests());
}

#[test]
fn a_packet_that_the_kernel_would_never_get_past_is_not_sent() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let mut reason = |packet| outbound.send(packet).expect_err("it is unsound").reason;
    let mut full = frame(&umem);
    assert!(full.grow_front(41));
    assert_eq!(reason(full.into()), UnsentReason::NoMetadata);
    let mut cut = frame(&umem);
    cut.offload_checksum(34, 6).expect("there is room");
    assert!(cut.set_len(41));
    assert_eq!(reason(cut.into()), UnsentReason::Checksum);
    let mut late = frame(&umem);
    late.request_timestamp().expect("there is room");
    let mut packet = Packet::from(frame(&umem));
    packet.append(late);
    assert_eq!(reason(packet), UnsentReason::LateRequest);
    assert_eq!(umem.free(), 8);
}

#[test]
fn a_timestamp_is_read_before_its_frame_is_free_whoever_found_it_sent() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let mut stamped = frame(&umem);
    let index = stamped.index();
    assert!(stamped.shrink_front(3));
    stamped.request_timestamp().expect("there is room");
    outbound.send(stamped.into()).expect("it has room");
    outbound.send(frame(&umem).into()).expect("it has room");
    outbound.publish();
    let (first, _) = asked(&umem, &kernel);
    let (second, _) = asked(&umem, &kernel);
    assert_eq!([first.options, second.options], [2, 0]);
    stamp(&umem, &kernel, first.address, 0x1234_5678_9abc);
    stamp(&umem, &kernel, second.address, 5);
    assert_eq!(outbound.collect(), 1, "the other one is free at once");
    assert_eq!((umem.free(), umem.tally().transmit), (7, 0));
    let mut told = Vec::new();
    let freed = outbound.reap_with(|sent| {
        assert_eq!(umem.free(), 7);
        told.push(sent);
    });
    assert_eq!((freed, umem.free()), (1, 8));
    assert_eq!(told, [sent(index, 0x1234_5678_9abc)]);
    assert_eq!(outbound.reap_with(|sent| panic!("{sent:?} twice")), 0);
}

#[test]
fn a_timestamp_that_no_driver_wrote_is_none() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    for with_checksum in [false, true] {
        let mut frame = frame(&umem);
        frame.request_timestamp().expect("there is room");
        if with_checksum {
            frame.offload_checksum(34, 6).expect("there is room");
        }
        let index = frame.index();
        let (descriptor, _) = send(&mut outbound, &kernel, frame);
        assert!(kernel.completion.put(descriptor.address));
        let mut told = Vec::new();
        outbound.reap_with(|sent| told.push(sent));
        assert_eq!(told, [sent(index, 0)]);
    }
}

#[test]
fn frames_whose_timestamps_nobody_reads_are_not_lost() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    let mut send_stamped = || {
        let mut frame = frame(&umem);
        frame.request_timestamp().expect("there is room");
        let (descriptor, _) = send(&mut outbound, &kernel, frame);
        stamp(&umem, &kernel, descriptor.address, 9);
        assert_eq!(outbound.collect(), 0);
    };
    (0..2).for_each(|_| send_stamped());
    assert_eq!(umem.free(), 6);
    assert_eq!((outbound.reap(), umem.free()), (2, 8));
    assert_eq!(outbound.reap_with(|sent| panic!("{sent:?} is gone")), 0);
    let mut frame = frame(&umem);
    frame.request_timestamp().expect("there is room");
    let (descriptor, _) = send(&mut outbound, &kernel, frame);
    stamp(&umem, &kernel, descriptor.address, 9);
    assert_eq!((outbound.collect(), umem.free()), (0, 7));
    drop(outbound);
    assert_eq!(umem.free(), 8);
}

#[test]
fn a_timestamp_is_read_where_it_was_asked_for_whatever_the_address_that_comes_back() {
    let umem = umem();
    let kernel = Kernel::new(&umem, [8; 4], 0);
    let (_inbound, mut outbound) = kernel.halves();
    for start in [0, 23, 58, 64, 2047] {
        let mut frame = frame(&umem);
        assert!(frame.grow_front(5));
        frame.request_timestamp().expect("there is room");
        let index = frame.index();
        let (descriptor, _) = send(&mut outbound, &kernel, frame);
        write_stamp(&umem, descriptor.address, 77);
        assert!(kernel.completion.put(umem.layout().address(index, start)));
        let mut told = Vec::new();
        outbound.reap_with(|sent| told.push(sent));
        assert_eq!(told, [sent(index, 77)], "at {start}");
    }
}
