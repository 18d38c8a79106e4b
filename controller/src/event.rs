//! What the controller is told.

use planner::{
    ChainDir, ChainKey, Change, Cleanup, Client, ConnectionId, Facts, FailureKind, HookProgram,
    Interface, MemberId, Mend, Note, Opening, Outline, SocketKey,
};

/// A request's number, chosen by the side that tells of it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something that happened. `E` is an error in the words of the side that carries jobs out: the
/// controller hands it on and doesn't look into it.
#[derive(Clone, Debug)]
pub enum Event<E> {
    /// A client asks for something.
    Asked(Box<Asking>),
    /// A connection ended.
    ConnectionGone(ConnectionId),
    /// Nobody has these sockets open any more, which were given back; by token.
    SocketsGone(Vec<[u8; 16]>),
    /// A job is done.
    Done(Done<E>),
    /// [`Controller::poll_timeout`](crate::Controller::poll_timeout) has passed.
    Time,
    /// The daemon is to stop.
    Stop {
        /// Whether the chains go with it.
        detach: bool,
    },
}

/// A client asks for something at an interface.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The request.
    pub id: RequestId,
    /// The client.
    pub client: Client,
    /// The interface, found in its namespace.
    pub site: Interface,
    /// What it asks for.
    pub request: Request,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// A chain is changed.
    Change {
        /// The change.
        change: Change,
        /// What is known of its objects, in the order of the operations that take one.
        outlines: Vec<Outline>,
        /// Plan only.
        dry_run: bool,
    },
    /// A lingering member becomes its client's again.
    Reclaim {
        /// The member.
        member: MemberId,
        /// The token that it was registered with.
        token: [u8; 16],
    },
    /// A receive queue, for a socket that is then made.
    Open(Opening),
    /// The socket that a queue was opened for was made, or could not be.
    Made {
        /// The socket.
        key: SocketKey,
        /// Whether it was made.
        made: bool,
    },
    /// A socket gets its queue's packets.
    Activate {
        /// The socket.
        key: SocketKey,
    },
    /// A queue is given back.
    Close {
        /// The socket.
        key: SocketKey,
    },
    /// A socket that waits for its client since the daemon was started again.
    ReclaimSocket {
        /// The socket.
        key: SocketKey,
        /// Its `SO_COOKIE`.
        cookie: u64,
    },
}

impl Request {
    /// Whether it may change the interface's chain, or make one.
    pub(crate) fn needs_chain(&self) -> bool {
        match self {
            Self::Change { .. } | Self::Reclaim { .. } | Self::Activate { .. } => true,
            Self::Open(_) | Self::Made { .. } | Self::Close { .. } | Self::ReclaimSocket { .. } => {
                false
            }
        }
    }
}

/// What came of a job.
#[derive(Clone, Debug)]
pub enum Done<E> {
    /// Of [`Job::Load`](crate::Job::Load).
    Loaded {
        /// The request that it was for.
        id: RequestId,
        /// What was learned, or why the program could not be loaded.
        outcome: Result<Box<Facts>, LoadFailure<E>>,
    },
    /// Of [`Job::Prepare`](crate::Job::Prepare).
    Prepared {
        /// The lane.
        site: ChainKey,
        /// What the requester should know, or which step failed.
        outcome: Result<Vec<Note>, StepFailure<E>>,
    },
    /// Of [`Job::Commit`](crate::Job::Commit).
    Committed {
        /// The lane.
        site: ChainKey,
        /// Whether packets see it now.
        outcome: Result<(), CommitFailure<E>>,
    },
    /// Of [`Job::Free`](crate::Job::Free).
    Freed {
        /// The lane.
        site: ChainKey,
        /// Each step, and why it failed if it did.
        steps: Vec<(Cleanup, Option<E>)>,
    },
    /// Of [`Job::Look`](crate::Job::Look).
    Looked {
        /// The lane.
        site: ChainKey,
        /// What was seen.
        seen: Seen<E>,
    },
    /// Of [`Job::Mend`](crate::Job::Mend).
    Mended {
        /// The lane.
        site: ChainKey,
        /// The chain's directory.
        dir: ChainDir,
        /// Each step, and whether it is done.
        steps: Vec<(Mend, bool)>,
    },
    /// Of [`Job::Give`](crate::Job::Give).
    Given {
        /// The lane.
        site: ChainKey,
        /// Whether the queue's packets go to the socket.
        outcome: Result<(), GiveFailure<E>>,
    },
    /// Of [`Job::Take`](crate::Job::Take).
    Taken {
        /// The lane.
        site: ChainKey,
        /// Why not every queue was taken from its socket, if so.
        error: Option<E>,
    },
    /// Of [`Job::Sweep`](crate::Job::Sweep).
    Swept {
        /// Sockets whose interface is gone.
        gone: Vec<SocketKey>,
    },
}

/// Why a program could not be loaded.
#[derive(Clone, Debug)]
pub struct LoadFailure<E> {
    /// The kernel looked at the program and turned it down.
    pub by_kernel: bool,
    /// The error.
    pub error: E,
}

/// A step that failed. Nothing that packets see has changed.
#[derive(Clone, Debug)]
pub struct StepFailure<E> {
    /// What that means.
    pub kind: FailureKind,
    /// The errno.
    pub errno: i32,
    /// The error.
    pub error: E,
}

/// A commit that failed.
#[derive(Clone, Debug)]
pub struct CommitFailure<E> {
    /// The step that failed, which is the commit.
    pub step: StepFailure<E>,
    /// What the hook runs now.
    pub left: HookLeft,
}

/// What a hook runs after a commit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookLeft {
    /// What it ran before.
    AsItWas,
    /// Nothing of the chain: it was taken off and could not be attached otherwise.
    Empty,
}

/// What a look at a chain's hook saw.
#[derive(Clone, Debug)]
pub enum Seen<E> {
    /// The hook runs the chain.
    Attached,
    /// The interface is there, and its hook is empty.
    Detached,
    /// The interface is there, and its hook runs somebody else's program.
    Taken(HookProgram),
    /// The interface, or its namespace, is gone.
    Gone,
    /// It can't be told.
    Unknown(E),
}

/// Why a socket was not given its queue's packets.
#[derive(Clone, Debug)]
pub enum GiveFailure<E> {
    /// It has no RX ring, or none that can be seen.
    NoRxRing,
    /// Its FILL ring is empty: each packet would be dropped.
    NoFrames,
    /// The kernel refused it.
    Failed(E),
}
