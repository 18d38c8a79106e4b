//! Which rule decides: the longest prefix with something to say, then its narrowest service.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use firewall_abi::{Action, SERVICES_MAX, SOURCES_MAX, Service, Source};
use headers::{Ip, Packet};

/// `BPF_F_NO_PREALLOC`: room for many services that takes no memory until they are there.
const NO_PREALLOC: usize = aya_ebpf::bindings::BPF_F_NO_PREALLOC as usize;

#[btf_map]
static SOURCES4: LpmTrie<[u8; 4], Source, SOURCES_MAX> = LpmTrie::new();

#[btf_map]
static SOURCES6: LpmTrie<[u8; 16], Source, SOURCES_MAX> = LpmTrie::new();

#[btf_map]
static SERVICES: HashMap<Service, u32, SERVICES_MAX, NO_PREALLOC> = HashMap::new();

#[btf_map]
static DEFAULT: Array<u32, 1> = Array::new();

/// The action for an IPv4 packet.
#[inline(always)]
pub(crate) fn judge_ipv4(packet: &Packet, ip: &Ip<4>) -> u32 {
    judge(&SOURCES4, packet, ip)
}

/// The action for an IPv6 packet.
#[inline(always)]
pub(crate) fn judge_ipv6(packet: &Packet, ip: &Ip<16>) -> u32 {
    judge(&SOURCES6, packet, ip)
}

/// The action where no rule matches.
#[inline(always)]
pub(crate) fn default_action() -> u32 {
    DEFAULT.get(0).copied().unwrap_or(Action::Undecided.value())
}

/// Asks prefix after prefix, longest first. Each round is for shorter prefixes than the one before,
/// so there are at most one more than the address has bits; nearly always there is one.
#[inline(always)]
fn judge<const N: usize>(
    sources: &LpmTrie<[u8; N], Source, SOURCES_MAX>,
    packet: &Packet,
    ip: &Ip<N>,
) -> u32 {
    let port = packet.destination_port(ip);
    let mut key = Key::new(8 * N as u32, ip.source);
    for _ in 0..=8 * N {
        let Some(source) = sources.get(&key) else {
            break;
        };
        if source.has_services != 0 {
            let action = service_action(source.id, ip.protocol, port);
            if action != Action::Undecided.value() {
                return action;
            }
        }
        if source.action != Action::Undecided.value() {
            return source.action;
        }
        if source.prefix_length == 0 {
            break;
        }
        key.prefix_len = source.prefix_length - 1;
    }
    default_action()
}

#[inline(always)]
fn service_action(source: u32, protocol: u8, port: Option<u16>) -> u32 {
    if let Some(port) = port {
        let action = lookup(Service {
            source,
            port,
            protocol,
            any_port: 0,
        });
        if action != Action::Undecided.value() {
            return action;
        }
    }
    lookup(Service {
        source,
        port: 0,
        protocol,
        any_port: 1,
    })
}

#[inline(always)]
fn lookup(service: Service) -> u32 {
    // SAFETY: a u32 is read whole, whatever user space does to the entry.
    unsafe { SERVICES.get(service) }
        .copied()
        .unwrap_or(Action::Undecided.value())
}
