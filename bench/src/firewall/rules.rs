//! Rule sets: prefixes spread over all addresses, none within another, since nftables' sets hold
//! no such; every other is a network of 256 addresses, the rest are single addresses.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A denied prefix.
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    pub(super) address: u32,
    pub(super) length: u32,
}

/// Numbers that look random and are the same in every run.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) const fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    /// The next one below a limit (Marsaglia's xorshift).
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(((self.0 >> 32) * u64::from(limit)) >> 32).unwrap_or_default()
    }
}

/// So many prefixes.
pub(super) fn prefixes(count: usize) -> Vec<Prefix> {
    // An odd number below a power of two meets every number below it once.
    const STRIDE: u32 = 0x009e_3779;
    let mut numbers = Numbers::new();
    (0_u32..)
        .take(count)
        .map(|index| {
            let network = index.wrapping_mul(STRIDE) << 8;
            if index % 2 == 0 {
                Prefix {
                    address: network,
                    length: 24,
                }
            } else {
                Prefix {
                    address: network | numbers.below(256),
                    length: 32,
                }
            }
        })
        .collect()
}

/// Addresses that packets come from: every other one is in a prefix.
pub(super) fn sources(prefixes: &[Prefix], count: usize) -> Vec<Ipv4Addr> {
    let mut numbers = Numbers::new();
    let limit = u32::try_from(prefixes.len()).unwrap_or(u32::MAX);
    (0..count)
        .map(|index| {
            if index % 2 == 0 {
                let prefix = prefixes[numbers.below(limit) as usize];
                let within = numbers.below(u32::MAX).checked_shr(prefix.length);
                Ipv4Addr::from_bits(prefix.address | within.unwrap_or(0))
            } else {
                Ipv4Addr::from_bits(numbers.below(u32::MAX))
            }
        })
        .collect()
}

/// As the firewall's rules file.
pub(super) fn file(prefixes: &[Prefix]) -> String {
    let mut text = String::new();
    for prefix in prefixes {
        let _ = writeln!(text, "deny {prefix}");
    }
    text
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.address), self.length)
    }
}
