//! Who we are, and whom we answer.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    prefix: u8,
}

/// What we are called: nothing else is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    mac: Mac,
    v4: Vec<Ipv4>,
    v6: Vec<Ipv6Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ipv4 {
    own: Ipv4Addr,
    /// The address that all hosts of its network hear.
    broadcast: Option<Ipv4Addr>,
}

/// Why a text is no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// It doesn't look like one.
    #[error(transparent)]
    Ip(#[from] AddrParseError),
    /// What follows the slash is no number of bits that it has.
    #[error("{bits} is not a prefix length of this address")]
    Prefix {
        /// What follows the slash.
        bits: String,
    },
    /// No interface can have it for its own.
    #[error("no interface has this address for its own")]
    NotAHost,
    /// It isn't six numbers of two hexadecimal digits with colons between them.
    #[error("expected an Ethernet address, such as 02:00:00:00:00:01")]
    Mac,
    /// It is no single interface's.
    #[error("no single interface has this Ethernet address")]
    GroupMac,
}

impl Mac {
    /// Whether it is one interface's: not a group's, and not "nobody's".
    pub fn is_one(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl Address {
    /// An interface's own address.
    pub fn new(ip: IpAddr, prefix: u8) -> Result<Self, NotAnAddress> {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(NotAnAddress::Prefix {
                bits: prefix.to_string(),
            });
        }
        let is_host = match ip {
            IpAddr::V4(ip) => is_host4(ip),
            IpAddr::V6(ip) => is_host6(ip),
        };
        if is_host {
            Ok(Self { ip, prefix })
        } else {
            Err(NotAnAddress::NotAHost)
        }
    }
}

impl Addresses {
    /// These.
    pub fn new(mac: Mac, addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut own = Self {
            mac,
            v4: Vec::new(),
            v6: Vec::new(),
        };
        for Address { ip, prefix } in addresses {
            match ip {
                IpAddr::V4(ip) => own.v4.push(Ipv4::new(ip, prefix)),
                IpAddr::V6(ip) => own.v6.push(ip),
            }
        }
        own
    }

    /// The Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether this is one of ours.
    pub(crate) fn has4(&self, ip: Ipv4Addr) -> bool {
        self.v4.iter().any(|it| it.own == ip)
    }

    /// Whether this is one of ours.
    pub(crate) fn has6(&self, ip: Ipv6Addr) -> bool {
        self.v6.contains(&ip)
    }

    /// Whether another single host may have this address.
    pub(crate) fn may_answer4(&self, ip: Ipv4Addr) -> bool {
        is_host4(ip)
            && !self
                .v4
                .iter()
                .any(|it| it.own == ip || it.broadcast == Some(ip))
    }

    /// Whether another single host may have this address.
    pub(crate) fn may_answer6(&self, ip: Ipv6Addr) -> bool {
        is_host6(ip) && !self.has6(ip)
    }
}

impl Ipv4 {
    fn new(own: Ipv4Addr, prefix: u8) -> Self {
        // A network of one or two addresses has no broadcast address (RFC 3021).
        let broadcast = (prefix < 31).then(|| own | Ipv4Addr::from_bits(u32::MAX >> prefix));
        Self { own, broadcast }
    }
}

/// Whether a host on a network can have it. What is not assigned yet (240.0.0.0/4) counts.
fn is_host4(ip: Ipv4Addr) -> bool {
    let nowhere = ip.octets()[0] == 0;
    !(nowhere || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
}

fn is_host6(ip: Ipv6Addr) -> bool {
    // IPv4 in IPv6 is for sockets, never on a network.
    let is_mapped = ip.to_ipv4_mapped().is_some();
    !(is_mapped || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse()?;
        let prefix = match bits {
            None if ip.is_ipv4() => 32,
            None => 128,
            Some(bits) => bits.parse().map_err(|_| NotAnAddress::Prefix {
                bits: bits.to_owned(),
            })?,
        };
        Self::new(ip, prefix)
    }
}

impl FromStr for Mac {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let mut bytes = [0; 6];
        let mut words = text.split(':');
        for byte in &mut bytes {
            let word = words.next().unwrap_or_default();
            let is_byte = word.len() == 2 && word.chars().all(|it| it.is_ascii_hexdigit());
            let parsed = u8::from_str_radix(word, 16).ok().filter(|_| is_byte);
            *byte = parsed.ok_or(NotAnAddress::Mac)?;
        }
        if words.next().is_some() {
            return Err(NotAnAddress::Mac);
        }
        let mac = Self(bytes);
        if mac.is_one() {
            Ok(mac)
        } else {
            Err(NotAnAddress::GroupMac)
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.into_iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Addresses {
        let addresses = ["192.0.2.9/24", "198.51.100.4/31", "2001:db8::9/64"];
        let mac = "02:00:00:00:00:01".parse().unwrap();
        Addresses::new(mac, addresses.map(|it| it.parse().unwrap()))
    }

    #[test]
    fn only_single_other_hosts_are_answered() {
        let own = own();
        for (ip, expected) in [
            ("192.0.2.1", true),
            ("203.0.113.255", true),
            ("198.51.100.5", true),
            ("192.0.2.255", false),
            ("192.0.2.9", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
        ] {
            assert_eq!(own.may_answer4(ip.parse().unwrap()), expected, "{ip}");
        }
        for (ip, expected) in [
            ("2001:db8::1", true),
            ("fe80::1", true),
            ("2001:db8::9", false),
            ("::", false),
            ("::1", false),
            ("ff02::1", false),
            ("::ffff:192.0.2.1", false),
        ] {
            assert_eq!(own.may_answer6(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn addresses_are_read_and_others_refused() {
        for right in ["192.0.2.9", "192.0.2.9/0", "2001:db8::9/128", "fe80::1"] {
            assert!(right.parse::<Address>().is_ok(), "{right}");
        }
        for wrong in [
            "192.0.2.9/33",
            "192.0.2.9/",
            "192.0.2.9/-1",
            "2001:db8::9/129",
            "224.0.0.1",
            "0.0.0.0",
            "::1",
            "eth0",
            "",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ethernet_addresses_are_read_and_others_refused() {
        let mac: Mac = "02:00:5e:10:0A:ff".parse().unwrap();
        assert_eq!(mac, Mac([2, 0, 0x5e, 0x10, 10, 255]));
        assert_eq!(mac.to_string(), "02:00:5e:10:0a:ff");
        for wrong in [
            "02:00:5e:10:0a",
            "02:00:5e:10:0a:ff:00",
            "2:0:5e:10:a:ff",
            "02-00-5e-10-0a-ff",
            "+2:00:5e:10:0a:ff",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
