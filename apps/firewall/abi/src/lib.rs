//! What the firewall program and its user-space side agree on.
//!
//! # Rules
//! A rule is an action for a source prefix, or any source, and a service: a protocol and a
//! destination port, a protocol, or everything.
//!
//! ```text
//! deny  10.0.0.0/8                 allow 192.0.2.0/24
//! deny  udp port 53                deny  10.1.0.0/16 tcp port 22
//! default allow
//! ```
//!
//! Of the rules that match a packet the one with the longest prefix decides; of those with equal
//! prefixes the one with the narrowest service: protocol and port, then protocol, then
//! everything. If none matches, the default decides. The order in a file has no meaning.
//!
//! # Maps
//! A prefix is a [`Source`] in [`SOURCES4_MAP`] or [`SOURCES6_MAP`]. It holds the action for
//! everything itself; actions for services are in [`SERVICES_MAP`] under the prefix's id. "Any
//! source" is the prefix of length 0 of each trie, with its own id. A prefix that says nothing of a
//! packet leaves it to the next shorter one: the program asks the trie again, for prefixes shorter
//! than the one it found.
//!
//! Each map is changed one rule at a time while packets flow. To add a service: first the service,
//! then the source with [`Source::has_services`]; to remove, the other way round.
//!
//! # What is judged
//! IPv4 and IPv6, behind up to two VLAN tags; ARP and everything else pass. Ports are those of TCP
//! and UDP; a fragment other than the first has none, so that only rules without a port match it.
//! IPv6 extension headers are not followed: the first one's number is the protocol. A header that
//! is cut short gets the default.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

/// The program's function in its object, and its name in the kernel.
pub const PROGRAM: &str = "firewall";
/// The trie of IPv4 prefixes: `u32` length and four bytes of address, to [`Source`].
pub const SOURCES4_MAP: &str = "SOURCES4";
/// The trie of IPv6 prefixes: `u32` length and 16 bytes of address, to [`Source`].
pub const SOURCES6_MAP: &str = "SOURCES6";
/// The hash from [`Service`] to its [`Action`], a `u32`.
pub const SERVICES_MAP: &str = "SERVICES";
/// The array whose only element is the default's [`Action`], a `u32`.
pub const DEFAULT_MAP: &str = "DEFAULT";
/// The per-CPU array of packet counts, `u64`, indexed by [`Outcome`].
pub const OUTCOMES_MAP: &str = "OUTCOMES";

/// Prefixes of one family that fit, unless the map is loaded with another size. An entry takes
/// memory only when it is there.
pub const SOURCES_MAX: usize = 256 * 1024;
/// Services that fit, unless the map is loaded with another size.
pub const SERVICES_MAX: usize = 64 * 1024;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Action {
    /// No rule: a shorter prefix or the default decides. As the default itself, it allows.
    #[default]
    Undecided = 0,
    /// XDP_PASS.
    Allow = 1,
    /// XDP_DROP.
    Deny = 2,
}

impl Action {
    /// The action's number in the maps.
    pub const fn value(self) -> u32 {
        self as u32
    }
}

/// What the rules say of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Source {
    /// Names the prefix in a [`Service`]. Unique among both tries: the two prefixes of length 0
    /// have one each.
    pub id: u32,
    /// The prefix's own length.
    pub prefix_length: u32,
    /// The [`Action`] for everything from here.
    pub action: u32,
    /// 1 if there are services for this prefix; 0 saves looking for them.
    pub has_services: u32,
}

/// A service of one prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Service {
    /// The [`Source::id`].
    pub source: u32,
    /// The destination port, in host byte order; 0 if `any_port`.
    pub port: u16,
    /// The IP protocol's number.
    pub protocol: u8,
    /// 1 for every port, and for protocols that have none.
    pub any_port: u8,
}

/// What packets are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Outcome {
    /// Allowed by a rule or the default.
    Allowed = 0,
    /// Denied by a rule or the default.
    Denied = 1,
    /// Cut short, and given to the default. Not counted as allowed or denied.
    Malformed = 2,
    /// Neither IPv4 nor IPv6: passed.
    NotIp = 3,
}

impl Outcome {
    /// Every outcome, in the order of the map.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Malformed, Self::NotIp];

    /// The outcome's word in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::NotIp => "not-ip",
        }
    }
}

const _: () = assert!(size_of::<Source>() == 16);
const _: () = assert!(size_of::<Service>() == 8);
