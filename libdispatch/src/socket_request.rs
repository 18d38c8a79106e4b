//! What an application asks of an `AF_XDP` socket that the daemon opens for it.

use std::time::Duration;

use protocol::{BusyPoll, SocketGrant, SocketOptions, Umem, UmemLayout};

/// Entries of each ring if nobody says otherwise: as many as libxdp's.
const RING_ENTRIES_DEFAULT: u32 = 2048;
/// Bytes of a frame if nobody says otherwise: room for a packet of an ordinary MTU.
const FRAME_BYTES_DEFAULT: u32 = 2048;

/// An `AF_XDP` socket to be opened by the daemon: see [`Client::open_socket`](crate::Client::open_socket).
///
/// Without further settings: frames of 2048 bytes, four rings of 2048 entries, zero-copy if the driver
/// has it, and wakeups only when they are needed.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until a client opens it"]
pub struct SocketRequest {
    pub(crate) interface: String,
    pub(crate) queue: u32,
    pub(crate) redirect: bool,
    layout: UmemLayout,
    options: SocketOptions,
}

/// Whether packets are copied between the device's memory and the application's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketMode {
    /// Not, if the driver can do without.
    #[default]
    Auto,
    /// They are (`XDP_COPY`).
    Copy,
    /// They are not, or the request is refused (`XDP_ZEROCOPY`).
    ZeroCopy,
}

impl SocketRequest {
    /// A socket on a receive queue of an interface.
    pub fn new(interface: &str, queue: u32) -> Self {
        let layout = UmemLayout {
            frame_size: FRAME_BYTES_DEFAULT,
            headroom: 0,
            unaligned: false,
            tx_metadata_len: 0,
            software_checksum: false,
        };
        Self {
            interface: interface.to_owned(),
            queue,
            redirect: true,
            options: SocketOptions {
                umem: Umem::Own(layout.clone()),
                fill: RING_ENTRIES_DEFAULT,
                completion: RING_ENTRIES_DEFAULT,
                rx: RING_ENTRIES_DEFAULT,
                tx: RING_ENTRIES_DEFAULT,
                mode: protocol::SocketMode::Auto,
                need_wakeup: true,
                multi_buffer: false,
                busy_poll: None,
            },
            layout,
        }
    }

    /// Bytes of a frame: 2048 to 4096, a power of two unless frames are unaligned. Default: 2048.
    pub fn frame_size(mut self, bytes: u32) -> Self {
        self.layout.frame_size = bytes;
        self
    }

    /// Bytes that stay free before a received packet, beside the kernel's own 256. Default: 0.
    pub fn headroom(mut self, bytes: u32) -> Self {
        self.layout.headroom = bytes;
        self
    }

    /// Frames may begin anywhere (`XDP_UMEM_UNALIGNED_CHUNK_FLAG`).
    pub fn unaligned(mut self, unaligned: bool) -> Self {
        self.layout.unaligned = unaligned;
        self
    }

    /// Bytes before a packet to be sent that hold its metadata: a multiple of 8 below 256.
    ///
    /// # Minimum kernel version
    ///
    /// 6.11: before, the request is refused ([`RefusalCode::Unsupported`](crate::RefusalCode)).
    pub fn tx_metadata(mut self, bytes: u32) -> Self {
        self.layout.tx_metadata_len = bytes;
        self
    }

    /// Where packets are copied, the kernel computes the checksums that it is asked for
    /// (`XDP_UMEM_TX_SW_CSUM`), for trying things out: see
    /// [`UmemBuilder::software_checksum`](crate::xsk::UmemBuilder::software_checksum). Default: no.
    ///
    /// # Minimum kernel version
    ///
    /// 6.11, as [`tx_metadata`](Self::tx_metadata).
    pub fn software_checksum(mut self, software_checksum: bool) -> Self {
        self.layout.software_checksum = software_checksum;
        self
    }

    /// Entries of all four rings: a power of two, 32 768 at most. Default: 2048.
    pub fn rings(self, entries: u32) -> Self {
        self.fill(entries)
            .completion(entries)
            .rx(entries)
            .tx(entries)
    }

    /// Entries of the FILL ring.
    pub fn fill(mut self, entries: u32) -> Self {
        self.options.fill = entries;
        self
    }

    /// Entries of the COMPLETION ring.
    pub fn completion(mut self, entries: u32) -> Self {
        self.options.completion = entries;
        self
    }

    /// Entries of the RX ring; 0 for a socket that only sends, which can't be activated.
    pub fn rx(mut self, entries: u32) -> Self {
        self.options.rx = entries;
        self
    }

    /// Entries of the TX ring; 0 for a socket that only receives.
    pub fn tx(mut self, entries: u32) -> Self {
        self.options.tx = entries;
        self
    }

    /// Whether packets are copied.
    pub fn mode(mut self, mode: SocketMode) -> Self {
        self.options.mode = match mode {
            SocketMode::Auto => protocol::SocketMode::Auto,
            SocketMode::Copy => protocol::SocketMode::Copy,
            SocketMode::ZeroCopy => protocol::SocketMode::ZeroCopy,
        };
        self
    }

    /// Whether the kernel says when it has to be woken (`XDP_USE_NEED_WAKEUP`). Default: yes.
    pub fn need_wakeup(mut self, need_wakeup: bool) -> Self {
        self.options.need_wakeup = need_wakeup;
        self
    }

    /// Packets may have several frames (`XDP_USE_SG`).
    ///
    /// # Minimum kernel version
    ///
    /// 6.6.
    pub fn multi_buffer(mut self, multi_buffer: bool) -> Self {
        self.options.multi_buffer = multi_buffer;
        self
    }

    /// Whoever receives polls the queue, for a time and a number of packets that are given here. See
    /// [`xsk::BusyPoll`](crate::xsk::BusyPoll) for when that is so.
    ///
    /// # Minimum kernel version
    ///
    /// 5.11.
    pub fn busy_poll(mut self, time: Duration, packets: u16) -> Self {
        self.options.busy_poll = Some(BusyPoll {
            timeout_us: u32::try_from(time.as_micros()).unwrap_or(u32::MAX),
            budget: packets,
        });
        self
    }

    /// The application's own program gives the socket its packets, or none does. Then there is
    /// nothing to activate.
    pub fn without_redirect(mut self) -> Self {
        self.redirect = false;
        self
    }

    /// The same on this queue, without FILL and COMPLETION.
    pub(crate) fn beside(&self, interface: &str, queue: u32) -> Self {
        Self {
            interface: interface.to_owned(),
            queue,
            ..self.clone().fill(0).completion(0)
        }
    }

    /// With memory of its own, or with that of the socket with this token.
    pub(crate) fn bound(&self, shared: Option<[u8; 16]>) -> SocketGrant {
        SocketGrant::Bound(SocketOptions {
            umem: match shared {
                Some(token) => Umem::Shared { token },
                None => Umem::Own(self.layout.clone()),
            },
            ..self.options.clone()
        })
    }
}
