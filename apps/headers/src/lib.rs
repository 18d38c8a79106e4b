//! Packet headers, read so that the BPF verifier can follow.
//!
//! Every byte is reached through one function, which compares with the packet's end first.
//! Everything is inlined: the verifier forgets what it knows of packet pointers at some calls.
//!
//! Limits: two VLAN tags; no IPv6 extension headers (the first one is taken for the protocol).
#![no_std]
#![warn(missing_docs, unreachable_pub)]

/// `IPPROTO_ICMP`.
pub const ICMP: u8 = 1;
/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;
/// `IPPROTO_ICMPV6`.
pub const ICMPV6: u8 = 58;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const ETHERNET_BYTES: usize = 14;
const VLAN_TAG_BYTES: usize = 4;
const VLAN_TAGS_MAX: usize = 2;
const IPV4_BYTES_MIN: usize = 20;
const IPV6_BYTES: usize = 40;

/// A frame in memory, from its Ethernet header on.
#[derive(Clone, Copy)]
pub struct Packet {
    start: usize,
    end: usize,
}

/// What follows the Ethernet header and its tags.
pub enum Network {
    /// ARP.
    Arp,
    /// IPv4; `None` if the header is cut short or says what no header can.
    Ipv4(Option<Ip<4>>),
    /// IPv6; `None` likewise.
    Ipv6(Option<Ip<16>>),
    /// Any other protocol, more than two VLAN tags, or no whole Ethernet header.
    Other,
}

/// What is asked of an IP header.
pub struct Ip<const ADDRESS_BYTES: usize> {
    /// The source address, in network byte order.
    pub source: [u8; ADDRESS_BYTES],
    /// The protocol of the payload.
    pub protocol: u8,
    /// False for a fragment other than the first: its payload begins in the middle.
    pub has_ports: bool,
    /// Offset of the payload in the packet.
    pub payload: usize,
}

impl Packet {
    /// The packet from `start` up to `end`.
    ///
    /// # Safety
    /// Bytes from `start` to `end` must be readable for as long as the packet is used: they are an
    /// XDP context's `data` and `data_end`, or the ends of a slice.
    #[inline(always)]
    pub const unsafe fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Bytes in the packet.
    #[inline(always)]
    #[expect(
        clippy::len_without_is_empty,
        reason = "no driver delivers an empty packet"
    )]
    pub const fn len(self) -> usize {
        self.end - self.start
    }

    /// `N` bytes at an offset, or `None` if the packet ends before.
    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let at = self.start + offset;
        if at + N > self.end {
            return None;
        }
        // SAFETY: `at..at + N` is within the packet, which `new` was promised is readable; a byte
        // array has no alignment and no invalid values.
        Some(unsafe { &*(at as *const [u8; N]) })
    }

    /// The network header.
    #[inline(always)]
    pub fn network(&self) -> Network {
        let Some(ethernet) = self.bytes::<ETHERNET_BYTES>(0) else {
            return Network::Other;
        };
        let mut ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
        let mut offset = ETHERNET_BYTES;
        for _ in 0..VLAN_TAGS_MAX {
            if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
                break;
            }
            let Some(tag) = self.bytes::<VLAN_TAG_BYTES>(offset) else {
                return Network::Other;
            };
            ethertype = u16::from_be_bytes([tag[2], tag[3]]);
            offset += VLAN_TAG_BYTES;
        }
        match ethertype {
            ETHERTYPE_ARP => Network::Arp,
            ETHERTYPE_IPV4 => Network::Ipv4(self.ipv4(offset)),
            ETHERTYPE_IPV6 => Network::Ipv6(self.ipv6(offset)),
            _ => Network::Other,
        }
    }

    #[inline(always)]
    fn ipv4(&self, offset: usize) -> Option<Ip<4>> {
        let header = self.bytes::<IPV4_BYTES_MIN>(offset)?;
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || header_bytes < IPV4_BYTES_MIN {
            return None;
        }
        let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        Some(Ip {
            source: [header[12], header[13], header[14], header[15]],
            protocol: header[9],
            has_ports: fragment_offset == 0,
            payload: offset + header_bytes,
        })
    }

    #[inline(always)]
    fn ipv6(&self, offset: usize) -> Option<Ip<16>> {
        let header = self.bytes::<IPV6_BYTES>(offset)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let mut source = [0; 16];
        let mut byte = 0;
        while byte < source.len() {
            source[byte] = header[8 + byte];
            byte += 1;
        }
        Some(Ip {
            source,
            protocol: header[6],
            has_ports: true,
            payload: offset + IPV6_BYTES,
        })
    }

    /// The destination port of TCP or UDP; `None` for other protocols, for a fragment other than
    /// the first, and if the packet ends before.
    #[inline(always)]
    pub fn destination_port<const N: usize>(&self, ip: &Ip<N>) -> Option<u16> {
        if !ip.has_ports || ip.protocol != TCP && ip.protocol != UDP {
            return None;
        }
        let ports = self.bytes::<4>(ip.payload)?;
        Some(u16::from_be_bytes([ports[2], ports[3]]))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    fn packet(bytes: &[u8]) -> Packet {
        let range = bytes.as_ptr_range();
        // SAFETY: each test keeps its bytes until it is done with the packet.
        unsafe { Packet::new(range.start as usize, range.end as usize) }
    }

    fn frame(tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0x00, 0, 7]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// UDP to port 53 from 192.0.2.1, behind so many words of options.
    fn ipv4(option_words: u8, fragment_offset: u16) -> Vec<u8> {
        let mut header = vec![0; 20 + 4 * usize::from(option_words)];
        header[0] = 0x45 + option_words;
        header[6..8].copy_from_slice(&fragment_offset.to_be_bytes());
        header[9] = UDP;
        header[12..16].copy_from_slice(&[192, 0, 2, 1]);
        header.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
        header
    }

    #[test]
    fn ports_are_found_behind_tags_and_options() {
        for tags in 0..=2 {
            for option_words in 0..=10 {
                let frame = frame(tags, 0x0800, &ipv4(option_words, 0x4000));
                let packet = packet(&frame);
                let Network::Ipv4(Some(ip)) = packet.network() else {
                    panic!("{tags} tags, {option_words} words of options");
                };
                assert_eq!(ip.source, [192, 0, 2, 1]);
                assert_eq!(packet.destination_port(&ip), Some(53));
            }
        }
    }

    #[test]
    fn a_third_tag_is_not_read() {
        let frame = frame(3, 0x0800, &ipv4(0, 0));
        assert!(matches!(packet(&frame).network(), Network::Other));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let frame = frame(0, 0x0800, &ipv4(0, 1));
        let packet = packet(&frame);
        let Network::Ipv4(Some(ip)) = packet.network() else {
            panic!("a fragment has an IPv4 header");
        };
        assert_eq!(packet.destination_port(&ip), None);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = frame(2, 0x0800, &ipv4(3, 0));
        for length in 0..whole.len() {
            let cut = &whole[..length];
            match packet(cut).network() {
                Network::Other => assert!(length < 22),
                Network::Ipv4(None) => assert!((22..42).contains(&length)),
                Network::Ipv4(Some(ip)) => {
                    let port = packet(cut).destination_port(&ip);
                    assert_eq!(port, (length >= 58).then_some(53), "{length} bytes");
                }
                Network::Arp | Network::Ipv6(_) => panic!("{length} bytes"),
            }
        }
    }

    #[test]
    fn ipv6_is_read() {
        let mut header = vec![0; 40];
        header[0] = 0x60;
        header[6] = TCP;
        header[8..24].copy_from_slice(&[0x20; 16]);
        header.extend([0, 1, 0, 22]);
        let frame = frame(0, 0x86dd, &header);
        let packet = packet(&frame);
        let Network::Ipv6(Some(ip)) = packet.network() else {
            panic!("this is IPv6");
        };
        assert_eq!((ip.source, ip.protocol), ([0x20; 16], TCP));
        assert_eq!(packet.destination_port(&ip), Some(22));
    }
}
