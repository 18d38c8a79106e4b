//! What a slot's function does in the root that can tail-call.

use aya_ebpf::{bindings::xdp_md, btf_maps::ProgramArray, macros::btf_map, programs::XdpContext};
use dispatcher_abi::SLOTS;

/// Slot *i*'s member, unless the slot's function is replaced.
#[btf_map]
static JUMP: ProgramArray<SLOTS> = ProgramArray::new();

/// Tail-calls the member at `index`; comes back only if that was refused.
///
/// A tail call may change packet data, as far as the verifier knows.
#[inline(always)]
pub(crate) fn run_member(ctx: *mut xdp_md, index: u32) {
    // SAFETY: `ctx` is the context this program was entered with.
    unsafe { JUMP.tail_call(&XdpContext::new(ctx), index) };
}
