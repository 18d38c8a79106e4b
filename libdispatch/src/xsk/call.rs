//! What is called in the kernel, by name.

use std::fmt;

/// A system call, or an option that one sets. [`Error::System`](super::Error::System) says which one
/// failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each has its name from the kernel, as `Display` writes it"
)]
pub enum Call {
    AddSeals,
    Bind,
    BusyPoll,
    BusyPollBudget,
    Fallocate,
    Ftruncate,
    MemfdCreate,
    /// `mmap` of packet memory.
    MmapMemory,
    MmapOffsets,
    MmapRing,
    Pipe,
    PreferBusyPoll,
    RxRing,
    /// `socket(AF_XDP)`.
    Socket,
    TxRing,
    UmemCompletionRing,
    UmemFillRing,
    UmemReg,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddSeals => "F_ADD_SEALS",
            Self::Bind => "bind(AF_XDP)",
            Self::BusyPoll => "SO_BUSY_POLL",
            Self::BusyPollBudget => "SO_BUSY_POLL_BUDGET",
            Self::Fallocate => "fallocate",
            Self::Ftruncate => "ftruncate",
            Self::MemfdCreate => "memfd_create",
            Self::MmapMemory => "mmap of packet memory",
            Self::MmapOffsets => "XDP_MMAP_OFFSETS",
            Self::MmapRing => "mmap of a ring",
            Self::Pipe => "pipe",
            Self::PreferBusyPoll => "SO_PREFER_BUSY_POLL",
            Self::RxRing => "XDP_RX_RING",
            Self::Socket => "socket(AF_XDP)",
            Self::TxRing => "XDP_TX_RING",
            Self::UmemCompletionRing => "XDP_UMEM_COMPLETION_RING",
            Self::UmemFillRing => "XDP_UMEM_FILL_RING",
            Self::UmemReg => "XDP_UMEM_REG",
        })
    }
}
