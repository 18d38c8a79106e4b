//! Packets of several frames, put together.

use std::mem;

use super::ring::Descriptor;
use super::{Faults, Frame, Packet};

/// Packets that are not whole yet, and what was wrong with others.
#[derive(Debug, Default)]
pub(super) struct Assembly<'u> {
    next: Next<'u>,
    pub(super) faults: Faults,
}

/// What to do with the next frame.
#[derive(Debug, Default)]
enum Next<'u> {
    /// It begins a packet.
    #[default]
    Begin,
    /// It continues this one.
    Continue(Packet<'u>),
    /// It belongs to a packet that is not whole any more.
    Skip,
}

impl<'u> Assembly<'u> {
    /// Whether the next frame begins a packet.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.next, Next::Begin)
    }

    /// The next frame; returns the packet if this was its last.
    #[cold]
    pub(super) fn add(
        &mut self,
        frame: Option<Frame<'u>>,
        descriptor: Descriptor,
    ) -> Option<Packet<'u>> {
        let continued = descriptor.continues();
        self.faults.entries += u64::from(frame.is_none());
        let packet = match (mem::take(&mut self.next), frame) {
            (Next::Begin, Some(frame)) => Some(Packet::from(frame)),
            (Next::Continue(packet), Some(_)) if packet.frame_count() >= Packet::FRAMES_MAX => {
                self.faults.long_packets += 1;
                None
            }
            (Next::Continue(mut packet), Some(frame)) => {
                packet.append(frame);
                Some(packet)
            }
            (Next::Skip, _) | (_, None) => None,
        };
        match packet {
            Some(packet) if continued => self.next = Next::Continue(packet),
            None if continued => self.next = Next::Skip,
            whole => return whole,
        }
        None
    }
}
