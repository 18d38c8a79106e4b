//! The daemon's copies of `AF_XDP` sockets.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatcher_abi::SocketClaim;
use planner::{Lease, LeaseState, Moment, Owner, PinnedMemory, SocketKey};
use rustix::net::sockopt::socket_cookie;

use crate::closing::Closing;

/// A socket on a queue that is somebody's.
#[derive(Clone, Debug)]
pub struct Held {
    /// The daemon's copy: for its statistics, and for others that share its memory.
    pub socket: Arc<OwnedFd>,
    /// Whether packets are not copied.
    pub zero_copy: bool,
}

/// Whose the daemon's own copies are.
const DAEMON: u32 = 0;
/// How long somebody waits for copies to be closed: each takes a grace period.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A copy of each socket, for as long as its queue is its client's.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    held: Arc<Mutex<BTreeMap<SocketKey, Held>>>,
    closing: Closing,
}

impl Sockets {
    /// Keeps a socket.
    pub fn hold(&self, key: SocketKey, held: Held) {
        self.held().insert(key, held);
    }

    /// Lets go of a socket.
    pub fn release(&self, key: SocketKey) -> Option<Held> {
        self.held().remove(&key)
    }

    /// Closes a copy on another thread: the last one to close a bound socket waits for a grace period.
    pub fn close(&self, held: Held) {
        self.closing.close(DAEMON, held);
    }

    /// Waits until all copies are closed that were to be. Until then they are open, which counts as their
    /// clients' doing.
    pub fn settle(&self) {
        self.closing.settle(DAEMON, SETTLE_TIMEOUT);
    }

    /// A socket that is kept.
    pub fn get(&self, key: SocketKey) -> Option<Held> {
        self.held().get(&key).cloned()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<SocketKey, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written down of a lease beside its socket, for a daemon that is started again.
pub(crate) fn record(lease: &Lease, socket: &OwnedFd) -> io::Result<SocketClaim> {
    let (client, client_bytes) = SocketClaim::name(&lease.owner.client);
    Ok(SocketClaim {
        version: SocketClaim::VERSION,
        uid: lease.owner.uid,
        cookie: socket_cookie(socket.as_fd())?,
        bytes: lease.memory.bytes,
        token: lease.token,
        memory: lease.memory.of,
        client_bytes,
        pid: lease.owner.pid,
        client,
    })
}

/// The lease that an earlier daemon wrote down. Its client has until then to come back for it.
pub(crate) fn recovered(interface: &str, record: &SocketClaim, until: Moment) -> Lease {
    Lease {
        interface: interface.to_owned(),
        owner: Owner {
            uid: record.uid,
            pid: record.pid,
            client: record.client().to_owned(),
            connection: None,
        },
        memory: PinnedMemory {
            of: record.memory,
            bytes: record.bytes,
        },
        redirect: true,
        token: record.token,
        state: LeaseState::Lingering {
            cookie: record.cookie,
            until,
        },
    }
}
