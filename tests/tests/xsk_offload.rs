//! What a driver is asked to do with a packet, and what is said of packets beside their bytes.

mod lent;
mod xsk;

use std::net::UdpSocket;
use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use lent::{NOBODY, RING};
use libdispatch::xsk::{
    Error, Frame, Options, RequestError, Sender, Sent, Socket, Umem, UmemBuilder,
};
use libdispatch::{Client, Program, RefusalCode, SocketLease, SocketRequest};
use nix::time::{ClockId, clock_gettime};
use tests::{
    DEADLINE, PairOptions, PinnedMap, Rig, Tap, as_user, ipv4_udp, is_too_old, kernel_is, object,
    wait_until,
};
use xsk::{answer, assert_sound, number_of, numbered, receive, rig, send, try_open, turn};

const NEAR: [u8; 4] = [10, 1, 0, 1];
const FAR: [u8; 4] = [10, 1, 0, 2];
/// Where the checksum of a UDP packet in IPv4 begins, and where behind that it goes.
const UDP_CHECKSUM: (u16, u16) = (34, 6);

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_checksum_that_was_asked_for_is_right_at_the_other_end() {
    for software in [false, true] {
        let rig = cable();
        let umem = umem(software).build().expect("there is memory");
        let Some(mut socket) = open(&rig, &umem) else {
            return;
        };
        assert_checksums(&rig, socket.halves().1, software);
        assert_sound(&umem, &mut socket, 64);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_application_without_privileges_asks_for_checksums_as_well() {
    for software in [false, true] {
        let rig = lent::rig(&with_addresses());
        let umem = umem(software).build().expect("there is memory");
        let request = SocketRequest::new("xd0", 0)
            .rings(RING)
            .headroom(64)
            .tx_metadata(24)
            .software_checksum(software);
        let client = lent::client(&rig, "unprivileged");
        let opened = as_user(NOBODY, || client.open_socket(&request, &umem));
        if !kernel_is((6, 11)) {
            let error = opened.expect_err("it came later");
            let refusal = error.refusal().expect("the daemon says so");
            assert_eq!(refusal.code, RefusalCode::Unsupported);
            let named = "xd0: this kernel takes no memory with TX metadata, which Linux 6.11 does";
            assert!(refusal.message.contains(named), "{}", refusal.message);
            return;
        }
        let lease = opened.expect("the queue is free");
        let mut socket = as_user(NOBODY, || take(&lease, &umem));
        // Packets that a veth sends and nobody's program gets on the near end.
        assert_checksums(&rig, socket.halves().1, software);
        assert_sound(&umem, &mut socket, 64);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn when_a_packet_was_sent_is_said_to_who_reaps_it() {
    let rig = cable();
    let umem = umem(false).build().expect("there is memory");
    let Some(mut socket) = open(&rig, &umem) else {
        return;
    };
    let sender = socket.halves().1;
    for moved in [0, 5, 40] {
        let mut packet = packet(&umem, 1);
        assert!(packet.grow_front(moved));
        packet.request_timestamp().expect("there is room");
        let (start, offset) = UDP_CHECKSUM;
        packet
            .offload_checksum(start, offset)
            .expect("there is room");
        let (index, before) = (packet.index(), now(ClockId::CLOCK_TAI));
        let sent = send_and_hear(sender, vec![packet, self::packet(&umem, 2)]);
        let after = now(ClockId::CLOCK_TAI);
        // Packets of a veth are copied: it is when the kernel freed the copy.
        let [sent] = sent[..] else {
            panic!("{sent:?}: one was asked for");
        };
        assert_eq!(sent.index(), index);
        let time = sent.timestamp().map(NonZeroU64::get);
        let time = time.expect("a kernel that copies packets says when they were sent");
        assert!(
            (before - SLACK..=after + SLACK).contains(&time),
            "{before} {time} {after}"
        );
    }
    assert_eq!(
        umem.free(),
        umem.tally().ours as usize,
        "all are free again"
    );
    assert_sound(&umem, &mut socket, 64);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_launch_time_is_taken_or_refused_and_never_blocks_the_queue() {
    let rig = cable();
    let umem = umem(false).build().expect("there is memory");
    let Some(mut socket) = open(&rig, &umem) else {
        return;
    };
    let tap = Tap::on(&rig.pair.far);
    let sender = socket.halves().1;
    let mut first = packet(&umem, 1);
    let asked = first.set_launch_time(u64::MAX);
    if kernel_is((6, 15)) {
        assert_eq!(asked, Ok(()));
    } else {
        assert_eq!(asked, Err(RequestError::NoLaunchTimes));
    }
    // Packets of a veth are copied: they don't wait.
    send(sender, vec![first.into(), packet(&umem, 2).into()]);
    assert_eq!([answer(&tap)[42], answer(&tap)[42]], [1, 2]);
    assert_sound(&umem, &mut socket, 64);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_application_reads_what_its_own_program_knows_of_each_packet() {
    // The program subtracts pointers to learn the length, which the verifier refuses for those who
    // are not trusted.
    let rule = format!("{NOBODY}:load-trusted");
    let rig = Rig::with(
        &["--allow-uid", &rule, "--allow-bare", &NOBODY.to_string()],
        &with_addresses(),
    );
    let umem = Umem::builder().frames(64).build().expect("there is memory");
    let client = lent::client(&rig, "unprivileged");
    let program = Program::from_file(object("rx_time")).expect("it was compiled");
    let (_member, _lease, mut socket) = as_user(NOBODY, || {
        let member = client
            .register("xd0", &program)
            .expect("it may load objects");
        let (lease, mut socket) = own(&client, &umem);
        assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
        let map = PinnedMap::from(member.map("XSKS").expect("it is its own"));
        use_socket(&map, &socket);
        (member, lease, socket)
    });
    let tap = Tap::on(&rig.pair.far);
    for number in 0..20 {
        let length = 60 + 30 * u32::try_from(number).expect("it is small");
        let sent = numbered(number, length as usize);
        let before = now(ClockId::CLOCK_MONOTONIC);
        tap.send(&sent);
        let (receiver, sender) = socket.halves();
        let mut packets = receive(receiver, 1);
        let after = now(ClockId::CLOCK_MONOTONIC);
        let known = read(&packets[0]).expect("the program put it there");
        assert_eq!(known.interface, rig.pair.near.index);
        assert_eq!(known.length, length);
        assert!(
            (before..=after).contains(&known.time),
            "{before} {known:?} {after}"
        );
        assert_eq!(number_of(&packets[0]), number);
        turn(&mut packets[0]);
        send(sender, packets);
        assert_eq!(number_of(&answer(&tap)), number);
    }
    assert_sound(&umem, &mut socket, 64);
}

/// What `objects/rx_time.c` puts ahead of a packet.
#[derive(Debug)]
struct Known {
    time: u64,
    interface: u32,
    length: u32,
}

fn read(frame: &Frame<'_>) -> Option<Known> {
    let (time, rest) = frame.metadata(16)?.split_first_chunk()?;
    let (interface, rest) = rest.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    Some(Known {
        time: u64::from_ne_bytes(*time),
        interface: u32::from_ne_bytes(*interface),
        length: u32::from_ne_bytes(*length),
    })
}

/// The application's socket for its own program: bound, where the kernel lets a bound one be used.
fn own<'u>(client: &Client, umem: &'u Umem) -> (SocketLease, Socket<'u>) {
    let request = SocketRequest::new("xd0", 0).rings(RING).without_redirect();
    let opened = client.open_socket(&request, umem);
    if is_too_old(&opened) {
        let lease = client
            .open_bare_socket(&request)
            .expect("the queue is free");
        let socket = lease.try_clone_socket().expect("it can be copied");
        let options = Options::default().rings(RING);
        let socket = Socket::from_bare(umem, socket, lease.ifindex(), 0, &options);
        return (lease, socket.expect("it can be bound"));
    }
    let lease = opened.expect("the queue is free");
    let socket = take(&lease, umem);
    (lease, socket)
}

/// A bound socket, taken over.
fn take<'u>(lease: &SocketLease, umem: &'u Umem) -> Socket<'u> {
    let socket = lease.try_clone_socket().expect("it can be copied");
    let options = Options::default().rings(RING);
    let socket = Socket::from_bound(umem, socket, lease.ifindex(), lease.queue(), &options);
    socket.expect("it is ready")
}

/// Has a program redirect its queue's packets to the socket.
fn use_socket(map: &PinnedMap, socket: &Socket<'_>) {
    let value = socket.as_fd().as_raw_fd().to_ne_bytes();
    map.set(&socket.queue().to_ne_bytes(), &value)
        .expect("its owner may change it");
}

fn with_addresses() -> PairOptions {
    PairOptions {
        addresses: true,
        ..PairOptions::default()
    }
}

fn cable() -> Rig {
    rig(&with_addresses(), &[])
}

fn umem(software: bool) -> UmemBuilder {
    let builder = Umem::builder().frames(64).headroom(64).tx_metadata(24);
    builder.software_checksum(software)
}

/// A socket of memory with TX metadata; before Linux 6.11 there is none, and that is what is said.
fn open<'u>(rig: &Rig, umem: &'u Umem) -> Option<Socket<'u>> {
    let opened = try_open(rig, umem, 0, &Options::default().rings(32));
    if !kernel_is((6, 11)) {
        let error = opened.expect_err("it came later");
        assert!(matches!(error, Error::NoTxMetadata), "{error:?}");
        assert!(error.to_string().contains("Linux 6.11"));
        return None;
    }
    Some(opened.expect("root may open a socket"))
}

/// A UDP packet of this number from the near end to the far one, with the sum of the pseudo header
/// (addresses, protocol and length) where its checksum belongs.
fn packet(umem: &Umem, number: u8) -> Frame<'_> {
    let mut bytes = ipv4_udp(NEAR, FAR, 4000);
    turn(&mut bytes);
    bytes[42] = number;
    bytes[40..42].copy_from_slice(&PSEUDO_HEADER.to_be_bytes());
    let mut frame = umem.allocate().expect("there are enough");
    assert!(frame.write(&bytes));
    frame
}

const PSEUDO_HEADER: u16 = 2 * 0x0a01 + 1 + 2 + 17 + 30;

/// What goes there in the end: what, added to all words behind it, gives ones.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet[34..].chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).expect("it was folded")
}

/// Packets with a request for their checksum are taken by the far end's stack, those without lost.
/// A veth passes the request on to the other end, as to a device that could do it; with software
/// checksums it is done before.
fn assert_checksums(rig: &Rig, sender: &mut Sender<'_>, software: bool) {
    let tap = Tap::on(&rig.pair.far);
    let far = rig.pair.far.netns.run(|| UdpSocket::bind("10.1.0.2:4000"));
    let far = far.expect("the address is there");
    far.set_read_timeout(Some(DEADLINE)).expect("it can wait");
    for number in 0..20 {
        let mut frame = packet(sender.umem(), number);
        let right = checksum(&frame);
        let asks = number % 2 == 1;
        if asks {
            let (start, offset) = UDP_CHECKSUM;
            frame
                .offload_checksum(start, offset)
                .expect("there is room");
        }
        send(sender, vec![frame.into()]);
        let seen = answer(&tap);
        let expected = if asks && software {
            right
        } else {
            PSEUDO_HEADER
        };
        assert_eq!(
            (seen[42], &seen[40..42]),
            (number, &expected.to_be_bytes()[..])
        );
        if asks {
            let mut payload = [0; 64];
            let length = far.recv(&mut payload).expect("it comes");
            assert_eq!((length, payload[0]), (22, number));
        }
    }
}

/// Sends packets; returns what was said of them when they were reaped.
fn send_and_hear<'u>(sender: &mut Sender<'u>, frames: Vec<Frame<'u>>) -> Vec<Sent> {
    let mut said = Vec::new();
    for frame in frames {
        sender.send(frame).expect("there is room");
    }
    wait_until("all packets are sent", DEADLINE, || {
        sender.flush().expect("the interface is up");
        sender.reap_with(|sent| said.push(sent));
        sender.umem().tally().transmit == 0
    });
    said
}

/// What the two ways to read one clock may differ by, in nanoseconds.
const SLACK: u64 = 1_000_000;

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the kernel has it");
    let time = Duration::from(time).as_nanos();
    u64::try_from(time).expect("it is before 2554")
}
