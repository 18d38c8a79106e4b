//! The packet source: millions of packets a second, every one of which is accounted for.
//!
//! The cable's own queue (256 frames) overflows when the receiving end is not scheduled in time, as
//! on a busy machine. Such a frame was never in front of the hook: the cable counts it, and here it
//! counts as not sent.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use crate::sys::{self, Instruction};
use crate::veth::End;

/// Test runs with live frames of a program that redirects each of them out of one interface, so
/// that they arrive at the other end of its cable.
pub struct LiveFrames<'a> {
    from: &'a End,
    program: OwnedFd,
}

/// What is sent while something else goes on, until it is stopped or dropped: a test that fails ends.
pub struct Stream<'scope> {
    stop: &'scope Signal,
    sender: Option<ScopedJoinHandle<'scope, u64>>,
}

/// Where a [`Stream`] is told to stop and tells how far it is.
#[derive(Default)]
pub struct Signal {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl<'a> LiveFrames<'a> {
    /// Packets leave this end and arrive at the other.
    pub fn into(from: &'a End) -> Self {
        let index = i32::try_from(from.index).expect("an interface index is positive");
        let program = sys::load_xdp("xdt_source", &redirect_to(index)).expect("the source loads");
        Self { from, program }
    }

    /// Sends this frame so many times; returns when all have been through the other end's hook.
    pub fn send(&self, frame: &[u8], count: u64) {
        let mut missing = count;
        while missing > 0 {
            let before = self.refused();
            self.from.netns.run(|| self.burst(frame, missing));
            missing = self.refused() - before;
        }
    }

    /// Sends this frame so many times without a pause, which every call but the first would bring: the
    /// kernel makes its pages anew, and waits for RCU. Those that the cable's queue has no room for are
    /// not sent again.
    pub fn send_at_once(&self, frame: &[u8], count: u64) {
        self.from.netns.run(|| self.burst(frame, count));
    }

    /// Frames that the cable's queue had no room for.
    fn refused(&self) -> u64 {
        self.from.driver_count("xdp_xmit_errors")
    }

    /// Sends bursts of so many of this frame on a thread until the stream is stopped.
    pub fn stream<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        signal: &'scope Signal,
        frame: &'scope [u8],
        burst: u64,
    ) -> Stream<'scope> {
        let refused_before = self.refused();
        let sender = scope.spawn(move || {
            self.from.netns.run(|| {
                while !signal.stop.load(Ordering::Relaxed) {
                    self.burst(frame, burst);
                    signal.sent.fetch_add(burst, Ordering::Relaxed);
                }
            });
            signal.sent() - (self.refused() - refused_before)
        });
        Stream {
            stop: signal,
            sender: Some(sender),
        }
    }

    /// The calling thread is in the interface's namespace: a redirect looks the interface up there.
    fn burst(&self, frame: &[u8], count: u64) {
        let count = i32::try_from(count).expect("a test run takes an i32");
        sys::run_live(self.program.as_fd(), frame, count).expect("live frames work");
    }
}

impl Signal {
    /// How many frames went out so far, whole bursts.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Stream<'_> {
    /// Ends the stream; returns how many frames went out and onto the cable in all, once they have
    /// been through the other end's hook.
    pub fn stop(mut self) -> u64 {
        self.stop.stop.store(true, Ordering::Relaxed);
        let sender = self.sender.take().expect("it is joined once");
        sender
            .join()
            .expect("the source goes on until it is stopped")
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.stop.stop.store(true, Ordering::Relaxed);
    }
}

/// Zeroes bytes 16 to 23 of the frame, since frames are used again with what programs wrote into
/// them, and redirects it to the interface.
fn redirect_to(index: i32) -> Vec<Instruction> {
    const LOAD_WORD: u8 = 0x61;
    const STORE_DOUBLE_WORD: u8 = 0x7a;
    const MOVE: u8 = 0xbf;
    const MOVE_IMMEDIATE: u8 = 0xb7;
    const ADD_IMMEDIATE: u8 = 0x07;
    const JUMP_IF_GREATER: u8 = 0x2d;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const REDIRECT: i32 = 23;
    let instruction = |code, to, from, offset, immediate| Instruction {
        code,
        to,
        from,
        offset,
        immediate,
    };
    vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),          // r2 = ctx->data
        instruction(LOAD_WORD, 3, 1, 4, 0),          // r3 = ctx->data_end
        instruction(MOVE, 4, 2, 0, 0),               // r4 = r2
        instruction(ADD_IMMEDIATE, 4, 0, 0, 24),     // r4 += 24
        instruction(JUMP_IF_GREATER, 4, 3, 1, 0),    // if r4 > r3, skip the store
        instruction(STORE_DOUBLE_WORD, 2, 0, 16, 0), // *(u64 *)(r2 + 16) = 0
        instruction(MOVE_IMMEDIATE, 1, 0, 0, index), // r1 = index
        instruction(MOVE_IMMEDIATE, 2, 0, 0, 0),     // r2 = 0
        instruction(CALL, 0, 0, 0, REDIRECT),        // r0 = bpf_redirect(r1, r2)
        instruction(EXIT, 0, 0, 0, 0),
    ]
}
