//! The receiving half, without a socket: the FILL and RX rings and what goes between them.

use std::{hint, ptr};

use super::assembly::Assembly;
use super::delivery::{Delivery, Origin};
use super::frame::{Finder, Spare};
use super::ledger::RingNumber;
use super::memory::RingMemory;
use super::ring::{Fill, Rx, Writing};
use super::{Faults, Incoming, Packet, Umem};

/// FILL and RX, of which a socket may lack either.
#[derive(Debug)]
pub(super) struct Inbound<'u, M> {
    origin: Origin<'u>,
    fill: Option<Fill<M>>,
    rx: Option<Rx<M>>,
    /// Frames that go to FILL next.
    spares: Vec<Spare>,
    /// Frames that are in FILL, or in RX and not read yet. The kernel's index of FILL doesn't say it: it is
    /// written after what it tells of.
    lent: u32,
    assembly: Assembly<'u>,
}

/// Packets that were received; what [`Batch`](super::Batch) is made of.
#[derive(Debug)]
pub(super) struct Received<'r, 'u, M: RingMemory> {
    inbound: &'r mut Inbound<'u, M>,
    /// How many packets are still to be given, and how many entries read.
    packets: u32,
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
        // Who receives nothing gives nothing to receive into.
        let fill = fill.filter(|_| rx.is_some());
        Self {
            origin: Origin {
                umem,
                ring,
                contended,
            },
            fill,
            rx,
            spares: Vec::new(),
            lent: 0,
            assembly: Assembly::default(),
        }
    }

    /// Gives the kernel as many free frames as FILL has room for: recycled ones, and from the pool.
    pub(super) fn refill(&mut self) {
        self.lend(u32::MAX);
    }

    /// The same, but while packets come, the UMEM's pool, which others may be using, is only looked at if
    /// FILL lacks enough. What another socket receives from FILL is not known here.
    #[inline]
    pub(super) fn refill_if_low(&mut self) {
        let size = self.fill.as_ref().map_or(0, Fill::size);
        let unread = self.rx.as_mut().map_or(0, |rx| rx.available(1));
        let missing = (size + unread).saturating_sub(self.lent);
        let low = self.origin.contended || missing > size / LOW || missing > 0 && unread == 0;
        if low && self.origin.umem.has_free() {
            self.refill();
        } else if !self.spares.is_empty() {
            self.lend(0);
        }
    }

    /// Gives the kernel recycled frames, and up to so many from the pool.
    fn lend(&mut self, pooled: u32) {
        let Origin { umem, ring, .. } = self.origin;
        if let Some(fill) = &mut self.fill {
            let room = fill.free(u32::MAX);
            let recycled = u32::try_from(self.spares.len()).unwrap_or(u32::MAX);
            let more = room.saturating_sub(recycled).min(pooled);
            if more > 0 {
                umem.take(more, &mut self.spares);
            }
            let mut places = fill.reserve(room);
            let count = self.spares.len().min(room as usize);
            for spare in self.spares.drain(..count) {
                places.write(|| spare.lend(umem, ring));
            }
            self.lent = self.lent.saturating_add(room - places.left());
        }
        if !self.spares.is_empty() {
            // They have no room, now: others may need them.
            umem.put(self.spares.drain(..));
        }
    }

    /// Up to `packets` packets.
    pub(super) fn receive(&mut self, packets: u32) -> Received<'_, 'u, M> {
        let entries = self.rx.as_mut().map_or(0, |rx| rx.available(packets));
        Received {
            inbound: self,
            packets,
            entries,
        }
    }

    /// Hands up to `packets` packets over, one after the other; returns how many. Those that aren't taken
    /// go right back to FILL, as long as it has room.
    #[inline]
    pub(super) fn receive_each(
        &mut self,
        packets: u32,
        treat: impl FnMut(Incoming<'_, 'u>),
    ) -> u32 {
        let Some(rx) = &mut self.rx else { return 0 };
        // Those that are known, unless there are none: one look at a line that the kernel writes to.
        let entries = rx.available(1).min(packets);
        if entries == 0 {
            // Who looks again at once leaves the core and the line to the kernel for a moment.
            hint::spin_loop();
            return 0;
        }
        let received = rx.peek(entries);
        received.fetch();
        let room = self.fill.as_mut().map(|fill| reserve(fill, entries));
        let before = room.as_ref().map(Writing::index);
        // As if none went back, should the function panic.
        self.lent = self.lent.saturating_sub(entries);
        let delivery = Delivery {
            origin: self.origin,
            received,
            room,
            assembly: &mut self.assembly,
            spares: &mut self.spares,
        };
        let packets = delivery.run(treat);
        if let (Some(fill), Some(before)) = (&self.fill, before) {
            self.lent += fill.written_since(before);
        }
        packets
    }

    /// Takes a packet's frames for FILL, without a look at the pool.
    pub(super) fn recycle(&mut self, packet: Packet<'u>) {
        for frame in packet.into_frames() {
            // Others go back to their own UMEM.
            if ptr::eq(frame.umem(), self.origin.umem) {
                self.spares.push(frame.into_spare());
            }
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
        self.origin.umem
    }

    /// What the other side did wrong so far.
    pub(super) fn faults(&self) -> Faults {
        let fill = self.fill.as_ref().map_or(0, Fill::faults);
        let rx = self.rx.as_ref().map_or(0, Rx::faults);
        Faults {
            indices: fill + rx,
            ..self.assembly.faults
        }
    }

    /// Sets whether another socket receives from the same FILL ring.
    pub(super) fn set_contended(&mut self) {
        self.origin.contended = true;
    }
}

/// Places in FILL for as many frames as came out of it. The kernel tells of them a moment after it put
/// them into RX.
#[inline]
fn reserve<M: RingMemory>(fill: &mut Fill<M>, count: u32) -> Writing<'_, u64> {
    for _ in 0..LOOKS {
        if fill.free(count) >= count {
            break;
        }
        hint::spin_loop();
    }
    fill.reserve(count)
}

/// How often to look whether the kernel has told: much longer than it takes, and less than it would to
/// pass a batch through the pool.
const LOOKS: u32 = 16;
/// FILL is low when more than this part of it is missing.
const LOW: u32 = 8;

/// The frames that are neither a token nor the kernel's.
impl<M> Drop for Inbound<'_, M> {
    fn drop(&mut self) {
        self.origin.umem.put(self.spares.drain(..));
    }
}

impl<'u, M: RingMemory> Received<'_, 'u, M> {
    /// See [`Inbound::recycle`].
    #[inline]
    pub(super) fn recycle(&mut self, packet: Packet<'u>) {
        self.inbound.recycle(packet);
    }

    /// The most that may come.
    pub(super) fn remaining(&self) -> usize {
        self.packets.min(self.entries) as usize
    }
}

impl<'u, M: RingMemory> Iterator for Received<'_, 'u, M> {
    type Item = Packet<'u>;

    #[inline]
    fn next(&mut self) -> Option<Packet<'u>> {
        let inbound = &mut *self.inbound;
        let Origin {
            umem,
            ring,
            contended,
        } = inbound.origin;
        while self.packets > 0 && self.entries > 0 {
            let descriptor = inbound.rx.as_mut()?.next()?;
            self.entries -= 1;
            inbound.lent = inbound.lent.saturating_sub(1);
            let found = Finder::new(umem, ring).find(descriptor);
            let frame = found.and_then(|found| found.take(umem, ring, contended));
            let packet = match frame {
                Some(frame) if inbound.assembly.is_idle() && !descriptor.continues() => {
                    Some(frame.into())
                }
                frame => inbound.assembly.add(frame, descriptor),
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
            rx.release();
        }
    }
}
