//! The half of a socket that receives.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::RecvFlags;

use super::inbound::{Inbound, Received};
use super::memory::MappedRing;
use super::wait::wait;
use super::{Faults, Incoming, Options, Packet, Umem};

/// The half of a [`Socket`](super::Socket) that receives: its FILL and RX rings.
///
/// It keeps FILL as full as it can with free frames of the UMEM, each time that something is waited for
/// or nothing is there to be received, and otherwise when an eighth is missing.
#[derive(Debug)]
pub struct Receiver<'u> {
    inbound: Inbound<'u, MappedRing>,
    socket: Arc<OwnedFd>,
    busy_poll: bool,
}

/// Packets that were received: an iterator that ends when as many were taken as were asked for, or
/// no more are there. What is not taken stays for the next batch; what is taken may be kept for as
/// long as the UMEM lives.
#[derive(Debug)]
pub struct Batch<'r, 'u> {
    received: Received<'r, 'u, MappedRing>,
}

impl<'u> Receiver<'u> {
    pub(super) fn new(
        inbound: Inbound<'u, MappedRing>,
        socket: Arc<OwnedFd>,
        options: &Options,
    ) -> Self {
        Self {
            inbound,
            socket,
            busy_poll: options.busy_poll.is_some(),
        }
    }

    /// The packets that are there, `packets` at most. It never waits.
    pub fn receive(&mut self, packets: usize) -> Batch<'_, 'u> {
        self.look();
        Batch {
            received: self.inbound.receive(narrow(packets)),
        }
    }

    /// Hands the packets that are there, `packets` at most, to a function, one after the other; returns
    /// how many. It never waits.
    ///
    /// A packet that the function doesn't take is received into again: it goes right to FILL, which
    /// makes this the fastest way to receive.
    ///
    /// ```no_run
    /// # use libdispatch::xsk::Receiver;
    /// fn count_bytes(receiver: &mut Receiver<'_>) -> usize {
    ///     let mut bytes = 0;
    ///     receiver.receive_each(64, |packet| bytes += packet.len());
    ///     bytes
    /// }
    /// ```
    ///
    /// Should the function panic, the frame of the packet that it had may be lost to the UMEM, unless it
    /// took or sent it. No packet is handed over twice; those behind it come with the next call.
    #[inline]
    pub fn receive_each(&mut self, packets: usize, treat: impl FnMut(Incoming<'_, 'u>)) -> usize {
        self.look();
        self.inbound.receive_each(narrow(packets), treat) as usize
    }

    /// Refills what was received into before, and has the kernel look for more where it has to be told.
    #[inline]
    fn look(&mut self) {
        self.inbound.refill_if_low();
        if self.inbound.needs_wakeup() || self.busy_poll && self.inbound.is_empty() {
            // Whatever goes wrong here, packets come later or not at all: waiting tells.
            let _ = rustix::net::recv(&self.socket, &mut [0; 0], RecvFlags::DONTWAIT);
        }
    }

    /// Waits until packets are there, at most so long; false if none are. Frames that others free
    /// meanwhile are received into within a second, so it is better not to wait with FILL empty.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` if the interface is down, `ENXIO` if it is gone; this may take a second.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let inbound = &mut self.inbound;
        wait(self.socket.as_fd(), PollFlags::IN, timeout, || {
            inbound.refill();
        })
    }

    /// Takes a packet for the next refill. The same as dropping it, but without a look at the
    /// UMEM's pool, which other threads may use.
    #[inline]
    pub fn recycle(&mut self, packet: Packet<'u>) {
        self.inbound.recycle(packet);
    }

    /// What in the rings could not be true.
    pub fn faults(&self) -> Faults {
        self.inbound.faults()
    }

    /// The UMEM whose frames it receives into.
    pub fn umem(&self) -> &'u Umem {
        self.inbound.umem()
    }

    pub(super) fn set_contended(&mut self) {
        self.inbound.set_contended();
    }
}

/// No ring has more entries.
fn narrow(packets: usize) -> u32 {
    u32::try_from(packets).unwrap_or(u32::MAX)
}

impl<'u> Batch<'_, 'u> {
    /// The same as [`Receiver::recycle`].
    #[inline]
    pub fn recycle(&mut self, packet: Packet<'u>) {
        self.received.recycle(packet);
    }
}

impl<'u> Iterator for Batch<'_, 'u> {
    type Item = Packet<'u>;

    #[inline]
    fn next(&mut self) -> Option<Packet<'u>> {
        self.received.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.received.remaining()))
    }
}

impl AsFd for Receiver<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
