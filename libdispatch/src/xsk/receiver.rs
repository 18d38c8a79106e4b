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
use super::{Faults, Options, Packet, Umem};

/// The half of a [`Socket`](super::Socket) that receives: its FILL and RX rings.
///
/// It keeps FILL as full as it can with free frames of the UMEM, each time that something is
/// received or waited for.
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
        let lent = self.inbound.refill();
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        if lent > 0 && self.inbound.needs_wakeup() || self.busy_poll && self.inbound.is_empty() {
            // Whatever goes wrong here, packets come later or not at all: waiting tells.
            let _ = rustix::net::recv(&self.socket, &mut [0; 0], RecvFlags::DONTWAIT);
        }
        Batch {
            received: self.inbound.receive(packets),
        }
    }

    /// Waits until packets are there, at most so long; false if none are.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` if the interface is down or gone.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.inbound.refill();
        wait(self.socket.as_fd(), PollFlags::IN, timeout)
    }

    /// Takes a packet for the next refill. The same as dropping it, but without a look at the
    /// UMEM's pool, which other threads may use.
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
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

impl<'u> Batch<'_, 'u> {
    /// The same as [`Receiver::recycle`].
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    pub fn recycle(&mut self, packet: Packet<'u>) {
        self.received.recycle(packet);
    }
}

impl<'u> Iterator for Batch<'_, 'u> {
    type Item = Packet<'u>;

    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
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
