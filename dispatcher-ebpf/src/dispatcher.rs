//! `dispatcher`: the root whose slots can tail-call their members, or be replaced by them.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, linkage)]

use aya_ebpf::{macros::xdp, programs::XdpContext};
use dispatcher_abi::SLOTS;

/// Hands every slot, first to last, to a macro as `index => function` pairs: a loop would need an
/// indirect call, which BPF doesn't have.
macro_rules! with_slots {
    ($use:ident) => {
        seq_macro::seq!(I in 0..32 { $use! { #(I => slot_~I,)* } });
    };
}

mod chain;
mod counters;
mod object;
mod slots;
mod tail_call;

use tail_call::run_member;

/// The only program of the object; [`chain`] is what it does.
#[xdp]
#[inline(always)]
pub fn dispatcher(ctx: XdpContext) -> u32 {
    chain::run(&ctx)
}
