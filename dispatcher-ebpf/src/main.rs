//! The root XDP program: runs the members of one chain in order.
#![no_std]
#![no_main]
#![feature(linkage)]

mod chain;
mod counters;
mod slots;

use aya_ebpf::{macros::xdp, programs::XdpContext};

/// The only program of the object; [`chain`] is what it does.
#[xdp]
#[inline(always)]
pub fn dispatcher(ctx: XdpContext) -> u32 {
    chain::run(&ctx)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
