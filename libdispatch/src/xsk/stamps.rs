//! Which of the frames that are being sent have a timestamp to come.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a packet whose timestamp was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub(super) index: u32,
    pub(super) timestamp: Option<NonZeroU64>,
}

impl Sent {
    /// The number of its frame, of its first one if it had several: see
    /// [`Frame::index`](super::Frame::index).
    pub fn index(&self) -> u32 {
        self.index
    }

    /// When it was sent, in nanoseconds, by the device's clock (its PTP hardware clock). If the
    /// kernel copies packets, it is when the packet's memory was freed, by `CLOCK_TAI`. `None` if the
    /// driver has said nothing: not every driver that sends from the UMEM can.
    pub fn timestamp(&self) -> Option<NonZeroU64> {
        self.timestamp
    }
}

/// For each frame that is being sent, where its timestamp goes.
///
/// The address in COMPLETION doesn't say it: Linux 6.18 uses its lowest bit for something else where it
/// copies packets, and gives an even address back for an odd one (`xsk_skb_destructor_get_addr` in
/// `net/xdp/xsk.c`).
#[derive(Debug)]
pub(super) struct Stamps {
    awaited: Box<[AtomicU64]>,
}

/// A timestamp to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    /// Where in its frame the packet begins.
    pub(super) start: u32,
    /// What is at the timestamp's place: if it still is when the frame comes back, no driver has
    /// written one. Of the eight bytes there, a request has four, and the others are zero.
    pub(super) unwritten: u32,
}

impl Stamps {
    /// Not asked for: no packet begins so far in its frame.
    const NONE: u64 = u64::MAX;

    /// So many frames.
    pub(super) fn new(frames: u32) -> Self {
        let none = |_| AtomicU64::new(Self::NONE);
        Self {
            awaited: (0..frames).map(none).collect(),
        }
    }

    /// Notes that a frame is about to be sent, and whether a timestamp is to come.
    pub(super) fn lend(&self, frame: u32, awaited: Option<Awaited>) {
        let awaited = awaited.map_or(Self::NONE, |Awaited { start, unwritten }| {
            u64::from(start) << 32 | u64::from(unwritten)
        });
        // As for the ledger: what was done to the frame's bytes has been done.
        self.awaited[frame as usize].store(awaited, Ordering::Release);
    }

    /// The timestamp to come of a frame that was sent.
    pub(super) fn awaited(&self, frame: u32) -> Option<Awaited> {
        let awaited = self.awaited[frame as usize].load(Ordering::Acquire);
        let [start, unwritten] =
            [awaited >> 32, awaited].map(|half| u32::try_from(half & u64::from(u32::MAX)));
        (awaited != Self::NONE).then_some(Awaited {
            start: start.ok()?,
            unwritten: unwritten.ok()?,
        })
    }
}
