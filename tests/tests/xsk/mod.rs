//! A socket behind a chain, and packets that say which they are.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::os::fd::{AsFd, AsRawFd};

use libdispatch::xsk::{Error, Faults, Options, Packet, Receiver, Sender, Socket, Tally, Umem};
use tests::{DEADLINE, PairOptions, Rig, Tap, frame, kernel_is, wait_until};

/// Packets that are on the way at once: well within a veth's own queue of 256.
pub(crate) const BURST: usize = 32;
/// What the kernel leaves free ahead of a packet, for programs (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: usize = 256;
/// Bytes that a tap has room for, sent and answered, whatever else the kernel counts with them.
const TAP_BYTES: usize = 50_000;

/// A chain whose only member redirects to sockets, on a cable like this.
pub(crate) fn rig(options: &PairOptions, arguments: &[&str]) -> Rig {
    let rig = Rig::with(&[], options);
    let arguments = [&["--mode", "native"], arguments].concat();
    rig.load("xsk_redirect", "redirect", &arguments);
    rig
}

pub(crate) fn plain() -> Rig {
    rig(&PairOptions::default(), &[])
}

/// Opens a socket on the interface under test; it gets nothing yet.
pub(crate) fn try_open<'u>(
    rig: &Rig,
    umem: &'u Umem,
    queue: u32,
    options: &Options,
) -> Result<Socket<'u>, Error> {
    let near = &rig.pair.near;
    near.netns
        .run(|| Socket::open(umem, near.index, queue, options))
}

/// Opens a socket that gets its queue's packets.
pub(crate) fn open<'u>(rig: &Rig, umem: &'u Umem, queue: u32, options: &Options) -> Socket<'u> {
    let mut socket = try_open(rig, umem, queue, options).expect("root may open a socket");
    direct(rig, &mut socket);
    socket
}

/// Its queue's packets go to this socket, after a first fill.
pub(crate) fn direct(rig: &Rig, socket: &mut Socket<'_>) {
    assert_eq!(socket.halves().0.receive(1).count(), 0);
    let map = rig.map("redirect", "XSKS");
    let value = socket.as_fd().as_raw_fd().to_ne_bytes();
    map.set(&socket.queue().to_ne_bytes(), &value)
        .expect("root may change it");
}

/// A frame of this length that says which it is.
pub(crate) fn numbered(number: u64, length: usize) -> Vec<u8> {
    let mut packet = frame(length);
    packet[14..22].copy_from_slice(&number.to_be_bytes());
    let seed = number.to_be_bytes()[7];
    for (at, byte) in packet.iter_mut().enumerate().skip(22) {
        *byte = seed.wrapping_add(at.to_le_bytes()[0]);
    }
    packet
}

pub(crate) fn number_of(packet: &[u8]) -> u64 {
    u64::from_be_bytes(packet[14..22].try_into().expect("they are eight"))
}

/// Makes a packet an answer: what the tap sees of its own has the other direction.
pub(crate) fn turn(packet: &mut [u8]) {
    let (destination, source) = packet[..12].split_at_mut(6);
    destination.swap_with_slice(source);
}

/// Receives so many packets, one batch after the other.
pub(crate) fn receive<'u>(receiver: &mut Receiver<'u>, count: usize) -> Vec<Packet<'u>> {
    let mut packets = Vec::new();
    wait_until("all packets are there", DEADLINE, || {
        packets.extend(receiver.receive(count - packets.len()));
        packets.len() == count
    });
    packets
}

/// Sends packets and waits until the kernel has sent them.
pub(crate) fn send<'u>(sender: &mut Sender<'u>, packets: Vec<Packet<'u>>) {
    for packet in packets {
        sender.send(packet).expect("there is room");
    }
    wait_until("all packets are sent", DEADLINE, || {
        sender.flush().expect("the interface is up");
        sender.umem().tally().transmit == 0
    });
}

/// The next of the far end's packets that came from the near one.
pub(crate) fn answer(tap: &Tap) -> Vec<u8> {
    loop {
        let packet = tap.next_frame();
        if packet[5] == 2 {
            return packet;
        }
    }
}

/// Nothing impossible was seen, and no frame is missing.
pub(crate) fn assert_sound(umem: &Umem, socket: &mut Socket<'_>, frames: u32) {
    let (receiver, sender) = socket.halves();
    assert_eq!(receiver.faults(), Faults::default());
    assert_eq!(sender.faults(), Faults::default());
    let Tally {
        ours,
        fill,
        transmit,
    } = umem.tally();
    assert_eq!((ours + fill, transmit), (frames, 0));
    let statistics = socket.statistics().expect("any socket has them");
    assert_eq!((statistics.rx_invalid, statistics.tx_invalid), (0, 0));
}

/// Every packet comes with its bytes and goes back with them, many times round the rings.
pub(crate) fn assert_echo(
    rig: &Rig,
    umem: &Umem,
    socket: &mut Socket<'_>,
    packets: u64,
    largest: usize,
) {
    assert_echo_by(&Tap::on(&rig.pair.far), umem, socket, packets, largest);
}

/// The same, by a tap on the far end: this takes no privilege.
pub(crate) fn assert_echo_by(
    tap: &Tap,
    umem: &Umem,
    socket: &mut Socket<'_>,
    packets: u64,
    largest: usize,
) {
    let headroom = XDP_HEADROOM + umem.layout().headroom() as usize;
    let at_once = BURST.min(TAP_BYTES / largest);
    let mut next = 0;
    while next < packets {
        let burst: Vec<Vec<u8>> = (next..packets)
            .take(at_once)
            .map(|number| numbered(number, 60 + index(number) * 7 % (largest - 59)))
            .collect();
        next += burst.len() as u64;
        for packet in &burst {
            tap.send(packet);
        }
        let (receiver, sender) = socket.halves();
        let mut received = receive(receiver, burst.len());
        for (packet, sent) in received.iter_mut().zip(&burst) {
            assert_eq!(bytes_of(packet), *sent);
            assert_eq!(packet.headroom(), headroom);
            turn(packet);
        }
        send(sender, received);
        for mut packet in burst {
            turn(&mut packet);
            assert_eq!(answer(tap), packet);
        }
    }
    assert_sound(umem, socket, umem.layout().frames());
}

/// What is in all of a packet's frames.
pub(crate) fn bytes_of(packet: &Packet<'_>) -> Vec<u8> {
    packet.frames().flat_map(|frame| frame.to_vec()).collect()
}

/// Whether the kernel is this new; and if it isn't, a socket with these options is refused with
/// `EINVAL` and nothing else, as the options' documentation says.
pub(crate) fn is_taken_since(
    version: (u32, u32),
    rig: &Rig,
    umem: &Umem,
    options: &Options,
) -> bool {
    let is_taken = kernel_is(version);
    if !is_taken {
        let error = try_open(rig, umem, 0, options).expect_err("it came later");
        let Error::System { source, .. } = &error else {
            panic!("{error:?}");
        };
        let invalid = rustix::io::Errno::INVAL.raw_os_error();
        assert_eq!(source.raw_os_error(), Some(invalid), "{error:?}");
    }
    is_taken
}

/// A small number as an index.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).expect("addresses have 64 bits")
}
