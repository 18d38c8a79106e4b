//! The system calls that make a socket.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::memory::MappedRing;
use super::ring::{Completion, Descriptor, Entry, Fill, Rx, Tx};
use super::{BusyPoll, Call, Copies, Error, Options, Umem, offload};

/// A socket's rings.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) fill: Option<Fill<MappedRing>>,
    pub(super) completion: Option<Completion<MappedRing>>,
    pub(super) rx: Option<Rx<MappedRing>>,
    pub(super) tx: Option<Tx<MappedRing>>,
}

/// `socket(AF_XDP)`, which needs `CAP_NET_RAW`.
pub(super) fn socket() -> Result<OwnedFd, Error> {
    let socket = rustix::net::socket_with(
        AddressFamily::XDP,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    );
    socket.map_err(|error| match error {
        Errno::AFNOSUPPORT => Error::NoAfXdp,
        Errno::PERM => Error::NotAllowed,
        error => Error::system(Call::Socket)(error),
    })
}

/// Checks that a received descriptor is what it should be.
pub(super) fn check(socket: BorrowedFd<'_>) -> Result<(), Error> {
    match sockopt::socket_domain(socket) {
        Ok(AddressFamily::XDP) => Ok(()),
        Ok(_) | Err(_) => Err(Error::NotAfXdp),
    }
}

/// `XDP_UMEM_REG`.
pub(super) fn register(socket: BorrowedFd<'_>, umem: &Umem) -> Result<(), Error> {
    let layout = umem.layout();
    let mut flags = XdpUmemRegFlags::empty();
    flags.set(
        XdpUmemRegFlags::XDP_UMEM_UNALIGNED_CHUNK_FLAG,
        layout.unaligned(),
    );
    let plain = XdpUmemReg {
        addr: umem.start(),
        len: layout.length() as u64,
        chunk_size: layout.frame_size(),
        headroom: layout.headroom(),
        flags,
        tx_metadata_len: 0,
    };
    let mut offload = 0;
    if layout.tx_metadata() > 0 {
        offload |= offload::UMEM_METADATA;
    }
    if layout.software_checksum() {
        offload |= offload::UMEM_SOFTWARE_CHECKSUM;
    }
    let wanted = XdpUmemReg {
        flags: flags | XdpUmemRegFlags::from_bits_retain(offload),
        tx_metadata_len: layout.tx_metadata(),
        ..plain
    };
    sockopt::set_xdp_umem_reg(socket, wanted).map_err(|error| match error {
        Errno::NOBUFS => Error::MemoryLimit {
            bytes: layout.length(),
        },
        // The kernel has one number for all that it finds wrong; what is left of the socket is closed.
        Errno::INVAL if offload != 0 && sockopt::set_xdp_umem_reg(socket, plain).is_ok() => {
            Error::NoTxMetadata
        }
        error => Error::system(Call::UmemReg)(error),
    })
}

/// Makes the rings of these sizes.
pub(super) fn size_rings(socket: BorrowedFd<'_>, options: &Options) -> Result<(), Error> {
    type Set<'a> = fn(BorrowedFd<'a>, u32) -> rustix::io::Result<()>;
    let rings: [(Call, Set<'_>, u32); 4] = [
        (
            Call::UmemFillRing,
            sockopt::set_xdp_umem_fill_ring_size,
            options.fill,
        ),
        (
            Call::UmemCompletionRing,
            sockopt::set_xdp_umem_completion_ring_size,
            options.completion,
        ),
        (Call::RxRing, sockopt::set_xdp_rx_ring_size, options.rx),
        (Call::TxRing, sockopt::set_xdp_tx_ring_size, options.tx),
    ];
    for (call, set, entries) in rings {
        if entries != 0 {
            set(socket, entries).map_err(Error::system(call))?;
        }
    }
    Ok(())
}

/// Maps the rings, which have these sizes.
pub(super) fn map_rings(socket: BorrowedFd<'_>, options: &Options) -> Result<Rings, Error> {
    let layout = sockopt::xdp_mmap_offsets(socket).map_err(Error::system(Call::MmapOffsets))?;
    let map = |entries: u32, words: usize, page_offset, ring| {
        let map = || MappedRing::new(socket, page_offset, ring, entries as usize * words);
        (entries != 0).then(map).transpose()
    };
    let (one, two) = (<u64 as Entry>::WORDS, Descriptor::WORDS);
    let fill = map(options.fill, one, XDP_UMEM_PGOFF_FILL_RING, &layout.fr)?;
    let completion = map(
        options.completion,
        one,
        XDP_UMEM_PGOFF_COMPLETION_RING,
        &layout.cr,
    )?;
    let rx = map(options.rx, two, XDP_PGOFF_RX_RING, &layout.rx)?;
    let tx = map(options.tx, two, XDP_PGOFF_TX_RING, &layout.tx)?;
    Ok(Rings {
        fill: fill.map(Fill::new),
        completion: completion.map(Completion::new),
        rx: rx.map(Rx::new),
        tx: tx.map(Tx::new),
    })
}

/// Binds to a queue: with the UMEM of another socket, or with the own one.
pub(super) fn bind(
    socket: BorrowedFd<'_>,
    ifindex: u32,
    queue: u32,
    options: &Options,
    shared: Option<&OwnedFd>,
) -> Result<(), Error> {
    let deadline = Instant::now() + RELEASE_TIME;
    loop {
        let bound = if let Some(other) = shared {
            // How packets are copied and the like is said by the first socket of the UMEM.
            let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
            let address = SocketAddrXdpWithSharedUmem {
                addr: SocketAddrXdp::new(flags, ifindex, queue),
                shared_umem_fd: other.as_fd(),
            };
            rustix::net::bind(socket, &address)
        } else {
            let address = SocketAddrXdp::new(bind_flags(options), ifindex, queue);
            rustix::net::bind(socket, &address)
        };
        match bound {
            Ok(()) => return Ok(()),
            // The kernel frees the queue of a socket that was just closed a moment later.
            Err(Errno::BUSY) if Instant::now() < deadline => thread::sleep(RELEASE_INTERVAL),
            Err(Errno::BUSY) => return Err(Error::QueueBusy { ifindex, queue }),
            Err(error) => return Err(Error::system(Call::Bind)(error)),
        }
    }
}

/// Ten times and more what a queue was seen to stay busy after its socket was closed.
const RELEASE_TIME: Duration = Duration::from_millis(500);
const RELEASE_INTERVAL: Duration = Duration::from_millis(5);

fn bind_flags(options: &Options) -> SocketAddrXdpFlags {
    let mut flags = match options.copies {
        Copies::Auto => SocketAddrXdpFlags::empty(),
        Copies::Always => SocketAddrXdpFlags::XDP_COPY,
        Copies::Never => SocketAddrXdpFlags::XDP_ZEROCOPY,
    };
    flags.set(SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP, options.need_wakeup);
    flags.set(SocketAddrXdpFlags::XDP_USE_SG, options.multi_buffer);
    flags
}

/// Turns preferred busy polling on.
pub(super) fn busy_poll(socket: BorrowedFd<'_>, busy_poll: BusyPoll) -> Result<(), Error> {
    let microseconds = c_int::try_from(busy_poll.microseconds).unwrap_or(c_int::MAX);
    let options = [
        (Call::PreferBusyPoll, libc::SO_PREFER_BUSY_POLL, 1),
        (Call::BusyPoll, libc::SO_BUSY_POLL, microseconds),
        (
            Call::BusyPollBudget,
            libc::SO_BUSY_POLL_BUDGET,
            c_int::from(busy_poll.budget),
        ),
    ];
    for (call, option, value) in options {
        set(socket, libc::SOL_SOCKET, option, value).map_err(Error::system(call))?;
    }
    Ok(())
}

/// Has one system call send all that is in a TX ring of this size, if the kernel can: otherwise it copies no
/// more than 32 packets a call.
pub(super) fn send_all_at_once(socket: BorrowedFd<'_>, tx: u32) {
    let packets = c_int::try_from(tx).unwrap_or(c_int::MAX);
    // Before Linux 6.17 it can't, and doesn't for a ring of fewer than 32: then more calls send as much.
    let _ = set(socket, libc::SOL_XDP, MAX_TX_SKB_BUDGET, packets);
}

/// `XDP_MAX_TX_SKB_BUDGET` of `include/uapi/linux/if_xdp.h`.
const MAX_TX_SKB_BUDGET: c_int = 9;

/// Sets one of the socket options that rustix doesn't have.
fn set(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<c_int>()).expect("it is 4");
    // SAFETY: the value outlives the call and is as long as said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
