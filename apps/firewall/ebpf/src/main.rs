//! XDP program: allow and deny by source prefix, protocol and port.
//!
//! The rules' meaning and the maps are described in `firewall_abi`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod tables;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use firewall_abi::{Action, Asked, Entry, Outcome, UNREADABLE_ID};
use headers::{Context, Ip, Network, Packet, Port};

/// Judges the packet.
#[xdp]
pub fn firewall(ctx: XdpContext) -> u32 {
    // SAFETY: this program's own context.
    let packet = unsafe { Context::new(ctx.ctx.cast()) }.packet();
    let word = match packet.network() {
        Network::Ipv4(Some(ip)) => tables::judge4(ip.source, asked(&packet, &ip)),
        Network::Ipv6(Some(ip)) => {
            let [high, low] = ip.source;
            tables::judge6(high, low, asked(&packet, &ip))
        }
        Network::Ipv4(None) | Network::Ipv6(None) | Network::Deeper => {
            tables::judge_unreadable(Asked::UNREADABLE.word())
        }
        Network::Arp | Network::Other => {
            tables::count(Outcome::NotIp);
            return XDP_PASS;
        }
    };
    let entry = Entry::of(word);
    let (outcome, verdict) = match entry.action() {
        Action::Allow => (Outcome::Allowed, XDP_PASS),
        Action::Deny => (Outcome::Denied, XDP_DROP),
    };
    tables::count(if entry.id() == UNREADABLE_ID {
        Outcome::Malformed
    } else {
        outcome
    });
    verdict
}

#[inline(always)]
fn asked<A>(packet: &Packet<Context>, ip: &Ip<A>) -> u32 {
    let asked = match packet.destination_port(ip) {
        Port::Is(port) => Asked::port(ip.protocol, port),
        Port::None => Asked::protocol(ip.protocol),
        Port::Unread => Asked::UNREADABLE,
    };
    asked.word()
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
