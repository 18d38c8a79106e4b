//! The slots: functions that run a member, and why they look odd.
//!
//! A slot's function is replaced by its member (freplace), or in the root that can tail-call,
//! [`run_member`] may tail-call it. A tail call inside a BPF subprogram unwinds only that
//! subprogram, so both ways the member's verdict is what the function returns, and members are
//! ordinary XDP programs.
//!
//! For this to hold each slot must stay
//! - a global function with a BTF prototype `(struct xdp_md *) -> u32`: the verifier checks a
//!   global function by itself and assumes nothing of its value, and only such a function can be
//!   replaced;
//! - unknown to the compiler: what it returns when nothing ran comes from assembly, or the calls'
//!   results would be folded to that constant;
//! - one that changes packet data, or might: kernels from 6.13 refuse a member that does in the
//!   place of a function that doesn't.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use dispatcher_abi::MISSED;

use crate::{SLOTS, run_member};

/// [`MISSED`], which the compiler must not know. Not read from memory: a stack frame would be made
/// and cleared for every packet.
#[inline(always)]
fn missed() -> u32 {
    let missed: u64;
    // SAFETY: a move of a constant into a register.
    unsafe { asm!("{} = {}", out(reg) missed, const MISSED, options(pure, nomem, nostack)) };
    missed as u32
}

macro_rules! define {
    ($($index:literal => $slot:ident,)*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $slot(ctx: *mut xdp_md) -> u32 {
                // A member that runs doesn't come back here.
                run_member(ctx, $index);
                missed()
            }
        )*

        const _: () = assert!([$($index),*].len() == SLOTS);
    };
}
with_slots!(define);
