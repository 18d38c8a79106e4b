//! What is not answered, why, and that it is left as it came.

mod packet;

use etherparse::{
    IpFragOffset, IpNumber, Ipv6Extensions, Ipv6FragmentHeader, Ipv6RawExtHeader,
    Ipv6RoutingExtensions,
};
use packet::{Ip, Message, OUR_MAC, OURS, PORT, Packet, Side, THEIRS, folded_sum, responder};
use proptest::collection::vec;
use proptest::prelude::*;
use xsk_echo::{Action, Reason};

const PING: Message = Message::Request { id: 1, sequence: 2 };

#[test]
fn what_is_not_for_us_is_left_alone() {
    for (mac, ip4, ip6) in [
        ([2, 0, 0, 0, 0, 3], "192.0.2.1", "2001:db8::12:3456"),
        ([0xff; 6], "192.0.2.1", "2001:db8::12:3456"),
        (OUR_MAC, "192.0.2.255", "ff02::1"),
        (OUR_MAC, "192.0.2.3", "2001:db8::13:3456"),
        (OUR_MAC, "224.0.0.1", "ff02::1:ff12:3456"),
    ] {
        let destination = side(mac, ip4, ip6);
        for question in questions() {
            let question = Packet {
                destination,
                ..question
            };
            assert_dropped(&question.bytes(), Reason::NotOurs);
        }
    }
}

#[test]
fn a_sender_that_is_no_other_single_host_is_not_answered() {
    let mac = THEIRS.mac;
    for (mac, ip4, ip6) in [
        (mac, "0.0.0.0", "::"),
        (mac, "255.255.255.255", "ff02::1"),
        (mac, "224.0.0.1", "ff05::2"),
        (mac, "127.0.0.1", "::1"),
        (mac, "192.0.2.255", "::ffff:192.0.2.2"),
        (mac, "192.0.2.1", "2001:db8::12:3456"),
        ([0xff; 6], "192.0.2.2", "2001:db8::2"),
        ([0x33, 0x33, 0, 0, 0, 1], "192.0.2.2", "2001:db8::2"),
        ([0; 6], "192.0.2.2", "2001:db8::2"),
        (OUR_MAC, "192.0.2.2", "2001:db8::2"),
    ] {
        let source = side(mac, ip4, ip6);
        for question in questions() {
            assert_dropped(&Packet { source, ..question }.bytes(), Reason::Source);
        }
    }
}

#[test]
fn an_answer_is_not_answered() {
    for question in questions() {
        let mut answer = question.answer();
        (answer.source, answer.destination) = (THEIRS, OURS);
        if let Message::Udp { source, .. } = answer.message {
            // One that returns what it gets, as we do, on our port or a service's.
            for source in [source, 7, 19, 1023] {
                answer.message = Message::Udp {
                    source,
                    destination: PORT,
                };
                assert_dropped(&answer.bytes(), Reason::Answer);
            }
        } else {
            assert_dropped(&answer.bytes(), Reason::Answer);
        }
    }
}

#[test]
fn fragments_are_not_answered() {
    for bits in [0x2000_u16, 0x0001, 0x1fff, 0x3fff] {
        let frame = with_header4(|header| header[6..8].copy_from_slice(&bits.to_be_bytes()));
        assert_dropped(&frame, Reason::Fragment);
    }
    for offset in [0, 1, 0x1fff] {
        let offset = IpFragOffset::try_new(offset).expect("13 bits");
        let fragment = Ipv6FragmentHeader::new(IpNumber(0), offset, false, 1);
        let frame = with_extensions(|it| it.fragment = Some(fragment));
        assert_dropped(&frame, Reason::Fragment);
    }
}

#[test]
fn source_routes_and_mandatory_options_are_not_answered() {
    for kind in [131, 137] {
        let ip = Ip::v4(&[1, kind, 7, 4, 192, 0, 2, 9]);
        assert_dropped(&Packet::question(ip, PING, &[]).bytes(), Reason::Options);
    }
    for kind in [0x40, 0x80, 0xc0, 0xff] {
        for payload in [[kind, 4, 0, 0, 0, 0], [1, 0, kind, 2, 0, 0]] {
            let hop_by_hop = with_extensions(|it| it.hop_by_hop_options = Some(raw(&payload)));
            assert_dropped(&hop_by_hop, Reason::Options);
            let destination = with_extensions(|it| it.destination_options = Some(raw(&payload)));
            assert_dropped(&destination, Reason::Options);
        }
    }
    let routing = Ipv6RoutingExtensions {
        routing: raw(&[4, 1, 0, 0, 0, 0]),
        final_destination_options: None,
    };
    let frame = with_extensions(|it| it.routing = Some(routing));
    assert_dropped(&frame, Reason::Options);
}

#[test]
fn other_ports_protocols_and_messages_are_not_answered() {
    for question in questions() {
        let Message::Udp { source, .. } = question.message else {
            continue;
        };
        let message = Message::Udp {
            source,
            destination: PORT + 1,
        };
        let other = Packet {
            message,
            ..question.clone()
        };
        assert_dropped(&other.bytes(), Reason::Port);
    }
    assert_dropped(&with_header4(|header| header[9] = 6), Reason::Other);
    assert_dropped(&frame_of_type(0x88b5), Reason::Other);
    let mut redirect = Packet::question(Ip::v4(&[]), PING, &[]).bytes();
    redirect[34] = 5;
    assert_dropped(&redirect, Reason::Other);
    let tags = vec![1, 2, 3];
    let deep = Packet {
        tags,
        ..Packet::question(Ip::v4(&[]), PING, &[])
    };
    assert_dropped(&deep.bytes(), Reason::Other);
}

#[test]
fn wrong_checksums_that_have_to_be_right_are_noticed() {
    let mut frame = Packet::question(Ip::v4(&[]), PING, &[]).bytes();
    frame[24] ^= 1;
    assert_dropped(&frame, Reason::Checksum);
    let udp = Message::Udp {
        source: 40000,
        destination: PORT,
    };
    let mut frame = Packet::question(Ip::v6(), udp, &[]).bytes();
    frame[60..62].fill(0);
    assert_dropped(&frame, Reason::Checksum);
}

#[test]
fn what_is_cut_short_is_malformed() {
    let tags = vec![7, 8];
    let options = Ipv6Extensions {
        hop_by_hop_options: Some(raw(&[5, 2, 0, 0, 0, 0])),
        ..Ipv6Extensions::default()
    };
    let ips = [Ip::v4(&[68, 4, 0, 0]), Ip::with(options)];
    for ip in ips {
        let tags = tags.clone();
        let question = Packet {
            tags,
            ..Packet::question(ip, PING, &[1, 2, 3])
        };
        let whole = question.bytes();
        for length in 0..whole.len() {
            assert_dropped(&whole[..length], Reason::Malformed);
        }
    }
}

#[test]
fn lengths_that_can_not_be_are_malformed() {
    for first in [0x44, 0x40, 0x4f, 0x65] {
        let frame = with_header4(|header| header[0] = first);
        assert!(matches!(drop_reason(&frame), Reason::Malformed), "{first}");
    }
    for total in [0_u16, 19, 27, 0xffff] {
        let frame = with_header4(|header| header[2..4].copy_from_slice(&total.to_be_bytes()));
        assert_dropped(&frame, Reason::Malformed);
    }
    for options in [[68, 0, 0, 0], [68, 1, 0, 0], [68, 5, 0, 0], [1, 1, 1, 68]] {
        let question = Packet::question(Ip::v4(&options), PING, &[]);
        assert_dropped(&question.bytes(), Reason::Malformed);
    }
    let udp = Message::Udp {
        source: 40000,
        destination: PORT,
    };
    for length in [0_u16, 7, 12, 0xffff] {
        let mut frame = Packet::question(Ip::v4(&[]), udp, &[1, 2, 3]).bytes();
        frame[38..40].copy_from_slice(&length.to_be_bytes());
        assert_dropped(&frame, Reason::Malformed);
    }
    // Options that end behind their header, and hop-by-hop options behind another header.
    for payload in [[5, 5, 0, 0, 0, 0], [5, 2, 0, 0, 0, 5]] {
        let frame = with_extensions(|it| it.hop_by_hop_options = Some(raw(&payload)));
        assert_dropped(&frame, Reason::Malformed);
    }
    let mut frame = with_extensions(|it| it.destination_options = Some(raw(&[1, 4, 0, 0, 0, 0])));
    frame[54] = 0;
    assert_dropped(&frame, Reason::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn garbage_is_survived_and_never_answered_at_greater_length(
        mut frame in prop_oneof![vec(any::<u8>(), 0..200), like_a_packet()],
    ) {
        let before = frame.clone();
        match responder().respond(&mut frame) {
            Action::Send { length, .. } => prop_assert!(length <= frame.len()),
            Action::Drop(_) => prop_assert_eq!(frame, before),
        }
    }
}

/// A question with a few bytes changed, and cut somewhere.
fn like_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let base = prop::sample::select(questions());
    (base, vec(change, 0..4), any::<prop::sample::Index>()).prop_map(|(base, changes, end)| {
        let mut frame = base.bytes();
        for (place, byte) in changes {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        frame.truncate(frame.len() - end.index(frame.len()) / 8);
        frame
    })
}

fn questions() -> Vec<Packet> {
    let udp = Message::Udp {
        source: 40000,
        destination: PORT,
    };
    let payload = [1, 2, 3, 4, 5];
    let mut questions = Vec::new();
    for message in [PING, udp] {
        for ip in [Ip::v4(&[]), Ip::v6()] {
            questions.push(Packet::question(ip, message, &payload));
        }
    }
    questions
}

#[track_caller]
fn assert_dropped(frame: &[u8], expected: Reason) {
    assert_eq!(drop_reason(frame), expected, "{frame:02x?}");
}

#[track_caller]
fn drop_reason(frame: &[u8]) -> Reason {
    let mut after = frame.to_vec();
    match responder().respond(&mut after) {
        Action::Drop(reason) => {
            assert_eq!(after, frame, "what is dropped is not touched");
            reason
        }
        Action::Send { .. } => panic!("it was answered: {frame:02x?}"),
    }
}

fn side(mac: [u8; 6], ip4: &str, ip6: &str) -> Side {
    Side {
        mac,
        ip4: ip4.parse().expect("an address"),
        ip6: ip6.parse().expect("an address"),
    }
}

/// A ping with another IPv4 header, the checksum of which is right.
fn with_header4(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = Packet::question(Ip::v4(&[]), PING, &[]).bytes();
    let header = &mut frame[14..34];
    change(header);
    header[10..12].fill(0);
    let sum = folded_sum(header);
    header[10..12].copy_from_slice(&(!sum).to_be_bytes());
    frame
}

/// A ping with extension headers.
fn with_extensions(change: impl FnOnce(&mut Ipv6Extensions)) -> Vec<u8> {
    let mut extensions = Ipv6Extensions::default();
    change(&mut extensions);
    Packet::question(Ip::with(extensions), PING, &[]).bytes()
}

fn frame_of_type(ethertype: u16) -> Vec<u8> {
    let mut frame = Packet::question(Ip::v4(&[]), PING, &[]).bytes();
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    frame
}

fn raw(payload: &[u8]) -> Ipv6RawExtHeader {
    Ipv6RawExtHeader::new_raw(IpNumber(0), payload).expect("whole words")
}
