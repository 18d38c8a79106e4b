//! Packet headers, read so that the BPF verifier can follow, also one that keeps its loader from
//! reading the kernel's memory (no `CAP_PERFMON`).
//!
//! Such a verifier takes no pointer with a number added that is only known when the program runs. So
//! what has a fixed place is read where it lies, after a comparison with the packet's end; what lies
//! behind IPv4 options or IPv6 extension headers is copied by a helper ([`Far`]), which
//! takes longer. Everything is inlined: the verifier forgets what it knows of packet pointers at some
//! calls.
//!
//! Bounds: two VLAN tags, and [`EXTENSIONS_MAX`] IPv6 extension headers. What lies behind more is
//! not read, and is told apart from what isn't there.
#![no_std]
#![warn(missing_docs, unreachable_pub)]

#[cfg(target_arch = "bpf")]
mod context;

#[cfg(target_arch = "bpf")]
pub use context::Context;

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

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

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

/// A frame in memory, from its Ethernet header on.
#[derive(Clone, Copy)]
pub struct Packet<F> {
    start: usize,
    end: usize,
    far: F,
}

/// Copies bytes out of a packet from wherever.
pub trait Far {
    /// `N` bytes at an offset, or `None` if the packet ends before.
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// [`next_header`], which the verifier had better see once only.
    #[inline(always)]
    fn next_header(&self, upper: Upper) -> Upper
    where
        Self: Sized,
    {
        next_header(self, upper)
    }
}

impl Far for &[u8] {
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// What an IP header says is behind it.
#[derive(Clone, Copy)]
pub struct Upper {
    /// A protocol, or an extension header's number.
    protocol: u8,
    /// Where it begins.
    offset: usize,
    /// What is there.
    begins: Payload,
}

impl Upper {
    /// As a word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.protocol as u64 | (self.begins as u64) << 8 | (self.offset as u64) << 32
    }

    /// From a word.
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        Self {
            protocol: word as u8,
            offset: (word >> 32) as usize,
            begins: match word >> 8 & 3 {
                0 => Payload::Whole,
                1 => Payload::Middle,
                _ => Payload::Unread,
            },
        }
    }
}

/// Goes on to what follows an IPv6 extension header, if that can be read.
#[inline(always)]
pub fn next_header(packet: &impl Far, upper: Upper) -> Upper {
    // Every extension header has at least 8 bytes.
    let Some(header) = packet.copy::<8>(upper.offset) else {
        return Upper {
            begins: Payload::Unread,
            ..upper
        };
    };
    let length = usize::from(header[1]);
    let bytes = match upper.protocol {
        FRAGMENT => 8,
        AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    };
    let is_middle =
        upper.protocol == FRAGMENT && u16::from_be_bytes([header[2], header[3]]) >> 3 != 0;
    Upper {
        protocol: header[0],
        offset: if is_middle {
            upper.offset
        } else {
            upper.offset + bytes
        },
        begins: if is_middle {
            Payload::Middle
        } else {
            Payload::Whole
        },
    }
}

/// Goes on to what follows all IPv6 extension headers, as far as that can be read.
#[inline(always)]
fn last_header(packet: &impl Far, mut upper: Upper) -> Upper {
    for _ in 0..EXTENSIONS_MAX {
        if upper.begins != Payload::Whole || !is_extension(upper.protocol) {
            return upper;
        }
        upper = packet.next_header(upper);
    }
    if upper.begins == Payload::Whole && is_extension(upper.protocol) {
        upper.begins = Payload::Unread;
    }
    upper
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
    /// Offset of the payload in the packet.
    pub payload: usize,
    /// What is at that offset.
    pub begins: Payload,
}

/// What is where a payload should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The protocol's header.
    Whole,
    /// The middle of it: this is a fragment other than the first.
    Middle,
    /// Unknown: extension headers are cut short or too many.
    Unread,
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

/// A kind of address.
pub trait Address {
    /// Bytes of a header without options.
    const HEADER_BYTES: usize;
}

impl Address for u32 {
    const HEADER_BYTES: usize = IPV4_BYTES_MIN;
}

impl Address for [u64; 2] {
    const HEADER_BYTES: usize = IPV6_BYTES;
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

    /// `N` bytes where they lie, or `None` if the packet ends before.
    #[inline(always)]
    fn near<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
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
        let Some([.., high, low]) = self.near::<ETHERNET_BYTES>(0) else {
            return Network::Other;
        };
        match u16::from_be_bytes([*high, *low]) {
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => {}
            ethertype => return self.untagged(ethertype, ETHERNET_BYTES),
        }
        let Some([_, _, high, low]) = self.near::<VLAN_TAG_BYTES>(ETHERNET_BYTES) else {
            return Network::Other;
        };
        match u16::from_be_bytes([*high, *low]) {
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => {}
            ethertype => return self.untagged(ethertype, ONE_TAG_BYTES),
        }
        let Some([_, _, high, low]) = self.near::<VLAN_TAG_BYTES>(ONE_TAG_BYTES) else {
            return Network::Other;
        };
        match u16::from_be_bytes([*high, *low]) {
            ETHERTYPE_VLAN | ETHERTYPE_QINQ => Network::Deeper,
            ethertype => self.untagged(ethertype, TWO_TAGS_BYTES),
        }
    }

    /// The network header at an offset that is known when this is compiled.
    #[inline(always)]
    fn untagged(&self, ethertype: u16, offset: usize) -> Network {
        match ethertype {
            ETHERTYPE_ARP => Network::Arp,
            ETHERTYPE_IPV4 => Network::Ipv4(match self.near(offset) {
                Some(header) => self.ipv4(offset, header),
                None => None,
            }),
            ETHERTYPE_IPV6 => Network::Ipv6(match self.near(offset) {
                Some(header) => self.ipv6(offset, header),
                None => None,
            }),
            _ => Network::Other,
        }
    }

    #[inline(always)]
    fn ipv4(&self, offset: usize, header: &[u8; IPV4_BYTES_MIN]) -> Option<Ip<u32>> {
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || header_bytes < IPV4_BYTES_MIN {
            return None;
        }
        let mut payload = offset + IPV4_BYTES_MIN;
        if header_bytes > IPV4_BYTES_MIN {
            payload = offset + header_bytes;
            // The options have to be there, to their last byte.
            self.far.copy::<1>(payload - 1)?;
        }
        let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        Some(Ip {
            source: u32::from_be_bytes([header[12], header[13], header[14], header[15]]),
            protocol: header[9],
            payload,
            begins: if fragment_offset == 0 {
                Payload::Whole
            } else {
                Payload::Middle
            },
        })
    }

    #[inline(always)]
    fn ipv6(&self, offset: usize, header: &[u8; IPV6_BYTES]) -> Option<Ip<[u64; 2]>> {
        if header[0] >> 4 != 6 {
            return None;
        }
        let [_, _, _, _, _, _, protocol, _, source @ ..] = header;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *source;
        let mut upper = Upper {
            protocol: *protocol,
            offset: offset + IPV6_BYTES,
            begins: Payload::Whole,
        };
        if is_extension(upper.protocol) {
            upper = last_header(&self.far, upper);
        }
        Some(Ip {
            source: [
                u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            ],
            protocol: upper.protocol,
            payload: upper.offset,
            begins: upper.begins,
        })
    }

    /// The destination port of TCP or UDP.
    #[inline(always)]
    pub fn destination_port<A: Address>(&self, ip: &Ip<A>) -> Port {
        match ip.begins {
            Payload::Unread => return Port::Unread,
            Payload::Middle => return Port::None,
            Payload::Whole => {}
        }
        if ip.protocol != TCP && ip.protocol != UDP {
            return Port::None;
        }
        let ports = match ip.payload - A::HEADER_BYTES {
            ETHERNET_BYTES => self.near(ETHERNET_BYTES + A::HEADER_BYTES).copied(),
            ONE_TAG_BYTES => self.near(ONE_TAG_BYTES + A::HEADER_BYTES).copied(),
            TWO_TAGS_BYTES => self.near(TWO_TAGS_BYTES + A::HEADER_BYTES).copied(),
            _ => self.far.copy(ip.payload),
        };
        let ports: Option<[u8; 4]> = ports;
        match ports {
            Some(ports) => Port::Is(u16::from_be_bytes([ports[2], ports[3]])),
            None => Port::Unread,
        }
    }
}

/// Whether an IPv6 header of this number has another header behind it.
#[inline(always)]
const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}

#[cfg(test)]
mod tests;
