//! What sessions tell the engine of `AF_XDP` sockets, and hear from it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use planner::{Client, Opening, Refusal, SocketKey};

/// Something that happens to a socket.
#[derive(Debug)]
pub enum SocketEvent {
    /// A client wants a queue.
    Claim {
        /// Who.
        client: Client,
        /// Which, and for what.
        opening: Opening,
        /// It may bind sockets itself.
        may_bare: bool,
        /// Where the answer goes.
        reply: SyncSender<Result<(), Refusal>>,
    },
    /// The claimed queue's socket is made.
    Opened {
        /// Which, on which queue.
        key: SocketKey,
        /// The socket.
        socket: Arc<OwnedFd>,
        /// Whether packets are not copied.
        zero_copy: bool,
        /// Where it is said whether the queue is still its client's.
        reply: SyncSender<bool>,
    },
    /// The claimed queue's socket could not be made.
    Failed {
        /// Which.
        key: SocketKey,
        /// Where it is said who may have the queue.
        reply: SyncSender<Option<Refusal>>,
    },
    /// A client wants its queue's packets.
    Activate(SocketRequest<Activation>),
    /// A client gives its queue back.
    Close(SocketRequest<()>),
    /// A client comes back for its queue.
    Reclaim {
        /// Which.
        request: SocketRequest<()>,
        /// The socket.
        socket: OwnedFd,
    },
}

/// What is asked of one socket.
#[derive(Debug)]
pub struct SocketRequest<Answer> {
    /// Who asks.
    pub client: Client,
    /// The interface's name.
    pub interface: String,
    /// Which socket.
    pub key: SocketKey,
    /// Where the answer goes.
    pub reply: SyncSender<Result<Answer, SocketError>>,
}

/// What became of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The socket gets its queue's packets.
    Done,
    /// The chain has no redirect program: it has to be registered first.
    NeedsRedirect,
}

/// Why something was not done.
#[derive(Debug)]
pub enum SocketError {
    /// The planner turned it down.
    Refused(Refusal),
    /// The kernel did.
    Kernel {
        /// The interface.
        interface: String,
        /// What it said.
        source: io::Error,
    },
}
