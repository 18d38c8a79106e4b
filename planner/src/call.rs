//! What the daemon calls in the kernel, by name.

use std::fmt;

/// A system call, or a command or option of one. Errors say which one failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each has its name from the kernel, as `Display` writes it"
)]
pub enum Call {
    Bind,
    BindToDevice,
    BpfLinkCreate,
    BpfLinkDetach,
    BpfLinkUpdate,
    BpfMapCreate,
    BpfMapFreeze,
    BpfMapLookupElem,
    BpfMapUpdateElem,
    BpfObjGet,
    BpfObjGetInfoByFd,
    BpfObjPin,
    BpfProgLoad,
    BusyPoll,
    Clone,
    DupFd,
    EpollCreate,
    Lstat,
    Membarrier,
    Mkdir,
    Mmap,
    /// `mmap` of a ring of a socket that is bound, which some kernels refuse.
    MmapBoundRing,
    Munmap,
    Readdir,
    Readlink,
    Rename,
    Rmdir,
    /// `RTM_GETLINK`, of netlink.
    RtmGetlink,
    Setns,
    /// `socket(AF_XDP)`.
    XdpSocket,
    Unlink,
    XdpOptions,
    XdpRxRing,
    XdpTxRing,
    XdpUmemCompletionRing,
    XdpUmemFillRing,
    XdpUmemReg,
    /// `XDP_UMEM_REG` of memory with TX metadata, which some kernels refuse.
    XdpUmemRegMetadata,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::BindToDevice => "SO_BINDTODEVICE",
            Self::BpfLinkCreate => "BPF_LINK_CREATE",
            Self::BpfLinkDetach => "BPF_LINK_DETACH",
            Self::BpfLinkUpdate => "BPF_LINK_UPDATE",
            Self::BpfMapCreate => "BPF_MAP_CREATE",
            Self::BpfMapFreeze => "BPF_MAP_FREEZE",
            Self::BpfMapLookupElem => "BPF_MAP_LOOKUP_ELEM",
            Self::BpfMapUpdateElem => "BPF_MAP_UPDATE_ELEM",
            Self::BpfObjGet => "BPF_OBJ_GET",
            Self::BpfObjGetInfoByFd => "BPF_OBJ_GET_INFO_BY_FD",
            Self::BpfObjPin => "BPF_OBJ_PIN",
            Self::BpfProgLoad => "BPF_PROG_LOAD",
            Self::BusyPoll => "SO_BUSY_POLL",
            Self::Clone => "clone",
            Self::DupFd => "F_DUPFD_CLOEXEC",
            Self::EpollCreate => "epoll_create1",
            Self::Lstat => "lstat",
            Self::Membarrier => "membarrier",
            Self::Mkdir => "mkdir",
            Self::Mmap => "mmap",
            Self::MmapBoundRing => "mmap of a bound socket's ring",
            Self::Munmap => "munmap",
            Self::Readdir => "readdir",
            Self::Readlink => "readlink",
            Self::Rename => "rename",
            Self::Rmdir => "rmdir",
            Self::RtmGetlink => "RTM_GETLINK",
            Self::Setns => "setns",
            Self::XdpSocket => "socket(AF_XDP)",
            Self::Unlink => "unlink",
            Self::XdpOptions => "XDP_OPTIONS",
            Self::XdpRxRing => "XDP_RX_RING",
            Self::XdpTxRing => "XDP_TX_RING",
            Self::XdpUmemCompletionRing => "XDP_UMEM_COMPLETION_RING",
            Self::XdpUmemFillRing => "XDP_UMEM_FILL_RING",
            Self::XdpUmemReg => "XDP_UMEM_REG",
            Self::XdpUmemRegMetadata => "XDP_UMEM_REG with TX metadata",
        })
    }
}
