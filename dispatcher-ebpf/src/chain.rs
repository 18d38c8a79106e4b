//! The walk: slots in order, until a verdict ends it.
//!
//! The verifier knows every value in [`CONFIG`] and removes a branch that can't be taken, but
//! never the load or the shift that fed it, and only if nothing else leads to where it would have
//! gone. So what steers the walk is one register, the next stop, that is compared with constants,
//! and each comparison has a target of its own; walks of different kinds are code of their own. A
//! slot whose member says PASS is then four instructions: move the context, call, compare, jump;
//! and three more to count. Everything rarer is out of line, in [`settle`].

use core::{hint::cold_path, ptr};

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
    if config!(counters) == 0 {
        return walk(ctx, Tally::OFF);
    }
    // Never taken: an array has its element 0. Only the verifier doesn't know.
    let Some(tally) = Tally::of_this_cpu() else {
        return XDP_ABORTED;
    };
    walk(ctx, tally)
}

/// Runs the slots until one ends the chain.
#[inline(always)]
#[expect(
    unused_assignments,
    reason = "nobody looks for the stop behind the last slot"
)]
fn walk(ctx: &XdpContext, tally: Tally) -> u32 {
    // 32 bits, since comparing fewer takes a mask first.
    let mut stop = u32::from(config!(first_stop));
    let mut last = XDP_PASS;
    macro_rules! run_slots {
        ($($index:literal => $slot:ident,)*) => {
            'chain: {
                $('slot: {
                    let value;
                    if stop == $index {
                        cold_path();
                        if config!(slot_count) == $index {
                            break 'chain;
                        }
                        stop = u32::from(config!(slots[$index].next_stop));
                        value = slots::$slot(ctx.ctx);
                    } else {
                        value = slots::$slot(ctx.ctx);
                        if value == XDP_PASS {
                            tally.add($index, Count::Pass as usize);
                            break 'slot;
                        }
                        cold_path();
                    }
                    let settled = settle(tally, $index, value);
                    if settled & ENDS != 0 {
                        return settled as u32;
                    }
                    if settled as u32 != Verdict::CONTINUE_VALUE {
                        last = settled as u32;
                    }
                })*
            }
        };
    }
    with_slots!(run_slots);
    if config!(final_verdict) == 0 {
        XDP_PASS
    } else {
        last
    }
}

/// Says that the chain ends, with the verdict in the lower half. The sign, since the constant of
/// any other bit is an instruction.
const ENDS: u64 = 1 << 63;

/// Counts and judges a slot's value. Returns the verdict, with [`ENDS`] if the next slot does not
/// run, and [`Verdict::CONTINUE_VALUE`] if there is none.
///
/// Unmangled, since a mangled name has a hash of the checkout's folder in it; internal, since the
/// verifier must see a caller's arguments.
#[unsafe(no_mangle)]
#[linkage = "internal"]
#[inline(never)]
fn settle(tally: Tally, slot: usize, value: u32) -> u64 {
    const NO_OPINION: u64 = Verdict::CONTINUE_VALUE as u64;
    // SAFETY: an element of a static, since `slot < SLOTS`; indexing would check that with a panic.
    // Volatile as in `config!`.
    let config =
        unsafe { ptr::read_volatile((&raw const CONFIG.slots).cast::<SlotConfig>().add(slot)) };
    if value == MISSED {
        tally.add(slot, Count::Missed as usize);
        return if config.on_miss_continue == 0 {
            ENDS | u64::from(XDP_ABORTED)
        } else {
            NO_OPINION
        };
    }
    let verdict = Verdict::of(value);
    if verdict == Verdict::Continue {
        tally.add(slot, Count::Continue as usize);
        return NO_OPINION;
    }
    if !VerdictMask::from_bits(config.allowed).contains(verdict) {
        tally.add(slot, Count::Overruled as usize);
        return NO_OPINION;
    }
    // A verdict's discriminant is the index of its count.
    tally.add(slot, verdict as usize);
    // A value that no mask has a name for ends the chain whatever the mask says.
    if verdict != Verdict::Other && VerdictMask::from_bits(config.chain_call).contains(verdict) {
        u64::from(value)
    } else {
        ENDS | u64::from(value)
    }
}
