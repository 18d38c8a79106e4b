//! What rules are, and what they say together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use firewall_abi::Action;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

/// Addresses that begin with the same bits. Prefixes sort by what they begin with, so that those
/// within a prefix follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    family: Family,
    /// The address from the top bit on, whatever the family; zero behind the prefix.
    bits: u128,
    length: u8,
}

/// What of a source's packets a rule is about. The later, the narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Everything,
    Protocol(u8),
    Port { protocol: u8, port: u16 },
}

/// What a rule is about. There is one rule for each, so it names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    /// `None` for any source of either family.
    pub(crate) source: Option<Prefix>,
    pub(crate) service: Service,
}

/// What the program goes by: a rule for any source is one for each family here.
pub(crate) type Entries = BTreeMap<(Prefix, Service), Action>;

/// A whole rules file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) rules: BTreeMap<Subject, Action>,
    pub(crate) default: Action,
}

impl Family {
    pub(crate) const fn address_bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl Prefix {
    /// Every source, family by family.
    pub(crate) const ANY: [Self; 2] = [
        Self {
            family: Family::Ipv4,
            bits: 0,
            length: 0,
        },
        Self {
            family: Family::Ipv6,
            bits: 0,
            length: 0,
        },
    ];

    /// The prefix of this length that the address is in. A length above the family's is its
    /// longest.
    pub(crate) fn around(address: IpAddr, length: u8) -> Self {
        let (family, bits) = match address {
            IpAddr::V4(address) => (Family::Ipv4, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (Family::Ipv6, address.to_bits()),
        };
        let length = length.min(family.address_bits());
        Self {
            family,
            bits: bits & mask(length),
            length,
        }
    }

    pub(crate) const fn family(self) -> Family {
        self.family
    }

    pub(crate) const fn length(self) -> u8 {
        self.length
    }

    /// The address's bytes; an IPv4 address is in the first four.
    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.bits.to_be_bytes()
    }

    /// An IPv4 address's bytes.
    pub(crate) const fn ipv4_bytes(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.bytes();
        [a, b, c, d]
    }

    /// Whether all of the other's addresses are in this one.
    #[cfg(test)]
    pub(crate) fn contains(self, other: Self) -> bool {
        self.family == other.family
            && self.length <= other.length
            && self.bits == other.bits & mask(self.length)
    }

    /// Whether this is its first address.
    pub(crate) fn begins_at(self, address: IpAddr) -> bool {
        self.bits == Self::around(address, u8::MAX).bits
    }

    /// The last prefix that this one contains.
    pub(crate) fn last(self) -> Self {
        Self {
            bits: self.bits | !mask(self.length),
            length: self.family.address_bits(),
            ..self
        }
    }
}

/// The bits that belong to a prefix of this length.
fn mask(length: u8) -> u128 {
    !u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: IpAddr = match self.family {
            Family::Ipv4 => Ipv4Addr::from(self.ipv4_bytes()).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(self.bits).into(),
        };
        write!(f, "{address}/{}", self.length)
    }
}

impl Service {
    /// Rules of one prefix and equal narrowness are never about the same packet.
    pub(crate) const fn narrowness(self) -> u8 {
        match self {
            Self::Everything => 0,
            Self::Protocol(_) => 1,
            Self::Port { .. } => 2,
        }
    }
}

impl Subject {
    /// The prefixes that the program knows it by.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> + use<> {
        let either = self.source.map_or(Prefix::ANY, |prefix| [prefix; 2]);
        let count = if self.source.is_some() { 1 } else { 2 };
        either.into_iter().take(count)
    }
}

/// No rules yet: everything passes.
impl Default for Policy {
    fn default() -> Self {
        Self {
            rules: BTreeMap::new(),
            default: Action::Allow,
        }
    }
}

impl Policy {
    /// What the program goes by.
    pub(crate) fn entries(&self) -> Entries {
        let mut entries = Entries::new();
        for (subject, action) in &self.rules {
            for prefix in subject.prefixes() {
                entries.insert((prefix, subject.service), *action);
            }
        }
        entries
    }

    /// How many rules this policy has that the other has not. A rule whose action differs is
    /// another rule.
    pub(crate) fn rules_not_in(&self, other: &Self) -> usize {
        self.rules
            .iter()
            .filter(|(subject, action)| other.rules.get(subject) != Some(action))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix::around(address.parse().unwrap(), length)
    }

    #[test]
    fn a_prefix_contains_what_begins_like_it() {
        let wide = prefix("10.0.0.0", 8);
        let narrow = prefix("10.1.2.3", 32);
        assert!(wide.contains(narrow) && wide.contains(wide));
        assert!(!narrow.contains(wide));
        assert!(!wide.contains(prefix("11.0.0.0", 8)));
        assert!(!wide.contains(prefix("a00::", 16)), "another family");
        assert!(Prefix::ANY[1].contains(prefix("2001:db8::1", 128)));
        assert!(!Prefix::ANY[0].contains(prefix("2001:db8::1", 128)));
        assert!(wide < narrow && narrow < wide.last());
    }

    #[test]
    fn prefixes_read_as_they_are_written() {
        assert_eq!(prefix("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(prefix("2001:db8:1::1", 32).to_string(), "2001:db8::/32");
        assert_eq!(Prefix::ANY[0].to_string(), "0.0.0.0/0");
    }
}
