//! XDP program: packets and bytes per protocol. Every packet passes.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    btf_maps::PerCpuArray,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use headers::{Context, ICMP, ICMPV6, Network, Packet, TCP, UDP};
use stats_abi::{Protocol, Traffic};

#[btf_map]
static PROTOCOLS: PerCpuArray<Traffic, { Protocol::ALL.len() }> = PerCpuArray::new();

/// Counts the packet.
#[xdp]
pub fn stats(ctx: XdpContext) -> u32 {
    // SAFETY: this program's own context.
    let context = unsafe { Context::new(ctx.ctx.cast()) };
    if let Some(traffic) = PROTOCOLS.get_ptr_mut(protocol(context.packet()) as u32) {
        // SAFETY: an element of the map, which only this CPU writes.
        let traffic = unsafe { &mut *traffic };
        traffic.packets += 1;
        traffic.bytes += context.bytes();
    }
    XDP_PASS
}

#[inline(always)]
fn protocol(packet: Packet<Context>) -> Protocol {
    match packet.network() {
        Network::Arp => Protocol::Arp,
        Network::Ipv4(ip) => match ip.map(|ip| ip.protocol) {
            Some(ICMP) => Protocol::Ipv4Icmp,
            Some(TCP) => Protocol::Ipv4Tcp,
            Some(UDP) => Protocol::Ipv4Udp,
            _ => Protocol::Ipv4Other,
        },
        Network::Ipv6(ip) => match ip.map(|ip| ip.protocol) {
            Some(ICMPV6) => Protocol::Ipv6Icmp,
            Some(TCP) => Protocol::Ipv6Tcp,
            Some(UDP) => Protocol::Ipv6Udp,
            _ => Protocol::Ipv6Other,
        },
        Network::Deeper | Network::Other => Protocol::Other,
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
