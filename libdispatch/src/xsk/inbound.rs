//! The receiving half, without a socket: the FILL and RX rings and what goes between them.

use std::mem;
use std::ptr;

use super::frame::{self, Spare};
use super::ledger::RingNumber;
use super::memory::RingMemory;
use super::ring::{Fill, Rx};
use super::{Frame, Packet, Umem};

/// `XDP_PKT_CONTD`: the packet goes on in the next descriptor.
pub(super) const CONTINUED: u32 = 1;

/// What the other side of a half's rings did that can't be: each such entry was passed over. A
/// kernel does nothing of the kind; another process that has the rings mapped may.
///
/// A frame that was named in a false entry is not lost, it stays where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Looks at an index that was further from the own one than the ring is long.
    pub indices: u64,
    /// Entries that name no frame, or one that the kernel didn't have from this ring, or bytes
    /// outside of it.
    pub entries: u64,
    /// Packets of more than [`Packet::FRAMES_MAX`] frames.
    pub long_packets: u64,
}

/// FILL and RX, of which a socket may lack either.
#[derive(Debug)]
pub(super) struct Inbound<'u, M> {
    umem: &'u Umem,
    ring: RingNumber,
    fill: Option<Fill<M>>,
    rx: Option<Rx<M>>,
    /// Another socket receives from the same FILL ring.
    contended: bool,
    /// Frames that go to FILL next.
    spares: Vec<Spare>,
    assembly: Assembly<'u>,
    faults: Faults,
}

/// What to do with the next frame.
#[derive(Debug, Default)]
enum Assembly<'u> {
    /// It begins a packet.
    #[default]
    Begin,
    /// It continues this one.
    Continue(Packet<'u>),
    /// It belongs to a packet that is not whole any more.
    Skip,
}

/// Packets that were received; what [`Batch`](super::Batch) is made of.
#[derive(Debug)]
pub(super) struct Received<'r, 'u, M: RingMemory> {
    inbound: &'r mut Inbound<'u, M>,
    /// How many packets are still to be given.
    packets: u32,
    /// How many entries were read, of how many.
    read: u32,
    entries: u32,
}

impl<'u, M: RingMemory> Inbound<'u, M> {
    /// Over these rings. `contended` says that another socket receives from the same FILL ring.
    pub(super) fn new(
        umem: &'u Umem,
        ring: RingNumber,
        fill: Option<Fill<M>>,
        rx: Option<Rx<M>>,
        contended: bool,
    ) -> Self {
        Self {
            umem,
            ring,
            fill,
            rx,
            contended,
            spares: Vec::new(),
            assembly: Assembly::Begin,
            faults: Faults::default(),
        }
    }

    /// Gives the kernel as many free frames as FILL has room for; returns how many.
    pub(super) fn refill(&mut self) -> u32 {
        let Some(fill) = self.fill.as_mut().filter(|_| self.rx.is_some()) else {
            self.umem.put(self.spares.drain(..));
            return 0;
        };
        let (umem, ring) = (self.umem, self.ring);
        let lend = |fill: &mut Fill<M>, spares: &mut Vec<Spare>| {
            let wanted = u32::try_from(spares.len()).unwrap_or(u32::MAX);
            let count = fill.free(wanted).min(wanted);
            let spares = spares.drain(..count as usize);
            fill.fill(spares.map(|spare| spare.lend(umem, ring)))
        };
        let mut lent = lend(fill, &mut self.spares);
        if self.spares.is_empty() {
            // What is known to be free: no look at the kernel's index for the pool's sake, unless
            // there was nothing else to look for.
            let room = fill.free(u32::from(lent == 0));
            if room > 0 {
                umem.take(room, &mut self.spares);
                lent += lend(fill, &mut self.spares);
            }
        } else {
            // FILL is full: others may need them.
            umem.put(self.spares.drain(..));
        }
        lent
    }

    /// Up to `packets` packets.
    pub(super) fn receive(&mut self, packets: u32) -> Received<'_, 'u, M> {
        let entries = self.rx.as_mut().map_or(0, |rx| rx.available(packets));
        Received {
            inbound: self,
            packets,
            read: 0,
            entries,
        }
    }

    /// Takes a packet's frames for FILL, without a look at the pool.
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    pub(super) fn recycle(&mut self, packet: Packet<'u>) {
        if !ptr::eq(packet.umem(), self.umem) {
            return;
        }
        let (first, rest) = packet.into_parts();
        self.spares.push(first.into_spare());
        if let Some(rest) = rest {
            let rest = rest.into_iter();
            self.spares.extend(rest.map(Frame::into_spare));
        }
    }

    /// Whether the kernel has to be told that FILL has new frames.
    pub(super) fn needs_wakeup(&self) -> bool {
        let fill = self.fill.as_ref();
        fill.is_some_and(|fill| fill.needs_wakeup(false))
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(&mut self) -> bool {
        self.rx.as_mut().is_none_or(|rx| rx.available(1) == 0)
    }

    /// The UMEM whose frames it receives into.
    pub(super) fn umem(&self) -> &'u Umem {
        self.umem
    }

    /// What the other side did wrong so far.
    pub(super) fn faults(&self) -> Faults {
        let fill = self.fill.as_ref().map_or(0, Fill::faults);
        let rx = self.rx.as_ref().map_or(0, Rx::faults);
        Faults {
            indices: fill + rx,
            ..self.faults
        }
    }

    /// Sets whether another socket receives from the same FILL ring.
    pub(super) fn set_contended(&mut self) {
        self.contended = true;
    }

    /// The next frame of a packet that has several, or is not whole; returns the packet if this was
    /// its last.
    #[cold]
    fn assemble(
        &mut self,
        received: Option<frame::Received>,
        continued: bool,
    ) -> Option<Packet<'u>> {
        let umem = self.umem;
        let frame = received.map(|received| received.into_frame(umem));
        self.faults.entries += u64::from(frame.is_none());
        let packet = match (mem::take(&mut self.assembly), frame) {
            (Assembly::Begin, Some(frame)) => Some(Packet::from(frame)),
            (Assembly::Continue(packet), Some(_)) if packet.frame_count() >= FRAMES_MAX => {
                self.faults.long_packets += 1;
                None
            }
            (Assembly::Continue(mut packet), Some(frame)) => {
                packet.append(frame);
                Some(packet)
            }
            (Assembly::Skip, _) | (_, None) => None,
        };
        match packet {
            Some(packet) if continued => self.assembly = Assembly::Continue(packet),
            None if continued => self.assembly = Assembly::Skip,
            whole => return whole,
        }
        None
    }
}

const FRAMES_MAX: usize = Packet::FRAMES_MAX;

/// The frames that are neither a token nor the kernel's.
impl<M> Drop for Inbound<'_, M> {
    fn drop(&mut self) {
        self.umem.put(self.spares.drain(..));
    }
}

impl<'u, M: RingMemory> Received<'_, 'u, M> {
    /// See [`Inbound::recycle`].
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    pub(super) fn recycle(&mut self, packet: Packet<'u>) {
        self.inbound.recycle(packet);
    }

    /// The most that may come.
    pub(super) fn remaining(&self) -> usize {
        self.packets.min(self.entries - self.read) as usize
    }
}

impl<'u, M: RingMemory> Iterator for Received<'_, 'u, M> {
    type Item = Packet<'u>;

    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    fn next(&mut self) -> Option<Packet<'u>> {
        let inbound = &mut *self.inbound;
        while self.packets > 0 && self.read < self.entries {
            let descriptor = inbound.rx.as_ref()?.peek(self.read);
            self.read += 1;
            let continued = descriptor.options & CONTINUED != 0;
            let (umem, ring) = (inbound.umem, inbound.ring);
            let received = frame::Received::new(umem, descriptor, ring, inbound.contended);
            let packet = match (received, &inbound.assembly) {
                (Some(received), Assembly::Begin) if !continued => {
                    self.packets -= 1;
                    return Some(received.into_frame(umem).into());
                }
                (received, _) => inbound.assemble(received, continued),
            };
            if packet.is_some() {
                self.packets -= 1;
                return packet;
            }
        }
        None
    }
}

/// The places of the entries that were read are the kernel's again.
impl<M: RingMemory> Drop for Received<'_, '_, M> {
    fn drop(&mut self) {
        if let Some(rx) = &mut self.inbound.rx {
            rx.release(self.read);
        }
    }
}
