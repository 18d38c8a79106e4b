//! Packets by description: tags, options, extension headers, fragments, cuts.
#![allow(dead_code, reason = "each file of tests uses its part")]

use std::net::IpAddr;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const OPTIONS: u8 = 60;
pub(crate) const MOBILITY: u8 = 135;

/// A packet, described.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) tags: usize,
    pub(crate) source: IpAddr,
    /// IPv4 alone.
    pub(crate) option_words: u8,
    /// IPv6 alone: number, and how long beyond what the kind has at least.
    pub(crate) extensions: Vec<(u8, u8)>,
    /// In units of 8 bytes. In IPv6 there is a fragment header for it, the last one.
    pub(crate) fragment_offset: u16,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    /// Whether the bytes end in the middle of the ports.
    pub(crate) cut: bool,
}

impl Sent {
    pub(crate) fn new(source: &str, protocol: u8, port: u16) -> Self {
        Self {
            tags: 0,
            source: source.parse().expect("an address"),
            option_words: 0,
            extensions: Vec::new(),
            fragment_offset: 0,
            protocol,
            port,
            cut: false,
        }
    }

    pub(crate) fn is_later_fragment(&self) -> bool {
        self.fragment_offset != 0
    }

    pub(crate) fn has_ports(&self) -> bool {
        self.protocol == TCP || self.protocol == UDP
    }

    /// Whether protocol or port can't be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        let fragment = usize::from(self.is_later_fragment());
        let too_many = self.source.is_ipv6() && self.extensions.len() + fragment > 8;
        too_many || self.cut && self.has_ports() && !self.is_later_fragment()
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut transport = [0; 20];
        transport[2..4].copy_from_slice(&self.port.to_be_bytes());
        let transport = &transport[..if self.cut { 3 } else { 20 }];
        match self.source {
            IpAddr::V4(source) => {
                let mut packet = vec![0; 20 + 4 * usize::from(self.option_words)];
                packet[0] = 0x45 + self.option_words;
                packet[6..8].copy_from_slice(&self.fragment_offset.to_be_bytes());
                packet[9] = self.protocol;
                packet[12..16].copy_from_slice(&source.octets());
                packet.extend(transport);
                frame(self.tags, IPV4, &packet)
            }
            IpAddr::V6(source) => {
                let mut packet = vec![0; 40];
                packet[0] = 0x60;
                packet[8..24].copy_from_slice(&source.octets());
                let mut next = 6;
                for (number, more) in &self.extensions {
                    packet[next] = *number;
                    next = packet.len();
                    packet.extend(extension(*number, *more));
                }
                if self.is_later_fragment() {
                    packet[next] = FRAGMENT;
                    next = packet.len();
                    let [high, low] = (self.fragment_offset << 3).to_be_bytes();
                    packet.extend([0, 0, high, low, 0, 0, 0, 9]);
                }
                packet[next] = self.protocol;
                packet.extend(transport);
                frame(self.tags, IPV6, &packet)
            }
        }
    }
}

/// An extension header. Its first byte is the next one's number.
pub(crate) fn extension(number: u8, more: u8) -> Vec<u8> {
    let (length, bytes) = match number {
        FRAGMENT => (0, 8),
        AUTHENTICATION => (more + 1, 4 * (usize::from(more) + 3)),
        _ => (more, 8 * (usize::from(more) + 1)),
    };
    let mut header = vec![0; bytes];
    header[1] = length;
    if number == FRAGMENT {
        header[3] = 1; // the first of several
    }
    header
}

pub(crate) fn frame(tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for tag in 0..tags {
        let kind: u16 = if tag == 0 && tags > 1 { 0x88a8 } else { 0x8100 };
        frame.extend(kind.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}
