//! The bytes both sides of the kernel boundary agree on, and the words every crate shares.
//!
//! The root program (`dispatcher-ebpf`) and the daemon build against this crate, so a layout is
//! written once. So are the words: a [`Verdict`], a [`VerdictMask`], an [`Engine`], a [`Mode`]
//! mean the same in the kernel, on the wire, on the command line and in the documentation.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod config;
mod counters;
mod names;
mod socket_claim;
mod verdict;
mod words;

pub use config::{RootConfig, SlotConfig};
pub use counters::{COUNTS, Count, Counters, SlotCounters};
pub use names::{
    CLAIMS_MAP, CONFIG_SYMBOL, COUNTERS_MAP, EXT_ROOT_PROGRAM, JUMP_MAP, MEMBER_NAME_BYTES_MAX,
    REDIRECT_MEMBER, REDIRECT_PROGRAM, ROOT_PROGRAM, SOCKETS_MAP, is_member_name,
};
pub use socket_claim::{CLIENT_NAME_BYTES_MAX, SocketClaim};
pub use verdict::{Verdict, VerdictMask};
pub use words::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss, PRIORITY_DEFAULT,
    Priority, UnknownWord,
};

/// Slots of the tail-call capable root, `dispatcher`.
///
/// The kernel allows 33 tail calls a packet (`MAX_TAIL_CALL_CNT`); 32 slots leave one for a
/// member's own.
pub const SLOTS: usize = 32;

/// Slots of the roots that can't tail-call, `dispatcher_ext`: the smallest that fits is used, since
/// kernels before 6.8 verify the functions of vacant slots too.
pub const EXT_SLOTS: [usize; 3] = [16, 64, 128];

/// Tail calls that one packet may make, slots and members' own together
/// (`MAX_TAIL_CALL_CNT`, `include/linux/bpf.h`). Kernels before 6.12 count for each subprogram
/// apart; the smaller, newer rule is the one that is planned for.
pub const TAIL_CALLS_MAX: u32 = 33;

/// Queues that the redirect program's maps have room for if nobody knows how many the interface has.
pub const REDIRECT_QUEUES: u32 = 64;

/// Where the redirect program runs among the members: before those that don't say where (50), behind
/// what is meant to look at every packet.
pub const REDIRECT_PRIORITY: Priority = 20;

/// What a slot's function returns when the member in it did not run: its tail call was refused
/// because the budget is spent or the program array holds nothing at its index ("MISS").
///
/// A member that returns this value itself is taken for missed. That fails closed: the chain ends
/// with ABORTED, unless the member is registered with [`OnMiss::Continue`].
pub const MISSED: u32 = 0x4d49_5353;
