//! `dispatcher_ext` with 16 slots: the root whose members replace its slots' functions.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, linkage)]

use aya_ebpf::{macros::xdp, programs::XdpContext};

/// How many members fit.
const SLOTS: usize = 16;

/// Hands every slot, first to last, to a macro as `index => function` pairs: a loop would need an
/// indirect call, which BPF doesn't have.
macro_rules! with_slots {
    ($use:ident) => {
        seq_macro::seq!(I in 0..16 { $use! { #(I => slot_~I,)* } });
    };
}

mod chain;
mod counters;
mod object;
mod slots;
mod stub;

use stub::run_member;

/// The only program of the object; [`chain`] is what it does.
#[xdp]
#[inline(always)]
pub fn dispatcher_ext(ctx: XdpContext) -> u32 {
    chain::run(&ctx)
}
