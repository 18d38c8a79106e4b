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
//! All rules are in one hash table, [`BUCKETS_MAP`]: a rule is one [`Entry`], a word that holds what
//! it is about, its id and its action, so that it comes, changes and goes with one store. For IPv4
//! rules for everything the word says all; for others it holds a part of the hash of their [`Key`],
//! which is in [`KEYS_MAP`] under the id. A rule for any source is two entries, one for each family.
//!
//! A packet asks for one prefix length after the other, longest first, but only for lengths that
//! there are: [`LENGTHS4_MAP`] and [`LENGTHS6_MAP`] say which, by the address's first bits.
//!
//! Buckets and lengths are there twice, in two halves. One of them is in force, which
//! [`Config::active`] says: a single rule is changed in that one, many are written to the other one
//! and come into force together. Both sides read and write the maps as memory.
//!
//! [`HITS_MAP`] counts the packets that each rule decided, by id.
//!
//! # What is judged
//! IPv4 and IPv6, behind up to two VLAN tags; ARP and everything else pass. Ports are those of TCP
//! and UDP. A packet that can't be read as far as the rules need is denied.
#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod entry;
mod judge;
mod key;
mod layout;
mod word;

pub use entry::{Action, DEFAULT_ID, Entry, IDS_FIRST, IDS_MAX, UNREADABLE_ID};
pub use judge::{Asked, Question, Tables, ask4, ask6, find, judge_unreadable, judge4, judge6};
pub use key::{Family, Key, Place, Service};
pub use layout::{
    Bucket, Config, ENTRIES_PER_BUCKET, HITS_PER_ELEMENT, Half, Header, HitsElement,
    LENGTHS4_LINES, LENGTHS6_SLOTS, Lengths4, Lengths6, REACH, Room, StoredKey, bit4, bit6,
    lengths4_slot, lengths6_slot, near4,
};
pub use word::Word;

/// The program's function in its object, and its name in the kernel.
pub const PROGRAM: &str = "firewall";
/// The array whose only element is the [`Config`].
pub const CONFIG_MAP: &str = "CONFIG";
/// The array of [`Bucket`]s, two halves one after the other.
pub const BUCKETS_MAP: &str = "BUCKETS";
/// The array of [`StoredKey`]s, by id.
pub const KEYS_MAP: &str = "KEYS";
/// The array of [`Lengths4`], two halves one after the other.
pub const LENGTHS4_MAP: &str = "LENGTHS4";
/// The array of [`Lengths6`], two halves one after the other.
pub const LENGTHS6_MAP: &str = "LENGTHS6";
/// The per-CPU array of packet counts, [`HITS_PER_ELEMENT`] in an element, by id.
pub const HITS_MAP: &str = "HITS";
/// The per-CPU array of packet counts, `u64`, indexed by [`Outcome`].
pub const OUTCOMES_MAP: &str = "OUTCOMES";

/// What packets are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Outcome {
    /// Allowed by a rule or the default.
    Allowed = 0,
    /// Denied by a rule or the default.
    Denied = 1,
    /// Could not be read as far as the rules need. Not counted as allowed or denied.
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
