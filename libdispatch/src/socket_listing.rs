//! What the daemon shows of `AF_XDP` sockets.

use crate::Owner;

/// An `AF_XDP` socket that the redirect program gives packets to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketDetail {
    /// The receive queue.
    pub queue: u32,
    /// Whose it is.
    pub owner: Owner,
    /// What it is doing.
    pub state: SocketState,
    /// Whether packets are not copied.
    pub zero_copy: bool,
    /// Bytes of the memory that its frames are in, which sockets may share; 0 if its client registered it.
    pub bytes: u64,
    /// What the kernel counted; `None` while its client has not come back.
    pub counts: Option<SocketCounts>,
}

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketState {
    /// It was opened, and the queue's packets don't go to it.
    Opened,
    /// It gets the queue's packets.
    Active,
    /// It gets them, and the daemon waits for its client to come back.
    Lingering,
}

impl SocketState {
    /// The word in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Active => "active",
            Self::Lingering => "lingering",
        }
    }
}

/// What the kernel counted for a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl From<protocol::SocketDetail> for SocketDetail {
    fn from(detail: protocol::SocketDetail) -> Self {
        Self {
            queue: detail.queue,
            owner: detail.owner.into(),
            state: match detail.state {
                protocol::SocketState::Opened => SocketState::Opened,
                protocol::SocketState::Active => SocketState::Active,
                protocol::SocketState::Lingering => SocketState::Lingering,
            },
            zero_copy: detail.zero_copy,
            bytes: detail.bytes,
            counts: detail.counts.map(SocketCounts::from),
        }
    }
}

impl From<protocol::SocketCounts> for SocketCounts {
    fn from(counts: protocol::SocketCounts) -> Self {
        Self {
            rx_dropped: counts.rx_dropped,
            rx_invalid_descs: counts.rx_invalid_descs,
            tx_invalid_descs: counts.tx_invalid_descs,
            rx_ring_full: counts.rx_ring_full,
            rx_fill_ring_empty_descs: counts.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: counts.tx_ring_empty_descs,
        }
    }
}
