//! Packet headers, read so that the BPF verifier can follow, also one that keeps its loader from
//! reading the kernel's memory (no `CAP_PERFMON`).
//!
//! Such a verifier takes no pointer with a number added that is only known when the program runs. So
//! a pointer advances by constants, one for each bit of what a header says (`beyond`), and
//! each byte is read where it lies, after a comparison with the packet's end. A call of a helper would
//! take longer than all the rest; only large IPv6 extension headers are left to one ([`Far`]).
//! Everything is inlined: the verifier forgets what it knows of packet pointers at some calls.
//!
//! Bounds: two VLAN tags, and [`EXTENSIONS_MAX`] IPv6 extension headers. What lies behind more is
//! not read, and is told apart from what isn't there.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![warn(missing_docs, unreachable_pub)]

mod beyond;
#[cfg(target_arch = "bpf")]
mod context;
mod extensions;

#[cfg(target_arch = "bpf")]
pub use context::Context;
pub use extensions::{Far, Header, Upper};

use beyond::{beyond, beyond_words};

/// `IPPROTO_ICMP`.
pub const ICMP: u8 = 1;
/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;
/// `IPPROTO_ICMPV6`.
pub const ICMPV6: u8 = 58;

/// IPv6 extension headers that are read over. A packet has one of each kind, and destination
/// options twice, if it is sent as RFC 8200 recommends; there are seven kinds.
pub const EXTENSIONS_MAX: usize = 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const ETHERNET_BYTES: usize = 14;
const VLAN_TAG_BYTES: usize = 4;
const ONE_TAG_BYTES: usize = ETHERNET_BYTES + VLAN_TAG_BYTES;
const TWO_TAGS_BYTES: usize = ONE_TAG_BYTES + VLAN_TAG_BYTES;
const IPV4_BYTES_MIN: usize = 20;
const IPV6_BYTES: usize = 40;
/// Where TCP and UDP have their ports.
const PORTS_BYTES: usize = 4;

/// A frame in memory, from its Ethernet header on.
#[derive(Clone, Copy)]
pub struct Packet<F> {
    start: usize,
    end: usize,
    far: F,
}

/// What follows the Ethernet header and its tags.
pub enum Network {
    /// ARP.
    Arp,
    /// IPv4; `None` if the header is cut short or says what no header can.
    Ipv4(Option<Ip<u32>>),
    /// IPv6; `None` likewise.
    Ipv6(Option<Ip<[u64; 2]>>),
    /// More than two VLAN tags: it may be anything.
    Deeper,
    /// Any other protocol, or no whole Ethernet header or tag.
    Other,
}

/// What is asked of an IP header.
pub struct Ip<A> {
    /// The source address as a number, or two.
    pub source: A,
    /// The protocol of the payload; behind IPv6 extension headers, the last one's. If that could
    /// not be read, the number of the header that could not.
    pub protocol: u8,
    /// TCP's or UDP's.
    destination_port: PortWord,
}

/// A destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Is(u16),
    /// There is none: another protocol than TCP or UDP, or a fragment other than the first.
    None,
    /// There should be one, or might, and it can't be read.
    Unread,
}

/// A [`Port`] in one register: what needs two goes to the stack, and there Linux 6.1 lets such a number take no pointer's
/// place.
#[derive(Clone, Copy)]
struct PortWord(u32);

/// What follows the Ethernet header and its tags.
struct Frame {
    ethertype: u16,
    /// Where it begins.
    at: usize,
    /// The same as an offset in the packet.
    offset: usize,
}

impl<F: Far> Packet<F> {
    /// The packet from `start` up to `end`.
    ///
    /// # Safety
    /// Bytes from `start` to `end` must be readable for as long as the packet is used: they are an
    /// XDP context's `data` and `data_end`, or the ends of a slice.
    #[inline(always)]
    pub const unsafe fn new(start: usize, end: usize, far: F) -> Self {
        Self { start, end, far }
    }

    /// `N` bytes at a place behind the packet's start, or `None` if the packet ends before.
    #[inline(always)]
    fn near<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
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
        let Some(frame) = self.frame() else {
            return Network::Other;
        };
        match frame.ethertype {
            ETHERTYPE_ARP => Network::Arp,
            ETHERTYPE_IPV4 => Network::Ipv4(self.ipv4(&frame)),
            ETHERTYPE_IPV6 => Network::Ipv6(self.ipv6(&frame)),
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => Network::Deeper,
            _ => Network::Other,
        }
    }

    /// What follows up to two tags; `None` if the header or a tag is cut short.
    #[inline(always)]
    fn frame(&self) -> Option<Frame> {
        let [.., high, low] = self.near::<ETHERNET_BYTES>(self.start)?;
        let ethertype = u16::from_be_bytes([*high, *low]);
        let at = beyond::<ETHERNET_BYTES>(self.start);
        if !is_tag(ethertype) {
            return Some(Frame {
                ethertype,
                at,
                offset: ETHERNET_BYTES,
            });
        }
        let [_, _, high, low] = self.near::<VLAN_TAG_BYTES>(at)?;
        let ethertype = u16::from_be_bytes([*high, *low]);
        let at = beyond::<VLAN_TAG_BYTES>(at);
        if !is_tag(ethertype) {
            return Some(Frame {
                ethertype,
                at,
                offset: ONE_TAG_BYTES,
            });
        }
        let [_, _, high, low] = self.near::<VLAN_TAG_BYTES>(at)?;
        Some(Frame {
            ethertype: u16::from_be_bytes([*high, *low]),
            at: beyond::<VLAN_TAG_BYTES>(at),
            offset: TWO_TAGS_BYTES,
        })
    }

    #[inline(always)]
    fn ipv4(&self, frame: &Frame) -> Option<Ip<u32>> {
        let header = self.near::<IPV4_BYTES_MIN>(frame.at)?;
        let words = header[0] & 0x0f;
        if header[0] >> 4 != 4 || usize::from(words) * 4 < IPV4_BYTES_MIN {
            return None;
        }
        let payload = beyond_words(frame.at, words);
        // The options have to be there, to their last byte.
        if payload > self.end {
            return None;
        }
        let protocol = header[9];
        let is_middle = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        Some(Ip {
            source: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
            protocol,
            destination_port: if is_middle {
                PortWord::NONE
            } else {
                self.port(protocol, payload)
            },
        })
    }

    #[inline(always)]
    fn ipv6(&self, frame: &Frame) -> Option<Ip<[u64; 2]>> {
        let header = self.near::<IPV6_BYTES>(frame.at)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let payload = beyond::<IPV6_BYTES>(frame.at);
        let upper = match self.upper(header[6], payload) {
            Some(upper) => upper,
            None => self.far.upper(header[6], frame.offset + IPV6_BYTES),
        };
        let [_, _, _, _, _, _, _, _, source @ ..] = header;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *source;
        let source = [
            u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        ];
        Some(Ip {
            source,
            protocol: upper.protocol,
            destination_port: upper.destination_port,
        })
    }

    /// The destination port of TCP or UDP.
    #[inline(always)]
    pub fn destination_port<A>(&self, ip: &Ip<A>) -> Port {
        ip.destination_port.port()
    }

    /// The port at the beginning of such a protocol's header.
    #[inline(always)]
    fn port(&self, protocol: u8, at: usize) -> PortWord {
        if !has_ports(protocol) {
            return PortWord::NONE;
        }
        match self.near::<PORTS_BYTES>(at) {
            Some(ports) => PortWord::destination_of(ports),
            None => PortWord::UNREAD,
        }
    }
}

impl PortWord {
    const NONE: Self = Self(1 << 16);
    const UNREAD: Self = Self(2 << 16);

    #[inline(always)]
    const fn destination_of([_, _, high, low]: &[u8; PORTS_BYTES]) -> Self {
        Self(u16::from_be_bytes([*high, *low]) as u32)
    }

    #[inline(always)]
    const fn port(self) -> Port {
        match self.0 >> 16 {
            0 => Port::Is(self.0 as u16),
            1 => Port::None,
            _ => Port::Unread,
        }
    }
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}

#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP)
}

#[cfg(test)]
mod tests;
