//! The sending half, without a socket: the TX and COMPLETION rings and what goes between them.

use std::mem::ManuallyDrop;
use std::{fmt, ptr};

use super::frame::Spare;
use super::ledger::RingNumber;
use super::memory::RingMemory;
use super::ring::{CONTINUED, Completion, Tx};
use super::{Faults, Frame, Incoming, Packet, Sent, Umem};

/// TX and COMPLETION, of which a socket may lack either.
#[derive(Debug)]
pub(super) struct Outbound<'u, M> {
    umem: &'u Umem,
    ring: RingNumber,
    tx: Option<Tx<M>>,
    completion: Option<Completion<M>>,
    multi_buffer: bool,
    /// Room for the frames of one look at COMPLETION.
    spares: Vec<Spare>,
    /// Frames whose timestamps nobody has looked at yet, and those.
    held: Vec<Spare>,
    stamped: Vec<Sent>,
    false_completions: u64,
}

/// A packet that was not taken for sending, and why.
#[derive(Debug)]
pub struct Unsent<'u> {
    /// The packet, as it was.
    pub packet: Packet<'u>,
    /// What was in the way.
    pub reason: UnsentReason,
}

/// Why a packet was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsentReason {
    /// TX has no room: flush, and wait until packets have been sent.
    #[error("the TX ring is full")]
    RingFull,
    /// The socket has no TX ring.
    #[error("the socket has no TX ring")]
    NoRing,
    /// A frame of it is of another UMEM than the socket's: it has to be copied.
    #[error("the packet is in another UMEM than the socket's")]
    OtherUmem,
    /// A frame of it has no bytes: the kernel would lose it.
    #[error("a frame of the packet is empty")]
    Empty,
    /// The UMEM has [`tx_metadata`](super::UmemBuilder::tx_metadata), and a frame's bytes begin where
    /// it should be.
    #[error("a frame of the packet has no room for metadata ahead of its bytes")]
    NoMetadata,
    /// The checksum that was asked for goes outside of the packet's first frame.
    #[error("the packet is shorter than the place of its checksum")]
    Checksum,
    /// Another frame than its first has a request for the driver.
    #[error("a frame of the packet that is not its first has a request for the driver")]
    LateRequest,
    /// It has several frames and the socket is not for that, or more than
    /// [`Packet::FRAMES_MAX`].
    #[error("the packet has more frames than can be sent")]
    TooManyFrames,
}

impl<'u, M: RingMemory> Outbound<'u, M> {
    /// Over these rings.
    pub(super) fn new(
        umem: &'u Umem,
        ring: RingNumber,
        tx: Option<Tx<M>>,
        completion: Option<Completion<M>>,
        multi_buffer: bool,
    ) -> Self {
        Self {
            umem,
            ring,
            tx,
            completion,
            multi_buffer,
            spares: Vec::new(),
            held: Vec::new(),
            stamped: Vec::new(),
            false_completions: 0,
        }
    }

    /// Puts a packet into TX, for the kernel to see after [`publish`](Self::publish).
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    pub(super) fn send(&mut self, packet: Packet<'u>) -> Result<(), Unsent<'u>> {
        if !packet.is_single() {
            return self.send_parts(packet);
        }
        let (frame, _) = packet.into_parts();
        let sent = self.send_plain(ManuallyDrop::new(frame));
        sent.or_else(|frame| self.send_parts(ManuallyDrop::into_inner(frame).into()))
    }

    /// The same with a packet that is being handed over. It isn't taken while TX is full.
    #[inline]
    pub(super) fn forward(&mut self, packet: Incoming<'_, 'u>) -> Result<(), UnsentReason> {
        packet
            .pass(|frame| self.send_plain(frame))
            .or_else(|packet| self.forward_parts(packet))
    }

    /// Puts a frame into TX if it needs no more than that, and there is room; it comes back if not.
    #[inline]
    fn send_plain(
        &mut self,
        frame: ManuallyDrop<Frame<'u>>,
    ) -> Result<(), ManuallyDrop<Frame<'u>>> {
        let has_metadata = self.umem.layout().tx_metadata() > 0;
        let sound = !has_metadata && self.check_frame(&frame).is_ok();
        let Some(tx) = self.tx.as_mut().filter(|_| sound) else {
            return Err(frame);
        };
        if tx.free(1) == 0 {
            return Err(frame);
        }
        tx.push(ManuallyDrop::into_inner(frame).lend(self.ring));
        Ok(())
    }

    /// Sends a packet of several frames or with metadata, or finds out why one can't be sent.
    #[cold]
    fn send_parts(&mut self, packet: Packet<'u>) -> Result<(), Unsent<'u>> {
        let checked = self.check(&packet);
        let (Ok(()), Some(tx)) = (checked, self.tx.as_mut()) else {
            let reason = checked.err().unwrap_or(UnsentReason::NoRing);
            return Err(Unsent { packet, reason });
        };
        let mut left = packet.frame_count();
        for frame in packet.into_frames() {
            left -= 1;
            let mut descriptor = frame.lend_with_metadata(self.ring);
            if left > 0 {
                descriptor.options |= CONTINUED;
            }
            tx.push(descriptor);
        }
        Ok(())
    }

    /// The same with a packet that is being handed over.
    #[cold]
    fn forward_parts(&mut self, packet: Incoming<'_, 'u>) -> Result<(), UnsentReason> {
        if self.tx.is_some() && self.room() == 0 {
            return Err(UnsentReason::RingFull);
        }
        let sent = self.send_parts(packet.take());
        sent.map_err(|unsent| unsent.reason)
    }

    /// Lets the kernel see what was put into TX.
    pub(super) fn publish(&self) {
        if let Some(tx) = &self.tx {
            tx.publish();
        }
    }

    /// Frees the frames that were sent; returns how many.
    pub(super) fn reap(&mut self) -> usize {
        let Some(completion) = &mut self.completion else {
            return 0;
        };
        completion.drain(|address| match Spare::sent(self.umem, address, self.ring) {
            Some(spare) => self.spares.push(spare),
            None => self.false_completions += 1,
        });
        if !self.held.is_empty() {
            self.stamped.clear();
            self.spares.append(&mut self.held);
        }
        self.free()
    }

    /// The same, and says of each packet whose timestamp was asked for what became of it.
    pub(super) fn reap_with(&mut self, each: impl FnMut(Sent)) -> usize {
        let freed = self.collect();
        self.stamped.drain(..).for_each(each);
        // Only now: before, another thread could have sent it again with a timestamp of its own.
        self.spares.append(&mut self.held);
        freed + self.free()
    }

    /// Frees the frames that were sent, all but those whose timestamp was asked for; returns how many.
    pub(super) fn collect(&mut self) -> usize {
        if self.umem.layout().tx_metadata() == 0 {
            return self.reap();
        }
        let (umem, ring) = (self.umem, self.ring);
        let Some(completion) = &mut self.completion else {
            return 0;
        };
        completion.drain(
            |address| match Spare::sent_with_stamp(umem, address, ring) {
                Some((spare, None)) => self.spares.push(spare),
                Some((spare, Some(sent))) => {
                    self.held.push(spare);
                    self.stamped.push(sent);
                }
                None => self.false_completions += 1,
            },
        );
        self.free()
    }

    fn free(&mut self) -> usize {
        let count = self.spares.len();
        if count > 0 {
            self.umem.put(self.spares.drain(..));
        }
        count
    }

    /// How many descriptors the kernel has yet to look at.
    pub(super) fn unread(&mut self) -> u32 {
        self.tx.as_mut().map_or(0, Tx::unread)
    }

    /// How many descriptors TX has room for.
    pub(super) fn room(&mut self) -> u32 {
        self.tx.as_mut().map_or(0, |tx| tx.free(u32::MAX))
    }

    /// Whether the kernel has to be told that TX has new packets.
    pub(super) fn needs_wakeup(&self) -> bool {
        let tx = self.tx.as_ref();
        tx.is_some_and(|tx| tx.needs_wakeup(true))
    }

    /// The UMEM whose frames it sends.
    pub(super) fn umem(&self) -> &'u Umem {
        self.umem
    }

    /// What the other side did wrong so far.
    pub(super) fn faults(&self) -> Faults {
        let tx = self.tx.as_ref().map_or(0, Tx::faults);
        let completion = self.completion.as_ref().map_or(0, Completion::faults);
        Faults {
            indices: tx + completion,
            entries: self.false_completions,
            long_packets: 0,
        }
    }

    /// The kernel passes over a descriptor that it finds invalid without a completion, and so its
    /// frame would be lost.
    #[inline]
    fn check_frame(&self, frame: &Frame<'u>) -> Result<(), UnsentReason> {
        if !ptr::eq(frame.umem(), self.umem) {
            return Err(UnsentReason::OtherUmem);
        }
        if frame.is_empty() {
            return Err(UnsentReason::Empty);
        }
        Ok(())
    }

    fn check(&mut self, packet: &Packet<'u>) -> Result<(), UnsentReason> {
        let mut count = 0;
        for frame in packet.frames() {
            self.check_frame(frame)?;
            frame.check_metadata()?;
            if count > 0 && frame.has_requests() {
                return Err(UnsentReason::LateRequest);
            }
            count += 1;
        }
        let most = if self.multi_buffer {
            Packet::FRAMES_MAX
        } else {
            1
        };
        if count > most {
            return Err(UnsentReason::TooManyFrames);
        }
        let tx = self.tx.as_mut().ok_or(UnsentReason::NoRing)?;
        if (tx.free(u32::try_from(count).unwrap_or(u32::MAX)) as usize) < count {
            return Err(UnsentReason::RingFull);
        }
        Ok(())
    }
}

/// The frames whose timestamps nobody wanted to know.
impl<M> Drop for Outbound<'_, M> {
    fn drop(&mut self) {
        self.umem.put(self.held.drain(..));
    }
}

impl fmt::Display for Unsent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Unsent<'_> {}
