//! What the kernel knows of an interface: its addresses.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;
use shell::Failure;
use xsk_echo::{Address, Mac};

use crate::netns;

/// An interface's addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// `None` if it isn't an Ethernet interface.
    pub(crate) mac: Option<Mac>,
    /// Its own IP addresses.
    pub(crate) addresses: Vec<Address>,
}

impl Local {
    /// The addresses of an interface in this namespace, or in the one that the process runs in.
    pub(crate) fn of(interface: &str, netns: Option<&str>) -> Result<Self, Failure> {
        let found = netns::inside(netns, || Self::here(interface)).flatten();
        found.map_err(Failure::interface(format!("the addresses of {interface}")))
    }

    fn here(interface: &str) -> io::Result<Self> {
        let mut local = Self::default();
        let mut exists = false;
        for entry in getifaddrs()?.filter(|entry| entry.interface_name == interface) {
            exists = true;
            if let Some(mac) = mac(&entry) {
                local.mac = Some(mac);
            }
            local.addresses.extend(address(&entry));
        }
        if exists {
            Ok(local)
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such interface",
            ))
        }
    }
}

fn mac(entry: &InterfaceAddress) -> Option<Mac> {
    let bytes = entry.address.as_ref()?.as_link_addr()?.addr()?;
    Some(Mac(bytes)).filter(|mac| mac.is_one())
}

fn address(entry: &InterfaceAddress) -> Option<Address> {
    let ip = ip(entry.address.as_ref()?)?;
    let prefix = match ip_mask(entry.netmask.as_ref(), ip) {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    Address::new(ip, u8::try_from(prefix).ok()?).ok()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| it.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
}

/// The mask of the address's network; of a network of one address, if there is none.
fn ip_mask(mask: Option<&SockaddrStorage>, address: IpAddr) -> IpAddr {
    mask.and_then(ip).unwrap_or(match address {
        IpAddr::V4(_) => [0xff; 4].into(),
        IpAddr::V6(_) => [0xff; 16].into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_nothing_that_others_could_ask_for() {
        assert_eq!(Local::of("lo", None).unwrap(), Local::default());
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named() {
        let failure = Local::of("no-such-one", None).unwrap_err();
        assert_eq!(failure.to_string(), "the addresses of no-such-one");
    }
}
