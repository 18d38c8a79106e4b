//! What a slot's function does in the roots that can't tail-call, before it is replaced.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_adjust_tail};

/// Runs nothing: the function that calls this is there to be replaced.
///
/// Growing the packet by 0 bytes is what tells the verifier that it may change.
#[inline(always)]
pub(crate) fn run_member(ctx: *mut xdp_md, _index: u32) {
    // SAFETY: `ctx` is the context this program was entered with.
    unsafe { bpf_xdp_adjust_tail(ctx, 0) };
}
