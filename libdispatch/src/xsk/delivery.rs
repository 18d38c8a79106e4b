//! Packets handed over where they are, the fast way.

use super::assembly::Assembly;
use super::frame::{Finder, Spare};
use super::incoming::Incoming;
use super::ledger::RingNumber;
use super::ring::{Descriptor, Entry as _, Places};
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
    origin: Origin<'u>,
    received: Places<'r, Descriptor>,
    room: Places<'r, u64>,
    assembly: &'r mut Assembly<'u>,
    spares: &'r mut Vec<Spare>,
    packets: u32,
    reserved: u32,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Delivered {
    /// Packets that were handed over.
    pub(super) packets: u32,
    /// Frames that were put into FILL.
    pub(super) refilled: u32,
}

impl<'r, 'u> Delivery<'r, 'u> {
    /// Of these entries of RX, with this room in FILL.
    #[inline]
    pub(super) fn new(
        origin: Origin<'u>,
        (received, room): (Places<'r, Descriptor>, Places<'r, u64>),
        assembly: &'r mut Assembly<'u>,
        spares: &'r mut Vec<Spare>,
    ) -> Self {
        Self {
            reserved: room.left(),
            origin,
            received,
            room,
            assembly,
            spares,
            packets: 0,
        }
    }

    /// Hands all of them over.
    #[inline]
    pub(super) fn run(mut self, mut treat: impl FnMut(Incoming<'_, 'u>)) -> Delivered {
        loop {
            self.deliver_plain(&mut treat);
            let Some(words) = self.received.next() else {
                break;
            };
            if let Some(packet) = self.assemble(Descriptor::load(words))
                && let Some(packet) = Incoming::give(packet, &mut treat)
            {
                self.take_back(packet);
            }
        }
        Delivered {
            packets: self.packets,
            refilled: self.reserved - self.room.left(),
        }
    }

    /// Up to one that is anything but a frame that is a packet.
    #[inline]
    fn deliver_plain(&mut self, treat: &mut impl FnMut(Incoming<'_, 'u>)) {
        let Origin {
            umem,
            ring,
            contended,
        } = self.origin;
        if contended || !self.assembly.is_idle() {
            return;
        }
        let finder = Finder::new(umem, ring);
        let (received, room) = (self.received.adjacent(), self.room.adjacent());
        let (mut read, mut written) = (0, 0);
        while let (Some(words), Some(place)) = (received.get(read), room.get(written)) {
            let descriptor = Descriptor::load(words);
            let found = finder.find(descriptor);
            let Some(found) = found.filter(|_| !descriptor.continues()) else {
                break;
            };
            read += 1;
            if !Incoming::lend(umem, found, treat) {
                finder.address(found).store(place);
                written += 1;
            }
        }
        self.received.skip_adjacent(read);
        self.room.skip_adjacent(written);
        self.packets += u32::try_from(read).expect("a ring's size is an u32");
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
        let packet = self.assembly.add(frame, descriptor);
        self.packets += u32::from(packet.is_some());
        packet
    }

    /// Such a packet, that was not taken.
    #[cold]
    fn take_back(&mut self, packet: Packet<'u>) {
        let Origin { umem, ring, .. } = self.origin;
        for frame in packet.into_frames() {
            let spare = frame.into_spare();
            match self.room.next() {
                Some(place) => spare.lend(umem, ring).store(place),
                None => self.spares.push(spare),
            }
        }
    }
}
