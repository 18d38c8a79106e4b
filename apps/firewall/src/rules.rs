//! What rules are, and what they say together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use firewall_abi::{Action, Family, Key, Service};

/// Protocols that have names. Every other has a number.
pub(crate) const PROTOCOLS: [(&str, u8); 4] =
    [("icmp", 1), ("tcp", TCP), ("udp", UDP), ("icmpv6", 58)];
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// Addresses that begin with the same bits. Prefixes sort by what they begin with, so that those
/// within a prefix follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    family: Family,
    /// The address from the top bit on, whatever the family; zero behind the prefix.
    bits: u128,
    length: u8,
}

/// What a rule is about. There is one rule for each, so it names the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    /// `None` for any source of either family.
    pub(crate) source: Option<Prefix>,
    pub(crate) service: Service,
}

/// A whole rules file. No two rules are about the same packets and equally narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) rules: BTreeMap<Subject, Action>,
    pub(crate) default: Action,
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

    /// The first and the last 64 bits, those of an IPv4 address first.
    #[expect(clippy::cast_possible_truncation, reason = "it is cut in two")]
    pub(crate) const fn halves(self) -> (u64, u64) {
        ((self.bits >> 64) as u64, self.bits as u64)
    }

    /// An IPv4 address as a number.
    pub(crate) const fn ipv4_bits(self) -> u32 {
        let [a, b, c, d, ..] = self.bits.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// What the program's table knows a service from here by.
    pub(crate) const fn key(self, service: Service) -> Key {
        let (high, low) = self.halves();
        Key::new(self.family, high, low, self.length, service)
    }

    /// Its first address.
    pub(crate) fn address(self) -> IpAddr {
        match self.family {
            Family::Ipv4 => Ipv4Addr::from_bits(self.ipv4_bits()).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(self.bits).into(),
        }
    }

    /// Whether it is one address.
    pub(crate) const fn is_address(self) -> bool {
        self.length == self.family.address_bits()
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
}

/// The bits that belong to a prefix of this length.
fn mask(length: u8) -> u128 {
    !u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

impl Subject {
    /// The prefixes that the program knows it by: a rule for any source has one for each family.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> + use<> {
        let either = self.source.map_or(Prefix::ANY, |prefix| [prefix; 2]);
        either.into_iter().take(self.entries())
    }

    /// How many these are.
    pub(crate) fn entries(&self) -> usize {
        if self.source.is_some() { 1 } else { 2 }
    }

    /// Those of other rules that are about some of the same packets and equally narrow.
    pub(crate) fn likes(&self) -> impl Iterator<Item = Self> + use<> {
        let service = self.service;
        let sources = match self.source {
            None => Prefix::ANY.map(Some),
            Some(prefix) if prefix.length == 0 => [None; 2],
            Some(_) => [self.source; 2],
        };
        let own = self.source;
        let sources = sources.into_iter().filter(move |it| *it != own);
        sources.map(move |source| Self { source, service })
    }

    /// Whether it is about a protocol or a port.
    pub(crate) fn names_service(&self) -> bool {
        self.service != Service::Everything
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
    /// Puts a rule, in place of the one for the same packets. One for any source takes the place of
    /// those for `0.0.0.0/0` and `::/0` as well. Fails if one of those says the opposite.
    pub(crate) fn put(&mut self, subject: Subject, action: Action) -> Result<(), Rule> {
        let mut covered = false;
        for other in subject.likes() {
            match self.rules.get(&other) {
                Some(said) if *said != action => return Err(Rule(other, *said)),
                Some(_) if subject.source.is_none() => {
                    self.rules.remove(&other);
                }
                Some(_) => covered = true,
                None => {}
            }
        }
        if !covered {
            self.rules.insert(subject, action);
        }
        Ok(())
    }

    /// How many entries the program's table has for it.
    pub fn entries(&self) -> usize {
        self.rules.keys().map(Subject::entries).sum()
    }
}

/// A rule as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule(pub(crate) Subject, pub(crate) Action);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(subject, action) = self;
        write!(f, "{} {subject}", word(*action))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            None => f.write_str("any")?,
            Some(prefix) if prefix.is_address() => write!(f, "{}", prefix.address())?,
            Some(prefix) => write!(f, "{prefix}")?,
        }
        let (protocol, port) = match self.service {
            Service::Everything => return Ok(()),
            Service::Protocol(protocol) => (protocol, None),
            Service::Port { protocol, port } => (protocol, Some(port)),
        };
        match PROTOCOLS.iter().find(|(_, number)| *number == protocol) {
            Some((name, _)) => write!(f, " {name}")?,
            None => write!(f, " protocol {protocol}")?,
        }
        match port {
            Some(port) => write!(f, " port {port}"),
            None => Ok(()),
        }
    }
}

/// An action as it is written.
pub(crate) const fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
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
        assert!(wide < narrow);
    }

    #[test]
    fn prefixes_read_as_they_are_written() {
        assert_eq!(prefix("10.1.2.3", 8).to_string(), "10.0.0.0/8");
        assert_eq!(prefix("2001:db8:1::1", 32).to_string(), "2001:db8::/32");
        assert_eq!(Prefix::ANY[0].to_string(), "0.0.0.0/0");
    }
}
