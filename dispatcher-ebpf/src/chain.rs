//! The walk: slots in order, until a verdict ends it.
//!
//! The verifier knows every value in [`CONFIG`] and removes the branches that can't be taken, but
//! never the load or the shift that fed a branch. So what steers the whole walk is loaded once and
//! compared with constants, walks of different kinds are code of their own, and a slot whose
//! member says PASS is four instructions: move the context, call, compare, jump. Everything rarer
//! is out of line, in [`settle`].

use core::ptr;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS},
    programs::XdpContext,
};
use dispatcher_abi::{Count, MISSED, RootConfig, SlotConfig, Verdict, VerdictMask};

use crate::{SLOTS, counters::Tally, slots};

/// Set before load, then frozen.
#[unsafe(no_mangle)]
static CONFIG: RootConfig<SLOTS> = RootConfig::EMPTY;

/// Reads one field of [`CONFIG`]. Volatile: the compiler sees the object's value, not the one that
/// is loaded.
macro_rules! config {
    ($($field:tt)+) => {
        // SAFETY: a field of a static is valid and aligned.
        unsafe { ptr::read_volatile(&raw const CONFIG.$($field)+) }
    };
}

/// Runs the chain on one packet.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let all_plain = config!(all_plain) != 0;
    if config!(counters) == 0 {
        return if all_plain {
            walk::<true>(ctx, Tally::OFF)
        } else {
            walk::<false>(ctx, Tally::OFF)
        };
    }
    // Never taken: an array has its element 0. Only the verifier doesn't know.
    let Some(tally) = Tally::of_this_cpu() else {
        return XDP_ABORTED;
    };
    if all_plain {
        walk::<true>(ctx, tally)
    } else {
        walk::<false>(ctx, tally)
    }
}

/// Runs the slots until one ends the chain. `PLAIN`: every slot is plain.
#[inline(always)]
fn walk<const PLAIN: bool>(ctx: &XdpContext, tally: Tally) -> u32 {
    let slot_count = config!(slot_count);
    let mut last = XDP_PASS;
    macro_rules! run_slots {
        ($($index:literal => $slot:ident,)*) => {
            'chain: {
                $(
                    if slot_count <= $index {
                        break 'chain;
                    }
                    let value = slots::$slot(ctx.ctx);
                    if value == XDP_PASS && (PLAIN || chains_on_pass($index)) {
                        tally.add($index, Count::Pass as usize);
                        last = XDP_PASS;
                    } else {
                        let settled = settle(tally, $index, value, &mut last);
                        if settled != Verdict::CONTINUE_VALUE {
                            return settled;
                        }
                    }
                )*
            }
        };
    }
    with_slots!(run_slots);
    // Where all slots are plain only PASS chains on, so the last verdict is PASS as well.
    if PLAIN || config!(final_verdict) == 0 {
        XDP_PASS
    } else {
        last
    }
}

/// Whether PASS is allowed in this slot and runs the next one.
#[inline(always)]
fn chains_on_pass(slot: usize) -> bool {
    config!(slots[slot].allowed) & config!(slots[slot].chain_call) & 1 << Verdict::Pass as u8 != 0
}

/// Counts and judges a slot's value. Returns the verdict that ends the chain, or
/// [`Verdict::CONTINUE_VALUE`], which never does.
///
/// Unmangled, since a mangled name has a hash of the checkout's folder in it; internal, since the
/// verifier must see a caller's arguments.
#[unsafe(no_mangle)]
#[linkage = "internal"]
#[inline(never)]
fn settle(tally: Tally, slot: usize, value: u32, last: &mut u32) -> u32 {
    // SAFETY: an element of a static, since `slot < SLOTS`; indexing would check that with a panic.
    // Volatile as in `config!`.
    let config =
        unsafe { ptr::read_volatile((&raw const CONFIG.slots).cast::<SlotConfig>().add(slot)) };
    if value == MISSED {
        tally.add(slot, Count::Missed as usize);
        return if config.on_miss_continue == 0 {
            XDP_ABORTED
        } else {
            Verdict::CONTINUE_VALUE
        };
    }
    let verdict = Verdict::of(value);
    if verdict == Verdict::Continue {
        tally.add(slot, Count::Continue as usize);
        return Verdict::CONTINUE_VALUE;
    }
    if !VerdictMask::from_bits(config.allowed).contains(verdict) {
        tally.add(slot, Count::Overruled as usize);
        return Verdict::CONTINUE_VALUE;
    }
    // A verdict's discriminant is the index of its count.
    tally.add(slot, verdict as usize);
    *last = value;
    // A value that no mask has a name for ends the chain whatever the mask says.
    if verdict != Verdict::Other && VerdictMask::from_bits(config.chain_call).contains(verdict) {
        Verdict::CONTINUE_VALUE
    } else {
        value
    }
}
