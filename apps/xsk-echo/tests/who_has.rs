//! Questions for our address, ARP's and IPv6's, and their answers.

mod packet;

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket,
    TransportSlice,
};
use packet::{OUR_IP4, OUR_IP6, OUR_MAC, THEIR_IP4, THEIR_IP6, THEIR_MAC, responder};
use xsk_echo::{Action, Reason, Sent};

const ALL: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
const OTHER_IP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const BROADCAST_IP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);
const OTHER_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x99, 0x3456);
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

#[test]
fn an_arp_request_is_answered() {
    for (asker, destination, padding) in [
        (THEIR_IP4, ALL, 0),
        (THEIR_IP4, OUR_MAC, 18),
        // Somebody is about to take our address.
        (Ipv4Addr::UNSPECIFIED, ALL, 18),
    ] {
        let request = Arp {
            destination,
            asker,
            ..ARP
        };
        let mut frame = request.bytes();
        frame.resize(frame.len() + padding, 0);
        let length = frame.len();
        let sent = Sent::Arp;
        let action = responder().respond(&mut frame);
        assert_eq!(action, Action::Send { sent, length });
        let packet = SlicedPacket::from_ethernet(&frame).expect("it is sound");
        let Some(NetSlice::Arp(arp)) = packet.net else {
            panic!("an ARP packet");
        };
        let arp = ArpEthIpv4Packet::try_from(arp.to_packet()).expect("of these protocols");
        let expected = ArpEthIpv4Packet {
            operation: ArpOperation::REPLY,
            sender_mac: OUR_MAC,
            sender_ipv4: OUR_IP4.octets(),
            target_mac: THEIR_MAC,
            target_ipv4: asker.octets(),
        };
        assert_eq!(arp, expected);
        assert_eq!(frame[..12], [THEIR_MAC, OUR_MAC].concat());
    }
}

#[test]
fn other_arp_packets_are_not_answered() {
    type Change = fn(&mut Arp);
    let cases: [(Change, Reason); 8] = [
        (|it| it.target = OTHER_IP4, Reason::NotOurs),
        (|it| it.destination = [2; 6], Reason::NotOurs),
        (|it| it.operation = 2, Reason::Answer),
        (|it| it.operation = 3, Reason::Other),
        (|it| it.asker = OUR_IP4, Reason::Source),
        (|it| it.asker = BROADCAST_IP4, Reason::Source),
        (|it| it.asker_mac = ALL, Reason::Source),
        (|it| it.asker_mac = NOBODY, Reason::Source),
    ];
    for (change, reason) in cases {
        let mut arp = ARP;
        change(&mut arp);
        assert_dropped(&arp.bytes(), reason);
    }
    let whole = ARP.bytes();
    for length in 0..whole.len() {
        assert_dropped(&whole[..length], Reason::Malformed);
    }
    let mut frame = whole;
    frame[18] = 8; // bytes of an Ethernet address
    assert_dropped(&frame, Reason::Other);
}

#[test]
fn a_solicitation_is_answered() {
    let option = mac_option(1, THEIR_MAC);
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    for (destination, options, has_option) in [
        (OUR_IP6, option.to_vec(), true),
        (group(), option.to_vec(), true),
        (group(), [option, nonce].concat(), true),
        // The asker knows our Ethernet address, and left no room to repeat it.
        (OUR_IP6, Vec::new(), false),
    ] {
        let solicitation = Solicitation {
            destination,
            options,
            ..Solicitation::default()
        };
        let (flags, body) = advertisement(&solicitation, THEIR_MAC, THEIR_IP6);
        assert_eq!(flags, 0x60, "solicited, override");
        assert_eq!(body.len() > 16, has_option);
    }
}

#[test]
fn who_is_about_to_take_our_address_is_told_and_so_is_everybody() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    for options in [Vec::new(), nonce.to_vec()] {
        let has_option = !options.is_empty();
        let probe = Solicitation {
            source: Ipv6Addr::UNSPECIFIED,
            options,
            ..Solicitation::default()
        };
        let (flags, body) = advertisement(&probe, [0x33, 0x33, 0, 0, 0, 1], EVERYBODY);
        assert_eq!(flags, 0x20, "override");
        assert_eq!(body.len() > 16, has_option);
    }
}

#[test]
fn other_solicitations_are_not_answered() {
    type Change = fn(&mut Solicitation);
    let nobody: Change = |it| it.source = Ipv6Addr::UNSPECIFIED;
    let cases: [(&[Change], Reason); 15] = [
        (&[|it| it.target = OTHER_IP6], Reason::NotOurs),
        (&[|it| it.destination = EVERYBODY], Reason::NotOurs),
        (&[|it| it.target = EVERYBODY], Reason::Malformed),
        (&[|it| it.hop_limit = 254], Reason::Malformed),
        (&[|it| it.code = 1], Reason::Malformed),
        (&[|it| it.options = vec![1, 0]], Reason::Malformed),
        (&[|it| it.options = vec![1]], Reason::Malformed),
        (&[|it| it.options = vec![1, 2, 0, 0]], Reason::Malformed),
        (&[|it| it.source = OUR_IP6], Reason::Source),
        (&[|it| it.source = EVERYBODY], Reason::Source),
        (
            &[|it| it.options = mac_option(1, ALL).to_vec()],
            Reason::Source,
        ),
        (&[nobody, |it| it.destination = OUR_IP6], Reason::Malformed),
        (
            &[nobody, |it| it.options = mac_option(1, ALL).to_vec()],
            Reason::Malformed,
        ),
        (&[|it| it.kind = 136], Reason::Answer),
        (&[|it| it.kind = 133], Reason::NotOurs),
    ];
    for (changes, reason) in cases {
        let mut solicitation = Solicitation::default();
        for change in changes {
            change(&mut solicitation);
        }
        assert_dropped(&solicitation.bytes(), reason);
    }
    let whole = Solicitation::default().bytes();
    for length in 0..whole.len() {
        assert_dropped(&whole[..length], Reason::Malformed);
    }
    let mut frame = whole;
    frame[56] ^= 1;
    assert_dropped(&frame, Reason::Checksum);
}

/// An ARP packet.
#[derive(Clone, Copy)]
struct Arp {
    destination: [u8; 6],
    operation: u16,
    asker_mac: [u8; 6],
    asker: Ipv4Addr,
    target: Ipv4Addr,
}

const ARP: Arp = Arp {
    destination: ALL,
    operation: 1,
    asker_mac: THEIR_MAC,
    asker: THEIR_IP4,
    target: OUR_IP4,
};

impl Arp {
    fn bytes(&self) -> Vec<u8> {
        let arp = ArpEthIpv4Packet {
            operation: ArpOperation(self.operation),
            sender_mac: self.asker_mac,
            sender_ipv4: self.asker.octets(),
            target_mac: NOBODY,
            target_ipv4: self.target.octets(),
        };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(THEIR_MAC, self.destination)
            .arp(arp.into())
            .write(&mut frame)
            .expect("a vector has room");
        frame
    }
}

/// A neighbour solicitation, or something like it.
struct Solicitation {
    kind: u8,
    code: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    target: Ipv6Addr,
    options: Vec<u8>,
}

impl Default for Solicitation {
    fn default() -> Self {
        Self {
            kind: 135,
            code: 0,
            source: THEIR_IP6,
            destination: group(),
            hop_limit: 255,
            target: OUR_IP6,
            options: Vec::new(),
        }
    }
}

impl Solicitation {
    fn bytes(&self) -> Vec<u8> {
        let [source, destination] = [self.source, self.destination].map(|ip| ip.octets());
        let body = [&self.target.octets(), &self.options[..]].concat();
        let to_group = [0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(THEIR_MAC, to_group)
            .ipv6(source, destination, self.hop_limit)
            .icmpv6_raw(self.kind, self.code, [0; 4])
            .write(&mut frame, &body)
            .expect("a vector has room");
        frame
    }
}

/// The flags of what is answered, and what follows them; the rest is checked.
#[track_caller]
fn advertisement(question: &Solicitation, to_mac: [u8; 6], to: Ipv6Addr) -> (u8, Vec<u8>) {
    let mut frame = question.bytes();
    let action = responder().respond(&mut frame);
    let Action::Send { sent, length } = action else {
        panic!("{action:?}");
    };
    assert_eq!(sent, Sent::Neighbour);
    let packet = SlicedPacket::from_ethernet(&frame[..length]).expect("it is sound");
    assert_eq!(frame[..12], [to_mac, OUR_MAC].concat());
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message))) =
        (&packet.net, &packet.transport)
    else {
        panic!("an ICMP packet");
    };
    let header = ip.header();
    assert_eq!(header.source_addr(), OUR_IP6);
    assert_eq!(header.destination_addr(), to);
    assert_eq!(header.hop_limit(), 255);
    assert!(message.is_checksum_valid(header.source(), header.destination()));
    assert!(matches!(
        message.icmp_type(),
        Icmpv6Type::NeighborAdvertisement(_)
    ));
    let body = message.payload().to_vec();
    assert_eq!(body[..16], OUR_IP6.octets());
    if body.len() > 16 {
        assert_eq!(body[16..], mac_option(2, OUR_MAC));
    }
    (message.bytes5to8()[0], body)
}

#[track_caller]
fn assert_dropped(frame: &[u8], expected: Reason) {
    let mut after = frame.to_vec();
    let action = responder().respond(&mut after);
    assert_eq!(action, Action::Drop(expected), "{frame:02x?}");
    assert_eq!(after, frame, "what is dropped is not touched");
}

fn mac_option(kind: u8, mac: [u8; 6]) -> [u8; 8] {
    let mut option = [kind, 1, 0, 0, 0, 0, 0, 0];
    option[2..].copy_from_slice(&mac);
    option
}

/// The group that everyone listens to who has our address.
fn group() -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456)
}
