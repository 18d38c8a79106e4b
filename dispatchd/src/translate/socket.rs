//! What is said of `AF_XDP` sockets, in the wire's words.

use planner::{Call, LeaseState};
use protocol::{
    RefusalCode, Refused, Remedy, SocketCounts, SocketDetail, SocketState, with_causes,
};
use rustix::io::Errno;
use rustix::net::sockopt::xdp_statistics;

use super::refused;
use crate::kernel::xsk::{self, CopyMode};
use crate::published::PublishedSocket;

/// Why a socket was not made.
pub(crate) fn not_made(
    interface: &str,
    wanted: &xsk::Bound<'_>,
    error: &xsk::SocketError,
) -> Refused {
    let queue = wanted.queue;
    let text = |why: &str| format!("interface {interface}: {why} ({})", with_causes(error));
    let forced = wanted.mode == CopyMode::ZeroCopy;
    match (error.call, error.errno()) {
        (Call::XdpSocket, Some(Errno::AFNOSUPPORT)) => refused(
            RefusalCode::Unsupported,
            text("this kernel has no AF_XDP sockets"),
        ),
        (Call::MmapBoundRing, Some(Errno::BUSY)) => refused(
            RefusalCode::Unsupported,
            text("this kernel lets nobody map the rings of a bound socket, which Linux 6.4 does"),
        )
        .with_remedy(Remedy::BareSocket),
        (Call::XdpUmemRegMetadata, _) => refused(
            RefusalCode::Unsupported,
            text("this kernel takes no memory with TX metadata, which Linux 6.11 does"),
        ),
        (Call::Mmap, _) => refused(RefusalCode::Descriptor, text("the memory can't be used")),
        (Call::Bind, Some(Errno::OPNOTSUPP)) if forced => refused(
            RefusalCode::Mode,
            text(&format!("its driver has no zero-copy for queue {queue}")),
        ),
        (Call::Bind, Some(Errno::OPNOTSUPP)) => refused(
            RefusalCode::Mode,
            text(&format!(
                "its driver can't do on queue {queue} what is asked for"
            )),
        ),
        (Call::Bind, Some(Errno::BUSY)) => refused(
            RefusalCode::QueueTaken,
            text(&format!(
                "queue {queue} is bound by a socket that this daemon does not know"
            )),
        ),
        (Call::Bind, Some(Errno::INVAL)) => refused(
            RefusalCode::NoSuchQueue,
            text(&format!(
                "no socket can be bound to queue {queue} like this"
            )),
        ),
        (Call::XdpUmemReg, Some(Errno::NOBUFS)) => refused(
            RefusalCode::Quota,
            text("the daemon may not pin so much memory: it needs CAP_IPC_LOCK or a larger limit"),
        ),
        (Call::XdpUmemReg, Some(Errno::INVAL | Errno::NOMEM)) => {
            refused(RefusalCode::Descriptor, text("the memory can't be used"))
        }
        _ => refused(RefusalCode::Kernel, text("the socket can't be made")),
    }
}

/// A socket for a listing, with what the kernel has counted for it by now.
pub(crate) fn socket_view(socket: &PublishedSocket) -> SocketDetail {
    let lease = &socket.lease;
    SocketDetail {
        queue: socket.key.place.queue,
        owner: protocol::Owner {
            uid: lease.owner.uid,
            pid: lease.owner.pid,
            client: lease.owner.client.clone(),
        },
        state: match lease.state {
            LeaseState::Opening | LeaseState::Opened => SocketState::Opened,
            LeaseState::Active => SocketState::Active,
            LeaseState::Lingering { .. } => SocketState::Lingering,
        },
        zero_copy: socket.zero_copy,
        bytes: lease.memory.bytes,
        counts: counts(socket),
        options: protocol::Options::new(),
    }
}

fn counts(socket: &PublishedSocket) -> Option<SocketCounts> {
    let counted = xdp_statistics(&*socket.socket.upgrade()?).ok()?;
    Some(SocketCounts {
        rx_dropped: counted.rx_dropped,
        rx_invalid_descs: counted.rx_invalid_descs,
        tx_invalid_descs: counted.tx_invalid_descs,
        // Linux 5.9 and newer count these as well, and the daemon needs 5.10.
        rx_ring_full: counted.rx_ring_full.unwrap_or_default(),
        rx_fill_ring_empty_descs: counted.rx_fill_ring_empty_descs.unwrap_or_default(),
        tx_ring_empty_descs: counted.tx_ring_empty_descs.unwrap_or_default(),
    })
}
