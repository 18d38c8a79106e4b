//! What can go wrong around a socket. Nothing on the data path fails with one of these.

use std::io;

use super::Call;

/// Why a UMEM or a socket can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No frames, or more than there are addresses.
    #[error("a UMEM of {frames} frames: at least one, and less than 2^32 and 2^48 bytes")]
    Frames {
        /// How many were asked for.
        frames: u64,
    },

    /// The kernel takes frames from 2048 bytes to a page, powers of two unless they are unaligned.
    #[error("frames of {bytes} bytes: a power of two (or unaligned) from 2048 to {page}")]
    FrameSize {
        /// What was asked for.
        bytes: u32,
        /// The page size.
        page: usize,
    },

    /// The headroom and the kernel's own 256 bytes leave no place for a packet.
    #[error("a headroom of {bytes} bytes leaves no place for a packet in a frame of {frame}")]
    Headroom {
        /// What was asked for.
        bytes: u32,
        /// The frame size.
        frame: u32,
    },

    /// Metadata for the driver is a multiple of 8 bytes, at most 255, within the headroom.
    #[error("TX metadata of {bytes} bytes: a multiple of 8, at most 248, within the headroom")]
    TxMetadata {
        /// What was asked for.
        bytes: u32,
    },

    /// To compute checksums, the kernel has to be asked for them.
    #[error("checksums by the kernel with {bytes} bytes of TX metadata: at least 16")]
    SoftwareChecksum {
        /// What was asked for of TX metadata.
        bytes: u32,
    },

    /// The kernel takes memory of this layout, but not with TX metadata.
    #[error("this kernel takes no memory with TX metadata, which Linux 6.11 does")]
    NoTxMetadata,

    /// A ring's size has to be a power of two, at most 2^24.
    #[error("a {ring} ring of {entries} entries: a power of two, at most 2^24")]
    RingSize {
        /// FILL, COMPLETION, RX or TX.
        ring: &'static str,
        /// What was asked for.
        entries: u32,
    },

    /// A socket needs RX or TX, and FILL and COMPLETION unless it shares another one's.
    #[error("the socket has no {ring} ring")]
    NoRing {
        /// FILL, COMPLETION, or RX or TX.
        ring: &'static str,
    },

    /// The UMEM has had as many sockets as can be told apart, 32767.
    #[error("the UMEM has had 32767 sockets")]
    TooManySockets,

    /// The descriptor is not an `AF_XDP` socket.
    #[error("the descriptor is not an AF_XDP socket")]
    NotAfXdp,

    /// The kernel has no `AF_XDP` (`CONFIG_XDP_SOCKETS`).
    #[error("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)")]
    NoAfXdp,

    /// `CAP_NET_RAW` is needed to open a socket; the daemon opens them for everybody else.
    #[error("AF_XDP sockets need CAP_NET_RAW")]
    NotAllowed,

    /// Registering the UMEM would pin more memory than `RLIMIT_MEMLOCK` allows.
    #[error("the UMEM's {bytes} bytes are more than RLIMIT_MEMLOCK allows to pin")]
    MemoryLimit {
        /// The UMEM's length.
        bytes: usize,
    },

    /// Another socket has the queue.
    #[error("queue {queue} of interface {ifindex} belongs to another socket")]
    QueueBusy {
        /// The interface's index.
        ifindex: u32,
        /// The queue.
        queue: u32,
    },

    /// The socket is bound, and this kernel maps its rings only before that: since Linux 6.4, they can
    /// be mapped at any time.
    #[error("the socket was bound before its rings were mapped, which needs Linux 6.4")]
    BoundTooEarly,

    /// The kernel's description of its rings makes no sense.
    #[error("the kernel's XDP_MMAP_OFFSETS make no sense")]
    Offsets,

    /// A system call failed.
    #[error("{call}")]
    System {
        /// The call, or the option that it was to set.
        call: Call,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` of a system call.
    pub(super) fn system<E: Into<io::Error>>(call: Call) -> impl Fn(E) -> Self {
        move |source| Self::System {
            call,
            source: source.into(),
        }
    }
}
