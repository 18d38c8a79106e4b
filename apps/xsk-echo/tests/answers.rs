//! Answers are what another implementation makes of the same question, to the byte: every checksum
//! there is computed in full.

mod packet;

use etherparse::{IpNumber, Ipv6Extensions, Ipv6RawExtHeader, Ipv6RoutingExtensions};
use packet::{Ip, Message, PORT, Packet, responder};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use xsk_echo::{Action, Sent};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_question_gets_exactly_its_answer(question in questions()) {
        let mut frame = question.bytes();
        let action = responder().respond(&mut frame);
        let answer = question.answer().bytes();
        prop_assert_eq!(action, Action::Send { sent: sent(&question), length: answer.len() });
        prop_assert_eq!(&frame[..answer.len()], answer);
    }

    #[test]
    fn a_damaged_message_gets_a_damaged_answer(
        question in questions(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        prop_assume!(!question.payload.is_empty());
        let payload = question.payload.len();
        let damage = |frame: &mut [u8], trailer: usize| {
            let end = frame.len() - trailer;
            frame[end - payload + place.index(payload)] ^= 1 << bit;
        };
        let mut frame = question.bytes();
        // One checksum in 65536 looks as if it had been left to the device, and would be made.
        prop_assume!(checksum(&question, &frame) != Some(question.pseudo_sum()));
        damage(&mut frame, question.trailer);
        let action = responder().respond(&mut frame);
        let mut answer = question.answer();
        let mut bytes = answer.bytes();
        damage(&mut bytes, std::mem::take(&mut answer.trailer));
        prop_assert_eq!(action, Action::Send { sent: sent(&question), length: bytes.len() });
        prop_assert_eq!(&frame[..bytes.len()], bytes);
    }
}

#[test]
fn a_reply_of_nothing_but_zeros_has_the_right_one_of_two_zeros() {
    let nothing = Message::Request { id: 0, sequence: 0 };
    for length in [0, 1, 56] {
        for ip in [Ip::v4(&[]), Ip::v6()] {
            let question = Packet::question(ip, nothing, &vec![0; length]);
            let mut frame = question.bytes();
            responder().respond(&mut frame);
            assert_eq!(frame, question.answer().bytes(), "{length} bytes");
        }
    }
}

#[test]
fn an_ipv4_datagram_without_a_checksum_comes_back_without_one() {
    let mut frame = udp(Ip::v4(&[])).bytes();
    let checksum = frame.len() - PAYLOAD.len() - 2;
    frame[checksum..checksum + 2].fill(0);
    let action = responder().respond(&mut frame);
    assert!(matches!(
        action,
        Action::Send {
            sent: Sent::Udp4,
            ..
        }
    ));
    assert_eq!(frame[checksum..checksum + 2], [0, 0]);
}

/// The kernel leaves the checksum of what it sends over a virtual cable to a device that isn't there: it
/// puts the sum of addresses, protocol and length in its place.
#[test]
fn a_checksum_that_was_left_to_the_device_is_made() {
    for ip in [Ip::v4(&[]), Ip::v6()] {
        let question = udp(ip);
        let mut frame = question.bytes();
        let begin = frame.len() - PAYLOAD.len() - 8;
        let sum = question.pseudo_sum().to_be_bytes();
        frame[begin + 6..begin + 8].copy_from_slice(&sum);
        responder().respond(&mut frame);
        assert_eq!(frame, question.answer().bytes());
    }
}

/// A UDP datagram's checksum.
fn checksum(question: &Packet, frame: &[u8]) -> Option<u16> {
    let at = frame.len() - question.trailer - question.payload.len() - 2;
    let is_udp = matches!(question.message, Message::Udp { .. });
    is_udp.then(|| u16::from_be_bytes([frame[at], frame[at + 1]]))
}

const PAYLOAD: &[u8] = b"what is sent comes back";

fn udp(ip: Ip) -> Packet {
    let message = Message::Udp {
        source: 40000,
        destination: PORT,
    };
    Packet::question(ip, message, PAYLOAD)
}

fn sent(question: &Packet) -> Sent {
    match (&question.ip, question.message) {
        (Ip::V4 { .. }, Message::Udp { .. }) => Sent::Udp4,
        (Ip::V6 { .. }, Message::Udp { .. }) => Sent::Udp6,
        (Ip::V4 { .. }, _) => Sent::Ping4,
        (Ip::V6 { .. }, _) => Sent::Ping6,
    }
}

/// Every kind of question.
fn questions() -> impl Strategy<Value = Packet> {
    let ip = prop_oneof![
        vec(any::<[u8; 2]>(), 0..3).prop_map(|options| Ip::v4(&options4(&options))),
        extensions().prop_map(Ip::with),
    ];
    let message = prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(id, sequence)| Message::Request { id, sequence }),
        (1024..=u16::MAX).prop_map(|source| Message::Udp {
            source,
            destination: PORT
        }),
    ];
    let payload = prop_oneof![vec(any::<u8>(), 0..1500), vec(Just(0), 0..100)];
    let tags = vec(any::<u16>(), 0..3);
    (ip, message, payload, tags, any::<u8>(), 0..20_usize).prop_map(
        |(ip, message, payload, tags, ttl, trailer)| Packet {
            tags,
            ttl,
            trailer,
            ..Packet::question(ip, message, &payload)
        },
    )
}

/// Options that may be answered: timestamps, of one word each.
fn options4(contents: &[[u8; 2]]) -> Vec<u8> {
    contents
        .iter()
        .flat_map(|[one, other]| [68, 4, *one, *other])
        .collect()
}

fn extensions() -> impl Strategy<Value = Ipv6Extensions> {
    let options = || option::weighted(0.3, (0..3_usize).prop_map(options6));
    let routing = option::weighted(
        0.3,
        (any::<u8>(), options()).prop_map(|(kind, last)| Ipv6RoutingExtensions {
            routing: raw(&[kind, 0, 0, 0, 0, 0]),
            final_destination_options: last,
        }),
    );
    (options(), options(), routing).prop_map(
        |(hop_by_hop_options, destination_options, routing)| Ipv6Extensions {
            hop_by_hop_options,
            destination_options,
            routing,
            ..Ipv6Extensions::default()
        },
    )
}

/// A router alert, an unknown option that may be passed over, and padding up to so many words.
fn options6(words: usize) -> Ipv6RawExtHeader {
    let mut payload = vec![5, 2, 0, 0, 0, 0];
    for _ in 0..words {
        payload.extend([0x1e, 3, 1, 2, 3, 0, 1, 0]);
    }
    raw(&payload)
}

fn raw(payload: &[u8]) -> Ipv6RawExtHeader {
    Ipv6RawExtHeader::new_raw(IpNumber(0), payload).expect("whole words")
}
