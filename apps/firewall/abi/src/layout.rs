//! The maps' elements, as both sides have them in memory.
//!
//! User space changes them while packets are judged.

use crate::{Entry, Key, Word};

/// Entries in a bucket.
pub const ENTRIES_PER_BUCKET: usize = 7;
/// Buckets that an entry may be in, the first one included.
pub const REACH: u32 = 4;
/// Counts in an element of the hits' map: few elements are quickly made and read.
pub const HITS_PER_ELEMENT: u32 = 1024;
/// Elements of one half of the IPv4 lengths' map.
pub const LENGTHS4_LINES: u32 = 1 << 13;
/// Elements of one half of the IPv6 lengths' map.
pub const LENGTHS6_SLOTS: u32 = 1 << 14;

/// A cache line of entries.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Bucket {
    entries: [Word; ENTRIES_PER_BUCKET],
    /// How many buckets from here hold entries that begin to be looked for here, less one.
    reach: Word,
}

/// Which of its two halves a map's elements are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one that is in force at first.
    First,
    /// The other one.
    Second,
}

/// How a packet begins to be judged.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Config {
    /// 0 or 1: the half that is in force.
    pub active: Word,
    /// One for each half.
    pub headers: [Header; 2],
}

/// What is asked of a half once a packet. Of lengths, [`bit4`] and [`bit6`] say which bit means which.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Header {
    /// Its first bucket.
    pub first_bucket: Word,
    /// Buckets that an entry may begin to be looked for in.
    pub buckets: Word,
    /// For [`Key::place`].
    pub seed: Word,
    /// The [`Entry`] where no rule matches.
    pub default: Word,
    /// The [`Entry`] for packets whose source can't be read.
    pub unreadable_source: Word,
    /// The [`Entry`] for packets whose protocol or port can't be read, if rules ask for such.
    pub unreadable_service: Word,
    /// IPv4 lengths up to 15 with rules for everything.
    pub short4: Word,
    /// IPv4 lengths with rules for a protocol.
    pub protocols4: Word,
    /// IPv4 lengths with rules for a port.
    pub ports4: Word,
    /// IPv6 lengths up to 31 with rules for everything.
    pub short6: [Word; 3],
    /// IPv6 lengths with rules for a protocol.
    pub protocols6: [Word; 3],
    /// IPv6 lengths with rules for a port.
    pub ports6: [Word; 3],
}

/// For 8 neighbours, each of addresses that begin with the same 16 bits: the lengths from 16 on of
/// prefixes with rules for everything, as [`bit4`] says, and above those where longer ones than 16
/// are, as [`near4`] says.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Lengths4(pub [Word; 8]);

/// The lengths from 32 on of prefixes that begin with some 32 bits, with rules for everything.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Lengths6(pub [Word; 2]);

/// A [`Key`] in memory.
#[derive(Debug, Default)]
#[repr(C)]
pub struct StoredKey([Word; 3]);

/// Counts of as many ids.
pub type HitsElement = [u64; HITS_PER_ELEMENT as usize];

/// Elements that the maps need for so many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Ids and keys.
    pub entries: u32,
}

impl Room {
    /// What the object says, for those who load it with no other sizes.
    pub const OBJECT: Self = Self { entries: 64 * 1024 };

    /// Elements of the hits' map.
    pub const fn hits(self) -> u32 {
        self.entries.div_ceil(HITS_PER_ELEMENT)
    }

    /// Buckets of one half where entries may begin to be looked for: three entries for each.
    pub const fn buckets(self) -> u32 {
        self.entries.div_ceil(3)
    }

    /// Buckets of one half.
    pub const fn half(self) -> u32 {
        self.buckets() + REACH - 1
    }
}

impl Bucket {
    /// An entry, of [`ENTRIES_PER_BUCKET`].
    #[inline(always)]
    pub fn entry(&self, index: usize) -> Entry {
        Entry::of(self.entries[index].get())
    }

    /// Puts an entry in another's place.
    #[cfg(not(target_arch = "bpf"))]
    pub fn put(&self, index: usize, entry: Entry) {
        self.entries[index].set(entry.word());
    }

    /// How many more buckets have to be looked at.
    #[inline(always)]
    pub fn reach(&self) -> u32 {
        self.reach.get() as u32
    }

    /// Lets so many more buckets be looked at.
    #[cfg(not(target_arch = "bpf"))]
    pub fn set_reach(&self, reach: u32) {
        self.reach.set(reach.into());
    }
}

impl StoredKey {
    /// The key.
    #[inline(always)]
    pub fn get(&self) -> Key {
        let [high, low, rest] = &self.0;
        Key {
            high: high.get(),
            low: low.get(),
            rest: rest.get(),
        }
    }

    /// Sets the key, which nobody reads yet.
    #[cfg(not(target_arch = "bpf"))]
    pub fn set(&self, key: Key) {
        let [high, low, rest] = &self.0;
        high.set(key.high);
        low.set(key.low);
        rest.set(key.rest);
    }
}

impl Half {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// 0 or 1.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// The bit of an IPv4 prefix length: the longer, the lower.
#[inline(always)]
pub const fn bit4(length: u8) -> u32 {
    32 - length as u32
}

/// The word, of three, and in it the bit of an IPv6 prefix length: the longer, the lower.
#[inline(always)]
pub const fn bit6(length: u8) -> (usize, u32) {
    let from_longest = 128 - length as u32;
    ((from_longest / 64) as usize, from_longest % 64)
}

/// Where the lengths of an IPv4 address's neighbours are: the line, and the word in it.
#[inline(always)]
pub const fn lengths4_slot(address: u32) -> (u32, usize) {
    (address >> 19, (address >> 16 & 7) as usize)
}

/// The bit of the part of its neighbourhood that an IPv4 address is in, of 47 parts. If it is not
/// set, no prefix longer than 16 is there.
#[inline(always)]
pub const fn near4(address: u32) -> u32 {
    const FIRST: u32 = bit4(16) + 1;
    FIRST + (((address >> 8 & 0xff) * (64 - FIRST)) >> 8)
}

/// The element of the lengths of an IPv6 address's neighbours. Those of other addresses may be the
/// same.
#[inline(always)]
pub const fn lengths6_slot(high: u64) -> u32 {
    let spread = (high >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> 50) as u32
}

const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Lengths4>() == 64);
const _: () = assert!(size_of::<Lengths6>() == 16);
const _: () = assert!(size_of::<StoredKey>() == 24);
const _: () = assert!(size_of::<Header>() == 18 * 8);
const _: () = assert!(size_of::<Config>() == 37 * 8);
const _: () = assert!(1 << (64 - 50) == LENGTHS6_SLOTS);
