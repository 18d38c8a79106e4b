//! `xsk_redirect`: the member that gives packets to `AF_XDP` sockets. A queue without one passes its
//! packets on to the next slot.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, xdp_action::XDP_PASS},
    btf_maps::{HashMap, XskMap},
    helpers::bpf_redirect_map,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use dispatcher_abi::{REDIRECT_QUEUES, SocketClaim};

mod object;

/// The socket of each receive queue. The daemon makes it as large as the interface needs.
#[btf_map]
static XSKS: XskMap<{ REDIRECT_QUEUES as usize }> = XskMap::new();

/// Whose sockets those are, for a daemon that is started again. No packet looks at it.
#[btf_map]
static CLAIMS: HashMap<
    u32,
    SocketClaim,
    { REDIRECT_QUEUES as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Gives the packet to its queue's socket, if there is one.
#[xdp(frags)]
pub fn xsk_redirect(ctx: XdpContext) -> u32 {
    let xsks = ptr::from_ref(&XSKS).cast_mut().cast();
    // SAFETY: the kernel gives a valid context, and the map is a map of sockets.
    let verdict = unsafe {
        let queue = (*ctx.ctx).rx_queue_index;
        bpf_redirect_map(xsks, queue.into(), XDP_PASS.into())
    };
    // A verdict, or XDP_PASS where the map has no socket: never negative.
    verdict as u32
}
