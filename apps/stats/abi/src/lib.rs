//! What the stats program and its user-space side agree on.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

/// The program's function in its object, and its name in the kernel.
pub const PROGRAM: &str = "stats";
/// The per-CPU array of [`Traffic`], indexed by [`Protocol`].
pub const PROTOCOLS_MAP: &str = "PROTOCOLS";

/// What packets are told apart by. A header that is cut short counts for its family's `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Protocol {
    /// ARP.
    Arp = 0,
    /// ICMP over IPv4.
    Ipv4Icmp = 1,
    /// TCP over IPv4.
    Ipv4Tcp = 2,
    /// UDP over IPv4.
    Ipv4Udp = 3,
    /// Anything else over IPv4.
    Ipv4Other = 4,
    /// ICMPv6.
    Ipv6Icmp = 5,
    /// TCP over IPv6.
    Ipv6Tcp = 6,
    /// UDP over IPv6.
    Ipv6Udp = 7,
    /// Anything else over IPv6, extension headers among it.
    Ipv6Other = 8,
    /// Every other ethertype.
    Other = 9,
}

impl Protocol {
    /// Every protocol, in the order of the map.
    pub const ALL: [Self; 10] = [
        Self::Arp,
        Self::Ipv4Icmp,
        Self::Ipv4Tcp,
        Self::Ipv4Udp,
        Self::Ipv4Other,
        Self::Ipv6Icmp,
        Self::Ipv6Tcp,
        Self::Ipv6Udp,
        Self::Ipv6Other,
        Self::Other,
    ];

    /// The protocol's word in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Ipv4Icmp => "ipv4-icmp",
            Self::Ipv4Tcp => "ipv4-tcp",
            Self::Ipv4Udp => "ipv4-udp",
            Self::Ipv4Other => "ipv4-other",
            Self::Ipv6Icmp => "ipv6-icmp",
            Self::Ipv6Tcp => "ipv6-tcp",
            Self::Ipv6Udp => "ipv6-udp",
            Self::Ipv6Other => "ipv6-other",
            Self::Other => "other",
        }
    }
}

/// One CPU's share of a protocol's traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Traffic {
    /// Packets seen.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Traffic>() == 16);
