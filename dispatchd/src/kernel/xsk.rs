//! `AF_XDP` sockets, made in an interface's network namespace on a thread that ends with them made.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt::BindToDevice};
use planner::{Call, Interface};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::sockopt as options;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::netns;

/// The kernel frees a queue a little after its socket was closed. A bind is tried again for this long.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// The pause between two tries: nothing tells when the queue is free.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// `include/uapi/asm-generic/socket.h`, Linux 5.11.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// A socket that only sends has an RX ring all the same, of which its client doesn't know: where a
/// packet comes to a bound socket, by whatever program, the kernel takes it to be there, and crashes.
const RX_ENTRIES_MIN: u32 = 1;

/// `XDP_UMEM_TX_SW_CSUM` and `XDP_UMEM_TX_METADATA_LEN`, `include/uapi/linux/if_xdp.h`, Linux 6.11.
const UMEM_SOFTWARE_CHECKSUM: u32 = 1 << 1;
const UMEM_TX_METADATA: u32 = 1 << 2;

/// A bound socket to be.
#[derive(Debug)]
pub(crate) struct Bound<'a> {
    pub(crate) queue: u32,
    pub(crate) memory: Memory<'a>,
    /// Entries: of the FILL, COMPLETION, RX and TX ring; 0 for none. On the queue of the socket that
    /// has the memory there are no FILL and COMPLETION ring but that one's.
    pub(crate) rings: [u32; 4],
    pub(crate) mode: CopyMode,
    pub(crate) need_wakeup: bool,
    pub(crate) multi_buffer: bool,
    /// Microseconds, and packets.
    pub(crate) busy_poll: Option<(u32, u16)>,
}

/// Where a socket's frames are.
#[derive(Debug)]
pub(crate) enum Memory<'a> {
    /// In a memfd.
    Own {
        memfd: BorrowedFd<'a>,
        bytes: usize,
        frame_size: u32,
        headroom: u32,
        unaligned: bool,
        tx_metadata_len: u32,
        software_checksum: bool,
    },
    /// Where this socket has its own.
    Shared(BorrowedFd<'a>),
}

/// Whether packets are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyMode {
    Auto,
    Copy,
    ZeroCopy,
}

/// A socket that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) socket: OwnedFd,
    pub(crate) zero_copy: bool,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("{call}")]
pub(crate) struct SocketError {
    /// What was tried.
    pub(crate) call: Call,
    /// What the kernel said.
    pub(crate) source: io::Error,
}

impl SocketError {
    /// The error's number, if it has one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        Errno::from_io_error(&self.source)
    }
}

fn at<E: Into<io::Error>>(call: Call) -> impl FnOnce(E) -> SocketError {
    move |error| SocketError {
        call,
        source: error.into(),
    }
}

/// Runs `work` in a namespace, whatever kind of error it has.
fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, SocketError> + Send,
) -> Result<T, SocketError> {
    netns::within(namespace, || Ok(work())).map_err(at(Call::Setns))?
}

/// A socket that is tied to an interface.
pub(crate) fn bare(
    namespace: BorrowedFd<'_>,
    interface: &Interface,
) -> Result<OwnedFd, SocketError> {
    inside(namespace, || tied(interface))
}

/// A socket that is ready but for its first frames.
pub(crate) fn bound(
    namespace: BorrowedFd<'_>,
    interface: &Interface,
    wanted: &Bound<'_>,
) -> Result<Made, SocketError> {
    inside(namespace, || {
        let socket = tied(interface)?;
        let fd = socket.as_fd();
        if let Some((timeout, budget)) = wanted.busy_poll {
            busy_poll(fd, timeout, budget).map_err(at(Call::BusyPoll))?;
        }
        if let Memory::Own { .. } = wanted.memory {
            register(fd, &wanted.memory)?;
        }
        let [fill, completion, rx, tx] = wanted.rings;
        let sized = |call| at::<Errno>(call);
        if fill > 0 {
            options::set_xdp_umem_fill_ring_size(fd, fill).map_err(sized(Call::XdpUmemFillRing))?;
        }
        if completion > 0 {
            options::set_xdp_umem_completion_ring_size(fd, completion)
                .map_err(sized(Call::XdpUmemCompletionRing))?;
        }
        options::set_xdp_rx_ring_size(fd, rx.max(RX_ENTRIES_MIN))
            .map_err(sized(Call::XdpRxRing))?;
        if tx > 0 {
            options::set_xdp_tx_ring_size(fd, tx).map_err(sized(Call::XdpTxRing))?;
        }
        bind(fd, interface.key.ifindex, wanted).map_err(at(Call::Bind))?;
        // Whether the client will be able to: before Linux 6.4 nobody maps a ring of a bound socket.
        map_ring(fd, XDP_UMEM_PGOFF_FILL_RING).map_err(at(Call::MmapBoundRing))?;
        let mode = options::xdp_options(fd).map_err(at(Call::XdpOptions))?;
        Ok(Made {
            socket,
            zero_copy: mode.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY),
        })
    })
}

/// A new socket that can be bound to this interface alone, whoever has it.
fn tied(interface: &Interface) -> Result<OwnedFd, SocketError> {
    let (family, kind) = (AddressFamily::XDP, SocketType::RAW);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
        .map_err(at(Call::XdpSocket))?;
    setsockopt(&socket, BindToDevice, &interface.name.clone().into())
        .map_err(at(Call::BindToDevice))?;
    Ok(socket)
}

/// Pins a memfd's pages for the socket. The mapping is only for the kernel to find them.
fn register(socket: BorrowedFd<'_>, memory: &Memory<'_>) -> Result<(), SocketError> {
    let Memory::Own {
        memfd,
        bytes,
        frame_size,
        headroom,
        unaligned,
        tx_metadata_len,
        software_checksum,
    } = memory
    else {
        return Ok(());
    };
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping, at a place that the kernel chooses; nothing here reads or writes it.
    let mapped = unsafe { rustix::mm::mmap(ptr::null_mut(), *bytes, protection, flags, memfd, 0) };
    let address = mapped.map_err(at(Call::Mmap))?;
    let mut flags = XdpUmemRegFlags::empty();
    flags.set(XdpUmemRegFlags::XDP_UMEM_UNALIGNED_CHUNK_FLAG, *unaligned);
    let plain = XdpUmemReg {
        addr: address.addr() as u64,
        len: *bytes as u64,
        chunk_size: *frame_size,
        headroom: *headroom,
        flags,
        tx_metadata_len: 0,
    };
    let mut offload = 0;
    if *tx_metadata_len > 0 {
        offload |= UMEM_TX_METADATA;
    }
    if *software_checksum {
        offload |= UMEM_SOFTWARE_CHECKSUM;
    }
    let wanted = XdpUmemReg {
        flags: flags | XdpUmemRegFlags::from_bits_retain(offload),
        tx_metadata_len: *tx_metadata_len,
        ..plain
    };
    let registered = options::set_xdp_umem_reg(socket, wanted).map_err(|error| {
        // The kernel has one number for all that it finds wrong. The socket is closed either way.
        let is_metadata = error == Errno::INVAL
            && offload != 0
            && options::set_xdp_umem_reg(socket, plain).is_ok();
        at(if is_metadata {
            Call::XdpUmemRegMetadata
        } else {
            Call::XdpUmemReg
        })(error)
    });
    // SAFETY: the mapping from above, which nothing refers to: the kernel has pinned its pages.
    unsafe { rustix::mm::munmap(address, *bytes) }.map_err(at(Call::Munmap))?;
    registered
}

fn bind(socket: BorrowedFd<'_>, ifindex: u32, wanted: &Bound<'_>) -> io::Result<()> {
    let deadline = Instant::now() + BUSY_FOR;
    loop {
        let bound = match &wanted.memory {
            Memory::Own { .. } => {
                let address = SocketAddrXdp::new(bind_flags(wanted), ifindex, wanted.queue);
                rustix::net::bind(socket, &address)
            }
            // How packets get there is the first socket's choice: no other flag is taken.
            Memory::Shared(first) => {
                let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
                let address = SocketAddrXdp::new(flags, ifindex, wanted.queue);
                let address = SocketAddrXdpWithSharedUmem {
                    addr: address,
                    shared_umem_fd: *first,
                };
                rustix::net::bind(socket, &address)
            }
        };
        match bound {
            Err(Errno::BUSY) if Instant::now() < deadline => thread::sleep(BUSY_PAUSE),
            result => return Ok(result?),
        }
    }
}

/// Whether a socket certainly has an RX ring, which it then keeps: what has none must get no packets
/// (see [`RX_ENTRIES_MIN`]). Of a socket that its client bound this can be seen since Linux 5.11.
pub(crate) fn has_rx_ring(socket: BorrowedFd<'_>) -> bool {
    match rustix::net::recv(socket, &mut [0_u8; 0], RecvFlags::DONTWAIT) {
        Ok(_) | Err(Errno::AGAIN) => true,
        Err(Errno::NOBUFS) => false,
        // It isn't bound, or its interface is down.
        Err(_) => map_ring(socket, XDP_PGOFF_RX_RING).is_ok(),
    }
}

/// Whether a socket's client has ever put frames into its FILL ring; `None` if that can't be seen: the
/// socket has no such ring of its own, or the kernel maps none of a bound socket (before Linux 6.4).
pub(crate) fn has_had_frames(socket: BorrowedFd<'_>) -> Option<bool> {
    let offsets = options::xdp_mmap_offsets(socket).ok()?;
    let producer = usize::try_from(offsets.fr.producer).ok()?;
    let page = rustix::param::page_size();
    let is_inside = producer.is_multiple_of(4) && producer + size_of::<u32>() <= page;
    let ring = XDP_UMEM_PGOFF_FILL_RING;
    let (protection, flags) = (ProtFlags::READ, MapFlags::SHARED);
    if !is_inside {
        return None;
    }
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let mapped =
        unsafe { rustix::mm::mmap(ptr::null_mut(), page, protection, flags, socket, ring) }.ok()?;
    // SAFETY: an aligned word of the mapping from above; the client may write to it at any time, so
    // it is read as an atomic.
    let index = unsafe { &*mapped.byte_add(producer).cast::<AtomicU32>() }.load(Ordering::Acquire);
    // SAFETY: the mapping from above, which nothing refers to any more.
    let _ = unsafe { rustix::mm::munmap(mapped, page) };
    Some(index != 0)
}

/// Whether the interface that a socket is tied to is still where it was.
pub(crate) fn has_interface(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, BindToDevice) != Err(nix::errno::Errno::ENODEV)
}

/// Whether a socket's ring is there and can be mapped.
fn map_ring(socket: BorrowedFd<'_>, ring: u64) -> rustix::io::Result<()> {
    let page = rustix::param::page_size();
    let (protection, flags) = (ProtFlags::READ, MapFlags::SHARED);
    // SAFETY: a new mapping, at a place that the kernel chooses; nothing here reads it.
    let mapped =
        unsafe { rustix::mm::mmap(ptr::null_mut(), page, protection, flags, socket, ring) }?;
    // SAFETY: the mapping from above, which nothing refers to.
    unsafe { rustix::mm::munmap(mapped, page) }
}

fn bind_flags(wanted: &Bound<'_>) -> SocketAddrXdpFlags {
    let mut flags = SocketAddrXdpFlags::empty();
    flags.set(SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, wanted.need_wakeup);
    flags.set(SocketAddrXdpFlags::XDP_USE_SG, wanted.multi_buffer);
    match wanted.mode {
        CopyMode::Auto => {}
        CopyMode::Copy => flags |= SocketAddrXdpFlags::XDP_COPY,
        CopyMode::ZeroCopy => flags |= SocketAddrXdpFlags::XDP_ZEROCOPY,
    }
    flags
}

fn busy_poll(socket: BorrowedFd<'_>, timeout_us: u32, budget: u16) -> io::Result<()> {
    let timeout = libc::c_int::try_from(timeout_us).unwrap_or(libc::c_int::MAX);
    set_int(socket, SO_PREFER_BUSY_POLL, 1)?;
    set_int(socket, libc::SO_BUSY_POLL, timeout)?;
    set_int(socket, SO_BUSY_POLL_BUDGET, budget.into())
}

fn set_int(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is readable for its 4 bytes and outlives the call.
    let returned = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            4,
        )
    };
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
