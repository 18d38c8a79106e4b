//! Packets handed over where they are, the fast way.

use super::assembly::Assembly;
use super::frame::{Finder, Spare};
use super::incoming::Incoming;
use super::ledger::RingNumber;
use super::ring::{Descriptor, Entry as _, Reading, Writing};
use super::{Packet, Umem};

/// Where frames come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'u> {
    pub(super) umem: &'u Umem,
    pub(super) ring: RingNumber,
    /// Another socket receives from the same FILL ring.
    pub(super) contended: bool,
}

/// The entries of one look into RX, on their way to the application and back to FILL.
///
/// Nearly every packet is one frame that is only looked at. For those there is a loop without a call,
/// that needs no more than the registers there are, and in which only FILL is written: the frame doesn't
/// leave the ledger. Everything else ends that loop, and is done one by one.
#[derive(Debug)]
pub(super) struct Delivery<'r, 'u> {
    pub(super) origin: Origin<'u>,
    pub(super) received: Reading<'r, Descriptor>,
    /// Room for as many frames in FILL, if there is.
    pub(super) room: Option<Writing<'r, u64>>,
    pub(super) assembly: &'r mut Assembly<'u>,
    /// For frames that have no room.
    pub(super) spares: &'r mut Vec<Spare>,
}

/// How far the plain loop is. On every way out of it that is noted.
struct Passed<'d, 'r> {
    received: &'d mut Reading<'r, Descriptor>,
    room: &'d mut Writing<'r, u64>,
    read: usize,
    written: usize,
}

impl Drop for Passed<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.received.skip_adjacent(self.read);
        self.room.skip_adjacent(self.written);
    }
}

impl<'u> Delivery<'_, 'u> {
    /// Hands all of them over; returns how many packets.
    #[inline]
    pub(super) fn run(mut self, mut treat: impl FnMut(Incoming<'_, 'u>)) -> u32 {
        let mut packets = 0;
        loop {
            packets += self.deliver_plain(&mut treat);
            let Some(descriptor) = self.received.next() else {
                return packets;
            };
            if let Some(packet) = self.assemble(descriptor) {
                packets += 1;
                if let Some(packet) = Incoming::give(packet, &mut treat) {
                    self.take_back(packet);
                }
            }
        }
    }

    /// Up to one that is anything but a frame that is a packet; returns how many.
    #[inline]
    fn deliver_plain(&mut self, treat: &mut impl FnMut(Incoming<'_, 'u>)) -> u32 {
        let Origin {
            umem,
            ring,
            contended,
        } = self.origin;
        let Some(room) = &mut self.room else { return 0 };
        if contended || !self.assembly.is_idle() {
            return 0;
        }
        let finder = Finder::new(umem, ring);
        let (entries, places) = (self.received.adjacent(), room.adjacent());
        let mut passed = Passed {
            received: &mut self.received,
            room,
            read: 0,
            written: 0,
        };
        // Nothing in it panics unless the function does: else how far it is would have to be in memory.
        while let (Some(words), Some(place)) =
            (entries.get(passed.read), places.get(passed.written))
        {
            let Some(found) = finder.find_plain(Descriptor::load(words)) else {
                break;
            };
            // First of all: should the function panic, the entry must not come again.
            passed.read += 1;
            if !Incoming::lend(umem, &found, treat) {
                finder.address(&found).store(place);
                passed.written += 1;
            }
        }
        let read = passed.read;
        drop(passed);
        u32::try_from(read).expect("a ring's size is an u32")
    }

    /// Another one, as a packet; [`None`] if it makes none, or none yet.
    #[cold]
    fn assemble(&mut self, descriptor: Descriptor) -> Option<Packet<'u>> {
        let Origin {
            umem,
            ring,
            contended,
        } = self.origin;
        let found = Finder::new(umem, ring).find(descriptor);
        let frame = found.and_then(|found| found.take(umem, ring, contended));
        self.assembly.add(frame, descriptor)
    }

    /// Such a packet, that was not taken.
    #[cold]
    fn take_back(&mut self, packet: Packet<'u>) {
        let Origin { umem, ring, .. } = self.origin;
        for frame in packet.into_frames() {
            let mut spare = Some(frame.into_spare());
            if let Some(room) = &mut self.room {
                room.write(|| spare.take().expect("it is asked once").lend(umem, ring));
            }
            self.spares.extend(spare);
        }
    }
}
