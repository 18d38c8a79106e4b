//! A socket, whole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::net::xdp::XdpOptionsFlags;

use super::inbound::Inbound;
use super::ledger::RingNumber;
use super::outbound::Outbound;
use super::{Error, Options, Receiver, Sender, Umem, setup};

/// An `AF_XDP` socket, bound to one queue of an interface: a [`Receiver`] and a [`Sender`].
///
/// It receives nothing before an XDP program redirects packets to it, which the daemon arranges for
/// its sockets; other sockets have to be put into a program's XSKMAP
/// ([`AsFd`] is the value to put there).
///
/// When it is dropped, the frames that the kernel has from it are lost to the UMEM: the kernel may
/// still write to them.
#[derive(Debug)]
pub struct Socket<'u> {
    receiver: Receiver<'u>,
    sender: Sender<'u>,
    descriptor: Arc<OwnedFd>,
    ring: RingNumber,
    ifindex: u32,
    queue: u32,
}

/// What happened to a socket's packets (`XDP_STATISTICS`). What a kernel doesn't count is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received and dropped, for other reasons than the following.
    pub rx_dropped: u64,
    /// Invalid addresses in FILL.
    pub rx_invalid: u64,
    /// Invalid descriptors in TX.
    pub tx_invalid: u64,
    /// Dropped because RX was full (Linux 5.9).
    pub rx_ring_full: Option<u64>,
    /// How often the kernel found FILL empty (Linux 5.9).
    pub fill_ring_empty: Option<u64>,
    /// How often the kernel found TX empty (Linux 5.9).
    pub tx_ring_empty: Option<u64>,
}

impl<'u> Socket<'u> {
    /// Opens a socket for a queue of an interface in the calling thread's network namespace.
    ///
    /// The first socket of a UMEM says how packets are copied, whether the kernel sleeps and whether
    /// packets may have several frames; the kernel treats further ones alike, whatever their options.
    ///
    /// # Errors
    ///
    /// Without `CAP_NET_RAW`; if another socket has the queue; see [`Error`].
    pub fn open(
        umem: &'u Umem,
        ifindex: u32,
        queue: u32,
        options: &Options,
    ) -> Result<Self, Error> {
        options.check(true)?;
        Self::bind(umem, setup::socket()?, ifindex, queue, options)
    }

    /// The same with a socket that was received and is not configured yet. It is enough for
    /// it to be allowed to bind to this interface.
    pub fn from_bare(
        umem: &'u Umem,
        socket: OwnedFd,
        ifindex: u32,
        queue: u32,
        options: &Options,
    ) -> Result<Self, Error> {
        options.check(true)?;
        setup::check(socket.as_fd())?;
        Self::bind(umem, socket, ifindex, queue, options)
    }

    /// Takes over a socket that was received and is ready: this UMEM's memfd is registered for it, in
    /// this layout, its rings have the sizes that the options say, and it is bound to this queue, or
    /// will be.
    ///
    /// # Errors
    ///
    /// A ring that the socket doesn't have can't be mapped; see [`Error`]. A size that is not the ring's is
    /// not always found out, and then neither side knows any more which frames it has.
    ///
    /// # Minimum kernel version
    ///
    /// 6.4 for a socket that is bound already: before, its rings can only be mapped until it is
    /// ([`Error::BoundTooEarly`]).
    pub fn from_bound(
        umem: &'u Umem,
        socket: OwnedFd,
        ifindex: u32,
        queue: u32,
        options: &Options,
    ) -> Result<Self, Error> {
        options.check(true)?;
        setup::check(socket.as_fd())?;
        let rings = setup::map_rings(socket.as_fd(), options)?;
        let socket = Arc::new(socket);
        umem.add_socket(&socket);
        let place = (umem.ring()?, ifindex, queue);
        Ok(Self::new(umem, socket, place, rings, options, false))
    }

    /// Opens another socket on the same queue. An XDP program decides which of them gets a packet.
    /// Both receive into frames from this one's FILL ring, and what either sends is reaped by
    /// this one's [`Sender`]: so this one has to live on, and to go on receiving or waiting, and flushing.
    pub fn open_beside(&mut self, options: &Options) -> Result<Self, Error> {
        let options = &options.beside()?;
        let socket = setup::socket()?;
        setup::size_rings(socket.as_fd(), options)?;
        let rings = setup::map_rings(socket.as_fd(), options)?;
        let (ifindex, queue) = (self.ifindex, self.queue);
        setup::bind(
            socket.as_fd(),
            ifindex,
            queue,
            options,
            Some(&self.descriptor),
        )?;
        Ok(self.beside(socket, rings, options))
    }

    /// The same with a socket that was received and is bound to this one's queue, beside it:
    /// [`Client::open_socket_beside`](crate::Client::open_socket_beside).
    ///
    /// # Minimum kernel version
    ///
    /// 6.4.
    pub fn take_beside(&mut self, socket: OwnedFd, options: &Options) -> Result<Self, Error> {
        let options = &options.beside()?;
        setup::check(socket.as_fd())?;
        let rings = setup::map_rings(socket.as_fd(), options)?;
        Ok(self.beside(socket, rings, options))
    }

    fn beside(&mut self, socket: OwnedFd, rings: setup::Rings, options: &Options) -> Self {
        self.receiver.set_contended();
        let umem = self.receiver.umem();
        let place = (self.ring, self.ifindex, self.queue);
        Self::new(umem, Arc::new(socket), place, rings, options, true)
    }

    /// Both halves at once, for a thread that receives and sends.
    pub fn halves(&mut self) -> (&mut Receiver<'u>, &mut Sender<'u>) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Both halves apart, for two threads. The socket is closed when both are dropped.
    pub fn split(self) -> (Receiver<'u>, Sender<'u>) {
        (self.receiver, self.sender)
    }

    /// Waits until packets are there; see [`Receiver::wait`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.receiver.wait(timeout)
    }

    /// Whether packets come without being copied (`XDP_OPTIONS`, Linux 5.3).
    pub fn is_zero_copy(&self) -> io::Result<bool> {
        let options = sockopt::xdp_options(&self.descriptor)?;
        Ok(options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    /// What happened to its packets so far.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let statistics = sockopt::xdp_statistics(&self.descriptor)?;
        Ok(Statistics {
            rx_dropped: statistics.rx_dropped,
            rx_invalid: statistics.rx_invalid_descs,
            tx_invalid: statistics.tx_invalid_descs,
            rx_ring_full: statistics.rx_ring_full,
            fill_ring_empty: statistics.rx_fill_ring_empty_descs,
            tx_ring_empty: statistics.tx_ring_empty_descs,
        })
    }

    /// The interface's index, in the socket's network namespace.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Configures a socket and binds it.
    fn bind(
        umem: &'u Umem,
        socket: OwnedFd,
        ifindex: u32,
        queue: u32,
        options: &Options,
    ) -> Result<Self, Error> {
        let shared = umem.socket();
        if shared.is_none() {
            setup::register(socket.as_fd(), umem)?;
        }
        setup::size_rings(socket.as_fd(), options)?;
        if let Some(busy_poll) = options.busy_poll {
            setup::busy_poll(socket.as_fd(), busy_poll)?;
        }
        let rings = setup::map_rings(socket.as_fd(), options)?;
        setup::bind(socket.as_fd(), ifindex, queue, options, shared.as_deref())?;
        let socket = Arc::new(socket);
        umem.add_socket(&socket);
        let place = (umem.ring()?, ifindex, queue);
        Ok(Self::new(umem, socket, place, rings, options, false))
    }

    /// From what was made. `contended` says that another socket receives from the same FILL ring.
    fn new(
        umem: &'u Umem,
        socket: Arc<OwnedFd>,
        (ring, ifindex, queue): (RingNumber, u32, u32),
        rings: setup::Rings,
        options: &Options,
        contended: bool,
    ) -> Self {
        setup::send_all_at_once(socket.as_fd(), options.tx);
        let inbound = Inbound::new(umem, ring, rings.fill, rings.rx, contended);
        let multi_buffer = options.multi_buffer;
        let outbound = Outbound::new(umem, ring, rings.tx, rings.completion, multi_buffer);
        Self {
            receiver: Receiver::new(inbound, Arc::clone(&socket), options),
            sender: Sender::new(outbound, Arc::clone(&socket), options),
            descriptor: socket,
            ring,
            ifindex,
            queue,
        }
    }
}

impl AsFd for Socket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
