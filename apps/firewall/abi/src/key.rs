//! What an entry is about, and where in the table it is.

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    Ipv4 = 4,
    /// IPv6.
    Ipv6 = 6,
}

impl Family {
    /// Bits in an address.
    pub const fn address_bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

/// What of a source's packets a rule is about. The later, the narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// All of them.
    Everything,
    /// Those of an IP protocol.
    Protocol(u8),
    /// Those to a port.
    Port {
        /// TCP or UDP.
        protocol: u8,
        /// The destination port.
        port: u16,
    },
}

impl Service {
    #[inline(always)]
    const fn bits(self) -> u64 {
        match self {
            Self::Everything => 0,
            Self::Protocol(protocol) => 1 << 24 | (protocol as u64) << 16,
            Self::Port { protocol, port } => 2 << 24 | (protocol as u64) << 16 | port as u64,
        }
    }
}

/// A prefix and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The address's first 64 bits, those of an IPv4 address first; zero behind the prefix.
    pub high: u64,
    /// The rest of an IPv6 address.
    pub low: u64,
    /// Port, protocol, kind of service, prefix length and family, from the lowest bit.
    pub rest: u64,
}

/// Where a key's entry is, and how it is known there.
///
/// The tag of an IPv4 rule for everything is its address and prefix length, which is all of its
/// key. Any other tag is a part of the key's hash, so that the key itself has to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Uniform over the numbers of 32 bits.
    pub hash: u32,
    /// The entry's tag, 38 bits.
    pub tag: u64,
}

/// In a tag, in place of the prefix length.
const HASHED: u64 = 63;

/// 2^64 divided by the golden ratio: multiplied by it, neighbours come to be far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key {
    /// A key. `high` and `low` hold zeros behind the prefix.
    #[inline(always)]
    pub const fn new(family: Family, high: u64, low: u64, length: u8, service: Service) -> Self {
        Self {
            high,
            low,
            rest: service.bits() | (length as u64) << 32 | (family as u64) << 40,
        }
    }

    /// Where it is in a table with this seed.
    #[inline(always)]
    pub const fn place(&self, seed: u64) -> Place {
        let plain = (Family::Ipv4 as u64) << 40;
        if self.rest & !(63 << 32) == plain {
            return Place::plain((self.high >> 32) as u32, (self.rest >> 32) as u8 & 63, seed);
        }
        let hash = mix(mix(mix(self.high ^ seed) ^ self.low) ^ self.rest).wrapping_mul(SPREAD);
        Place {
            hash: (hash >> 32) as u32,
            tag: (hash & 0xffff_ffff) << 6 | HASHED,
        }
    }
}

impl Place {
    /// Where an IPv4 rule for everything is.
    #[inline(always)]
    pub const fn plain(address: u32, length: u8, seed: u64) -> Self {
        let tag = (address as u64) << 6 | length as u64;
        Self {
            hash: (mix(tag ^ seed).wrapping_mul(SPREAD) >> 32) as u32,
            tag,
        }
    }

    /// The first of the buckets that it may be in, of this many.
    #[inline(always)]
    pub const fn bucket(self, buckets: u64) -> u32 {
        ((self.hash as u64 * buckets) >> 32) as u32
    }
}

#[inline(always)]
const fn mix(bits: u64) -> u64 {
    let product = bits.wrapping_mul(SPREAD);
    product ^ product >> 32
}
