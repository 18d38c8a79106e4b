//! Questions and their answers, both made by somebody else's code, which computes every checksum
//! in full.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IpHeaders, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions,
    Ipv6Header, PacketBuilder, PacketBuilderStep,
};
use xsk_echo::{Addresses, Mac, Responder};

pub(crate) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const OUR_IP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const THEIR_IP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const OUR_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
pub(crate) const THEIR_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
pub(crate) const PORT: u16 = 7;

/// What the answer of a responder starts with.
pub(crate) const TTL: u8 = 64;

/// One that answers for our addresses.
pub(crate) fn responder() -> Responder {
    let addresses = ["192.0.2.1/24", "2001:db8::12:3456/64"];
    let addresses = addresses.map(|it| it.parse().expect("an address"));
    Responder::new(Addresses::new(Mac(OUR_MAC), addresses), PORT)
}

/// One side of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) mac: [u8; 6],
    pub(crate) ip4: Ipv4Addr,
    pub(crate) ip6: Ipv6Addr,
}

pub(crate) const OURS: Side = Side {
    mac: OUR_MAC,
    ip4: OUR_IP4,
    ip6: OUR_IP6,
};
pub(crate) const THEIRS: Side = Side {
    mac: THEIR_MAC,
    ip4: THEIR_IP4,
    ip6: THEIR_IP6,
};

/// A packet of those that are answered.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: Side,
    pub(crate) destination: Side,
    pub(crate) tags: Vec<u16>,
    pub(crate) ip: Ip,
    pub(crate) ttl: u8,
    pub(crate) message: Message,
    pub(crate) payload: Vec<u8>,
    /// Bytes of the frame that are not the packet's.
    pub(crate) trailer: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Ip {
    V4 { options: Vec<u8> },
    V6 { extensions: Box<Ipv6Extensions> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Request { id: u16, sequence: u16 },
    Reply { id: u16, sequence: u16 },
    Udp { source: u16, destination: u16 },
}

impl Packet {
    /// A question of theirs.
    pub(crate) fn question(ip: Ip, message: Message, payload: &[u8]) -> Self {
        Self {
            source: THEIRS,
            destination: OURS,
            tags: Vec::new(),
            ip,
            ttl: 17,
            message,
            payload: payload.to_vec(),
            trailer: 0,
        }
    }

    /// What has to be sent back.
    pub(crate) fn answer(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ttl: TTL,
            ip: match &self.ip {
                Ip::V4 { options } => Ip::v4(options),
                Ip::V6 { .. } => Ip::v6(),
            },
            message: self.message.answer(),
            trailer: match &self.ip {
                Ip::V6 { extensions } if !extensions.is_empty() => 0,
                Ip::V4 { .. } | Ip::V6 { .. } => self.trailer,
            },
            ..self.clone()
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = self.ethernet();
        let builder = match &self.ip {
            Ip::V4 { options } => PacketBuilder::ip(IpHeaders::Ipv4(
                self.header4(options),
                Ipv4Extensions::default(),
            )),
            Ip::V6 { extensions } => {
                PacketBuilder::ip(IpHeaders::Ipv6(self.header6(), *extensions.clone()))
            }
        };
        self.write(builder, &mut frame);
        frame.resize(frame.len() + self.trailer, 0xaa);
        frame
    }

    /// The sum of what is summed before the UDP datagram itself: what the kernel puts in the place
    /// of a checksum that it leaves to the device.
    pub(crate) fn pseudo_sum(&self) -> u16 {
        let addresses = match self.ip {
            Ip::V4 { .. } => [self.source.ip4, self.destination.ip4]
                .map(|ip| ip.octets())
                .concat(),
            Ip::V6 { .. } => [self.source.ip6, self.destination.ip6]
                .map(|ip| ip.octets())
                .concat(),
        };
        let bytes = u16::try_from(8 + self.payload.len()).expect("a datagram is short");
        let rest = [0, 17].into_iter().chain(bytes.to_be_bytes());
        let all: Vec<u8> = addresses.into_iter().chain(rest).collect();
        folded_sum(&all)
    }

    fn ethernet(&self) -> Vec<u8> {
        let network = match self.ip {
            Ip::V4 { .. } => EtherType::IPV4,
            Ip::V6 { .. } => EtherType::IPV6,
        };
        let mut types: Vec<EtherType> = self.tags.iter().map(|_| EtherType(0x8100)).collect();
        if let [outer, _, ..] = &mut types[..] {
            *outer = EtherType(0x88a8);
        }
        types.push(network);
        let header = Ethernet2Header {
            source: self.source.mac,
            destination: self.destination.mac,
            ether_type: types[0],
        };
        let mut frame = header.to_bytes().to_vec();
        for (tag, ethertype) in self.tags.iter().zip(&types[1..]) {
            frame.extend(tag.to_be_bytes());
            frame.extend(ethertype.0.to_be_bytes());
        }
        frame
    }

    fn header4(&self, options: &[u8]) -> Ipv4Header {
        Ipv4Header {
            time_to_live: self.ttl,
            identification: 0x1234,
            source: self.source.ip4.octets(),
            destination: self.destination.ip4.octets(),
            options: Ipv4Options::try_from(options).expect("words of options"),
            ..Ipv4Header::default()
        }
    }

    fn header6(&self) -> Ipv6Header {
        Ipv6Header {
            hop_limit: self.ttl,
            source: self.source.ip6.octets(),
            destination: self.destination.ip6.octets(),
            ..Ipv6Header::default()
        }
    }

    fn write(&self, builder: PacketBuilderStep<IpHeaders>, frame: &mut Vec<u8>) {
        let is_v4 = matches!(self.ip, Ip::V4 { .. });
        let written = match self.message {
            Message::Request { id, sequence } if is_v4 => builder
                .icmpv4_echo_request(id, sequence)
                .write(frame, &self.payload),
            Message::Request { id, sequence } => builder
                .icmpv6_echo_request(id, sequence)
                .write(frame, &self.payload),
            Message::Reply { id, sequence } if is_v4 => builder
                .icmpv4_echo_reply(id, sequence)
                .write(frame, &self.payload),
            Message::Reply { id, sequence } => builder
                .icmpv6_echo_reply(id, sequence)
                .write(frame, &self.payload),
            Message::Udp {
                source,
                destination,
            } => builder.udp(source, destination).write(frame, &self.payload),
        };
        written.expect("the packet is sound");
    }
}

impl Ip {
    pub(crate) fn v4(options: &[u8]) -> Self {
        Self::V4 {
            options: options.to_vec(),
        }
    }

    pub(crate) fn with(extensions: Ipv6Extensions) -> Self {
        Self::V6 {
            extensions: Box::new(extensions),
        }
    }

    pub(crate) fn v6() -> Self {
        Self::V6 {
            extensions: Box::default(),
        }
    }
}

impl Message {
    fn answer(self) -> Self {
        match self {
            Self::Request { id, sequence } => Self::Reply { id, sequence },
            Self::Reply { .. } => panic!("it has no answer"),
            Self::Udp {
                source,
                destination,
            } => Self::Udp {
                source: destination,
                destination: source,
            },
        }
    }
}

/// The one's complement sum of these words.
pub(crate) fn folded_sum(words: &[u8]) -> u16 {
    let sum: u32 = words
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from(folded).expect("few words need no more folding")
}
