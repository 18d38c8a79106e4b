//! What is said of `AF_XDP` sockets.

use serde::{Deserialize, Serialize};

use crate::{Options, Owner, Token, bounded};

/// A socket to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSocket {
    /// The interface.
    #[serde(deserialize_with = "bounded::name")]
    pub interface: String,
    /// The receive queue.
    pub queue: u32,
    /// How much of it the daemon does.
    pub grant: SocketGrant,
    /// The built-in redirect program gives it packets, from its activation on. Without it the
    /// client's own program does, or the socket only sends.
    pub redirect: bool,
    /// Drawn by the client for this socket alone: what names it from now on.
    pub token: Token,
    /// Room for later versions.
    pub options: Options,
}

impl OpenSocket {
    /// Descriptors that it has to bring.
    pub fn descriptors(&self) -> usize {
        match &self.grant {
            SocketGrant::Bound(SocketOptions {
                umem: Umem::Own(_), ..
            }) => 1,
            SocketGrant::Bound(SocketOptions {
                umem: Umem::Shared { .. },
                ..
            })
            | SocketGrant::Bare => 0,
        }
    }
}

/// How much of a socket the daemon makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketGrant {
    /// All of it: memory, rings, and the queue it is bound to. The client maps the rings.
    Bound(SocketOptions),
    /// The socket, tied to the interface (`SO_BINDTODEVICE`). The client does the rest, so it may
    /// bind it to any queue of the interface.
    Bare,
}

/// How a socket is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOptions {
    /// Where its frames are.
    pub umem: Umem,
    /// Entries of the FILL ring: a power of two, as all rings' are; 0 beside another socket.
    pub fill: u32,
    /// Entries of the COMPLETION ring; 0 beside another socket.
    pub completion: u32,
    /// Entries of the RX ring; 0 for a socket that only sends.
    pub rx: u32,
    /// Entries of the TX ring; 0 for a socket that only receives.
    pub tx: u32,
    /// Whether packets are copied. With shared memory it is as its first socket has it.
    pub mode: SocketMode,
    /// The kernel says when it has to be woken (`XDP_USE_NEED_WAKEUP`).
    pub need_wakeup: bool,
    /// Packets may have several frames (`XDP_USE_SG`, Linux 6.6).
    pub multi_buffer: bool,
    /// The queue is polled by who receives, not by interrupts.
    pub busy_poll: Option<BusyPoll>,
}

/// Where a socket's frames are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Umem {
    /// In the memfd that comes with the request.
    Own(UmemLayout),
    /// Where another socket of this connection has its own. On another queue or interface; or on that
    /// one's very queue, beside it: then with its FILL and COMPLETION rings, so with 0 entries here.
    Shared {
        /// That socket's token.
        token: Token,
    },
}

/// How memory is divided into frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UmemLayout {
    /// Bytes of a frame: 2048 to 4096, a power of two unless `unaligned`.
    pub frame_size: u32,
    /// Bytes that stay free before a received packet.
    pub headroom: u32,
    /// Frames may begin anywhere (`XDP_UMEM_UNALIGNED_CHUNK_FLAG`).
    pub unaligned: bool,
    /// Bytes before a packet to be sent that hold its metadata (`XDP_UMEM_TX_METADATA_LEN`, Linux
    /// 6.11); 0 for none.
    pub tx_metadata_len: u32,
    /// Where packets are copied, the kernel computes the checksums that it is asked for
    /// (`XDP_UMEM_TX_SW_CSUM`).
    pub software_checksum: bool,
}

/// Whether packets are copied between the device's memory and the socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketMode {
    /// Not, if the driver can do without.
    Auto,
    /// They are.
    Copy,
    /// They are not, or there is no socket.
    ZeroCopy,
}

/// How a queue is polled by who receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusyPoll {
    /// How long a call polls, in microseconds (`SO_BUSY_POLL`).
    pub timeout_us: u32,
    /// Packets a call may take (`SO_BUSY_POLL_BUDGET`).
    pub budget: u16,
}

/// A socket that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// The interface's index, in its own namespace: what the kernel knows it by.
    pub ifindex: u32,
    /// The receive queue.
    pub queue: u32,
    /// Whether packets are not copied (`XDP_OPTIONS`); false for a bare socket.
    pub zero_copy: bool,
}

/// A socket in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDetail {
    /// The receive queue.
    pub queue: u32,
    /// Its client.
    pub owner: Owner,
    /// What it is doing.
    pub state: SocketState,
    /// Whether packets are not copied.
    pub zero_copy: bool,
    /// Bytes of the memory that its frames are in, which sockets may share; 0 if its client registered it.
    pub bytes: u64,
    /// What the kernel counted; `None` while its client has not come back.
    pub counts: Option<SocketCounts>,
    /// Room for later versions.
    pub options: Options,
}

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketState {
    /// It was opened, and the queue's packets don't go to it.
    Opened,
    /// It gets the queue's packets.
    Active,
    /// It gets them, and the daemon waits for its client to come back.
    Lingering,
}

/// What the kernel counted for a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounts {
    /// Packets dropped though the RX ring had room: the FILL ring was empty, or they were too long.
    pub rx_dropped: u64,
    /// What the kernel counts as invalid descriptors of the receiving side. On 6.18 entries of FILL that
    /// name no frame are not among them.
    pub rx_invalid_descs: u64,
    /// Descriptors in the TX ring that named no packet.
    pub tx_invalid_descs: u64,
    /// Packets dropped since the RX ring was full.
    pub rx_ring_full: u64,
    /// Times that a packet found the FILL ring empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times that the TX ring had nothing to send.
    pub tx_ring_empty_descs: u64,
}
