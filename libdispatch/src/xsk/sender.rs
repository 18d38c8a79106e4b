//! The half of a socket that sends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::memory::MappedRing;
use super::outbound::Outbound;
use super::wait::wait;
use super::{Faults, Incoming, Options, Packet, Sent, Umem, Unsent, UnsentReason};

/// The half of a [`Socket`](super::Socket) that sends: its TX and COMPLETION rings.
#[derive(Debug)]
pub struct Sender<'u> {
    outbound: Outbound<'u, MappedRing>,
    socket: Arc<OwnedFd>,
    /// The kernel doesn't say when it sleeps.
    always_wake: bool,
}

impl<'u> Sender<'u> {
    pub(super) fn new(
        outbound: Outbound<'u, MappedRing>,
        socket: Arc<OwnedFd>,
        options: &Options,
    ) -> Self {
        Self {
            outbound,
            socket,
            always_wake: !options.need_wakeup || options.busy_poll.is_some(),
        }
    }

    /// Puts a packet into TX. The kernel is told by [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The packet comes back with a reason, such as that TX is full.
    #[expect(
        clippy::inline_always,
        reason = "a packet that goes through memory costs more cycles than all else"
    )]
    #[inline(always)]
    pub fn send(&mut self, packet: impl Into<Packet<'u>>) -> Result<(), Unsent<'u>> {
        self.outbound.send(packet.into())
    }

    /// Puts a packet into TX while it is [handed over](super::Receiver::receive_each), as it is then: the
    /// fastest way to send what was received. The kernel is told by [`flush`](Self::flush).
    ///
    /// ```no_run
    /// # use std::io;
    /// # use libdispatch::xsk::Socket;
    /// fn return_all(socket: &mut Socket<'_>) -> io::Result<()> {
    ///     let (receiver, sender) = socket.halves();
    ///     receiver.receive_each(64, |mut packet| {
    ///         if let Some((to, rest)) = packet.split_first_chunk_mut::<6>() {
    ///             to.swap_with_slice(&mut rest[..6]);
    ///             // What finds no room is received into again.
    ///             let _ = sender.forward(packet);
    ///         }
    ///     });
    ///     sender.flush()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason, such as that TX is full. The packet's frames can be received into again.
    #[inline]
    pub fn forward(&mut self, packet: Incoming<'_, 'u>) -> Result<(), UnsentReason> {
        self.outbound.forward(packet)
    }

    /// Lets the kernel send what was put into TX, and frees the frames of what was sent, all but those
    /// whose timestamp was asked for. It doesn't wait; what a kernel that is busy leaves in TX is looked at by the next flush.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` if the interface is down, `ENXIO` if it is gone. What was put into TX stays there.
    pub fn flush(&mut self) -> io::Result<()> {
        self.outbound.publish();
        self.outbound.collect();
        let mut left = self.outbound.unread();
        while left > 0 && (self.always_wake || self.outbound.needs_wakeup()) {
            let sent = rustix::net::send(&self.socket, &[], SendFlags::DONTWAIT);
            self.outbound.collect();
            let before = left;
            left = self.outbound.unread();
            match sent {
                // It sends a few packets per call.
                Err(Errno::AGAIN) if left < before => {}
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until TX has room, at most so long; false if it has none.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), which comes first.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.flush()?;
        wait(self.socket.as_fd(), PollFlags::OUT, timeout, || ())
    }

    /// Frees the frames of what was sent; returns how many. Timestamps that were asked for are lost.
    pub fn reap(&mut self) -> usize {
        self.outbound.reap()
    }

    /// The same, and says of each packet whose
    /// [timestamp was asked for](super::Frame::request_timestamp) what became of it, in the order in
    /// which they were sent. It says it of what a [`flush`](Self::flush) found to be sent as well.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use libdispatch::xsk::{Options, Socket, Umem};
    /// let umem = Umem::builder().headroom(24).tx_metadata(24).build()?;
    /// let mut socket = Socket::open(&umem, 2, 0, &Options::default())?;
    /// let (_, sender) = socket.halves();
    /// let mut frame = umem.allocate().ok_or("all frames are in use")?;
    /// frame.write(&[0xff; 60]);
    /// frame.request_timestamp()?;
    /// let first = frame.index();
    /// sender.send(frame).map_err(|unsent| unsent.reason)?;
    /// sender.flush()?;
    /// sender.reap_with(|sent| {
    ///     if sent.index() == first {
    ///         println!("sent at {:?} ns", sent.timestamp());
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn reap_with(&mut self, each: impl FnMut(Sent)) -> usize {
        self.outbound.reap_with(each)
    }

    /// How many more frames TX has room for.
    pub fn room(&mut self) -> u32 {
        self.outbound.room()
    }

    /// What in the rings could not be true.
    pub fn faults(&self) -> Faults {
        self.outbound.faults()
    }

    /// The UMEM whose frames it sends.
    pub fn umem(&self) -> &'u Umem {
        self.outbound.umem()
    }
}

impl AsFd for Sender<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
