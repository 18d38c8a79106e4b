//! A kernel that does with rings in plain memory what the real one does.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) use crate::xsk::fuzzing::Plain;
use crate::xsk::inbound::Inbound;
use crate::xsk::outbound::Outbound;
use crate::xsk::ring::{CONTINUED, Completion, Descriptor, Fill, Rx, Tx};
use crate::xsk::{Tally, Umem};

/// What the kernel keeps free ahead of a packet that it received.
const KERNEL_HEADROOM: u64 = 256;

/// A kernel that receives numbered packets and notes what it was given to send.
pub(super) struct Kernel<'u> {
    umem: &'u Umem,
    pub(super) fill: Arc<Plain>,
    pub(super) completion: Arc<Plain>,
    pub(super) rx: Arc<Plain>,
    pub(super) tx: Arc<Plain>,
    /// Sent, and COMPLETION had no room yet.
    unreported: VecDeque<u64>,
    /// The next packet's number.
    pub(super) next: u64,
    /// The numbers in what was sent.
    pub(super) sent: Vec<u64>,
}

impl<'u> Kernel<'u> {
    /// With rings of these sizes (FILL, COMPLETION, RX, TX) whose indices start here.
    pub(super) fn new(umem: &'u Umem, [fill, completion, rx, tx]: [u32; 4], start: u32) -> Self {
        Self {
            umem,
            fill: Plain::new(fill, 1, start),
            completion: Plain::new(completion, 1, start),
            rx: Plain::new(rx, 2, start),
            tx: Plain::new(tx, 2, start),
            unreported: VecDeque::new(),
            next: 0,
            sent: Vec::new(),
        }
    }

    /// The application's halves.
    pub(super) fn halves(&self) -> (Inbound<'u, Arc<Plain>>, Outbound<'u, Arc<Plain>>) {
        let ring = self.umem.ring().expect("there are few");
        let (fill, rx) = (Fill::new(self.fill.clone()), Rx::new(self.rx.clone()));
        let tx = Tx::new(self.tx.clone());
        let completion = Completion::new(self.completion.clone());
        (
            Inbound::new(self.umem, ring, Some(fill), Some(rx), false),
            Outbound::new(self.umem, ring, Some(tx), Some(completion), true),
        )
    }

    /// All rings.
    pub(super) fn rings(&self) -> [&Plain; 4] {
        [&self.fill, &self.completion, &self.rx, &self.tx]
    }

    /// Receives up to `count` packets of one frame each; returns how many there were frames and
    /// room for.
    pub(super) fn receive(&mut self, count: usize) -> usize {
        (0..count).take_while(|_| self.receive_part(false)).count()
    }

    /// Receives one frame's worth of a packet, which holds the next number.
    pub(super) fn receive_part(&mut self, continued: bool) -> bool {
        let producer = self.rx.producer.load(Ordering::Relaxed);
        let unread = producer.wrapping_sub(self.rx.consumer.load(Ordering::Acquire));
        if unread >= self.rx.entries::<Descriptor>() {
            return false;
        }
        let Some(chunk) = self.fill.get::<u64>() else {
            return false;
        };
        let layout = self.umem.layout();
        let headroom = KERNEL_HEADROOM + u64::from(layout.headroom());
        let bytes = self.next.to_ne_bytes();
        let written = rustix::io::pwrite(self.umem.as_fd(), &bytes, chunk + headroom);
        assert_eq!(written.expect("a memfd can be written"), bytes.len());
        self.next += 1;
        let address = if layout.unaligned() {
            chunk | headroom << 48
        } else {
            chunk + headroom
        };
        self.rx.put(Descriptor {
            address,
            length: 8,
            options: if continued { CONTINUED } else { 0 },
        })
    }

    /// Sends up to `count` descriptors and reports as many frames as COMPLETION has room for.
    pub(super) fn send(&mut self, count: usize) -> usize {
        let mut sent = 0;
        while sent < count {
            let Some(descriptor) = self.tx.get::<Descriptor>() else {
                break;
            };
            let mut bytes = [0; 8];
            let read = rustix::io::pread(self.umem.as_fd(), &mut bytes, descriptor.address);
            assert_eq!(read.expect("a memfd can be read"), bytes.len());
            self.sent.push(u64::from_ne_bytes(bytes));
            self.unreported.push_back(descriptor.address);
            sent += 1;
        }
        while let Some(address) = self.unreported.front() {
            if !self.completion.put(*address) {
                break;
            }
            self.unreported.pop_front();
        }
        sent
    }
}

/// The number that a packet carries.
pub(super) fn number(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().expect("it is one number"))
}

/// How many frames a UMEM has in all.
pub(super) fn total(tally: Tally) -> u32 {
    tally.ours + tally.fill + tally.transmit
}
