//! The slots: functions that run a member, and why they look odd.
//!
//! A slot's function either tail-calls the member at its index of [`JUMP`], or is itself replaced
//! by the member (freplace). A tail call inside a BPF subprogram unwinds only that subprogram, so
//! both ways the member's verdict is what the function returns, and members are ordinary XDP
//! programs.
//!
//! For this to hold each slot must stay
//! - a global function with a BTF prototype `(struct xdp_md *) -> u32`: the verifier checks a
//!   global function by itself and assumes nothing of its value, and only such a function can be
//!   replaced;
//! - unknown to the compiler: what it returns when nothing ran is read volatile, or the calls'
//!   results would be folded to that constant.
//!
//! The tail call also marks the function as one that changes packet data, without which kernels
//! from 6.13 refuse members that do.

use core::ptr;

use aya_ebpf::{bindings::xdp_md, btf_maps::ProgramArray, macros::btf_map, programs::XdpContext};
use dispatcher_abi::{MISSED, SLOTS};

/// Slot *i*'s member, unless the slot's function is replaced.
#[btf_map]
static JUMP: ProgramArray<SLOTS> = ProgramArray::new();

/// Tail-calls the member at `index`; comes back only if that was refused.
#[inline(always)]
fn run_member(ctx: *mut xdp_md, index: u32) -> u32 {
    let missed = MISSED;
    // SAFETY: `ctx` is the context this program was entered with.
    unsafe { JUMP.tail_call(&XdpContext::new(ctx), index) };
    // SAFETY: a local variable, initialized above.
    unsafe { ptr::read_volatile(&missed) }
}

/// Hands every slot, first to last, to a macro as `index => function` pairs: a loop would need an
/// indirect call, which BPF doesn't have.
macro_rules! with_slots {
    ($use:ident) => {
        $use! {
            0 => slot_0, 1 => slot_1, 2 => slot_2, 3 => slot_3,
            4 => slot_4, 5 => slot_5, 6 => slot_6, 7 => slot_7,
            8 => slot_8, 9 => slot_9, 10 => slot_10, 11 => slot_11,
            12 => slot_12, 13 => slot_13, 14 => slot_14, 15 => slot_15,
            16 => slot_16, 17 => slot_17, 18 => slot_18, 19 => slot_19,
            20 => slot_20, 21 => slot_21, 22 => slot_22, 23 => slot_23,
            24 => slot_24, 25 => slot_25, 26 => slot_26, 27 => slot_27,
            28 => slot_28, 29 => slot_29, 30 => slot_30, 31 => slot_31,
        }
    };
}
pub(crate) use with_slots;

macro_rules! define {
    ($($index:literal => $slot:ident,)*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $slot(ctx: *mut xdp_md) -> u32 {
                run_member(ctx, $index)
            }
        )*

        const _: () = assert!([$($index),*].len() == SLOTS);
    };
}
with_slots!(define);
