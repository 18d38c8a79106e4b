//! XDP program: allow and deny by source prefix, protocol and port.
//!
//! The rules' meaning and the maps are described in `firewall_abi`.
#![no_std]
#![no_main]

mod rules;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::PerCpuArray,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use firewall_abi::{Action, Outcome};
use headers::{Network, Packet};

#[btf_map]
static OUTCOMES: PerCpuArray<u64, { Outcome::ALL.len() }> = PerCpuArray::new();

/// Judges the packet.
#[xdp]
pub fn firewall(ctx: XdpContext) -> u32 {
    // SAFETY: this program's own packet.
    let packet = unsafe { Packet::new(ctx.data(), ctx.data_end()) };
    let action = match packet.network() {
        Network::Ipv4(Some(ip)) => rules::judge_ipv4(&packet, &ip),
        Network::Ipv6(Some(ip)) => rules::judge_ipv6(&packet, &ip),
        Network::Ipv4(None) | Network::Ipv6(None) => {
            count(Outcome::Malformed);
            return verdict(rules::default_action());
        }
        Network::Arp | Network::Other => {
            count(Outcome::NotIp);
            return XDP_PASS;
        }
    };
    count(if action == Action::Deny.value() {
        Outcome::Denied
    } else {
        Outcome::Allowed
    });
    verdict(action)
}

#[inline(always)]
fn verdict(action: u32) -> u32 {
    if action == Action::Deny.value() {
        XDP_DROP
    } else {
        XDP_PASS
    }
}

#[inline(always)]
fn count(outcome: Outcome) {
    if let Some(packets) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: an element of the map, which only this CPU writes.
        unsafe { *packets += 1 };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
