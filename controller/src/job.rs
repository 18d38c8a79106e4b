//! What the controller wants done.

use std::collections::BTreeSet;
use std::sync::Arc;

use planner::{
    ChainDir, ChainId, ChainKey, Cleanup, CodeId, Digest, Facts, HookProgram, Lease, LoadOrder,
    MemberId, Mend, Moment, Note, Plan, Refusal, SocketKey, TakenUp, Unreadable,
};

use crate::RequestId;

/// Something to be carried out. Those that name a lane by its `site` come back as
/// [`Done`](crate::Done), one at a time for each lane.
#[derive(Clone, Debug)]
pub enum Job<E> {
    /// Loads a program. It may take seconds, and holds up no lane.
    Load {
        /// The request that it is for.
        id: RequestId,
        /// What is loaded.
        order: Box<LoadOrder>,
    },
    /// Gives up a request: what is being loaded for it, and what was.
    Cancel(RequestId),
    /// Carries out a plan's prepare steps: packets don't see them. After a failure the rest is not
    /// begun.
    Prepare {
        /// The lane.
        site: ChainKey,
        /// The request whose programs and namespace the plan uses.
        id: Option<RequestId>,
        /// The plan.
        plan: Arc<Plan>,
    },
    /// Carries out a plan's commit: the step that packets see.
    Commit {
        /// The lane.
        site: ChainKey,
        /// The request whose namespace the plan uses.
        id: Option<RequestId>,
        /// The plan.
        plan: Arc<Plan>,
    },
    /// Frees what no packet needs. Each step is tried, whatever becomes of the others.
    Free {
        /// The lane.
        site: ChainKey,
        /// The directory that it is in.
        dir: ChainDir,
        /// The steps.
        steps: Vec<Cleanup>,
    },
    /// Looks at a chain's hook.
    Look {
        /// The lane.
        site: ChainKey,
        /// The request whose namespace the interface may be in.
        id: Option<RequestId>,
        /// The chain's directory.
        dir: ChainDir,
    },
    /// Makes a chain's pins whole. Each step is tried, whatever becomes of the others.
    Mend {
        /// The lane.
        site: ChainKey,
        /// The chain's directory.
        dir: ChainDir,
        /// The steps.
        steps: Vec<Mend>,
    },
    /// Gives a socket its queue's packets, if it has an RX ring and frames in FILL.
    Give {
        /// The lane.
        site: ChainKey,
        /// The redirect program whose map gets the socket.
        to: RedirectCode,
        /// The socket.
        key: SocketKey,
        /// What is written down of it.
        lease: Lease,
        /// It had them before: nothing is asked of its rings.
        again: bool,
    },
    /// Takes queues' packets from their sockets.
    Take {
        /// The lane.
        site: ChainKey,
        /// The redirect program whose map has them.
        from: RedirectCode,
        /// The queues.
        queues: Vec<u32>,
    },
    /// Keeps the socket that a request brought: its queue is its client's.
    Keep(RequestId),
    /// Lets go of a socket whose queue was given back, and watches until nobody has it open.
    Release {
        /// The socket.
        key: SocketKey,
        /// Whether it counts until then as its user's.
        counts: bool,
    },
    /// Looks whether sockets' interfaces are gone that have no chain, and whether members missed
    /// packets.
    Sweep {
        /// Sockets on interfaces without a chain.
        sockets: Vec<SocketKey>,
    },
    /// Answers a request.
    Answer {
        /// The request.
        id: RequestId,
        /// The answer.
        answer: Answer<E>,
    },
    /// Shows the state to readers.
    Publish,
    /// Shows readers when it was last seen what a chain's hook runs.
    ShowLook {
        /// The chain.
        chain: ChainId,
        /// The time of the look.
        at: Moment,
    },
    /// Drops every object that is kept but these.
    DropObjects {
        /// The objects to keep.
        keep: BTreeSet<Digest>,
    },
    /// Tells the operator.
    Tell(Notice<E>),
    /// Nothing is going on any more, and nothing else will be begun.
    Stopped,
}

/// A redirect program's code, whose maps hold sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectCode {
    /// Its chain's directory.
    pub dir: ChainDir,
    /// The member.
    pub member: MemberId,
    /// Its code.
    pub code: CodeId,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer<E> {
    /// The change was made, or would be.
    Changed(Box<Changed>),
    /// The change had been done before, for the same client, whose its members are again.
    TakenUp(TakenUp),
    /// It was turned down.
    Refused(Refusal),
    /// A step failed; nothing changed.
    Failed {
        /// The error.
        error: E,
        /// Members that don't take packets of several buffers, if they are the reason.
        in_the_way: Vec<String>,
    },
    /// The interface's chain can't be read by this daemon.
    Unreadable(Box<Unreadable>),
    /// The daemon is stopping.
    Stopping,
    /// The member is its client's again.
    Reclaimed,
    /// The queue is the client's.
    Leased,
    /// Whether the queue that the socket was made for is still its client's.
    Made(bool),
    /// The queue is given back; perhaps it is known who has it bound.
    NotMade(Option<Refusal>),
    /// The queue's packets go to the socket.
    Activated {
        /// What the client should know of the change that this took.
        notes: Vec<Note>,
    },
    /// The queue was given back.
    Closed,
    /// The socket is its client's again.
    SocketReclaimed,
}

/// What a change did, or would do.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What was planned.
    pub plan: Arc<Plan>,
    /// What was loaded, in the order of the operations that took it.
    pub facts: Vec<Facts>,
    /// What the requester should know.
    pub notes: Vec<Note>,
}

/// Something that the operator should know of.
#[derive(Clone, Debug)]
pub enum Notice<E> {
    /// A chain that an earlier daemon made goes on.
    Continued(ChainId),
    /// A member's client is gone.
    ClientGone {
        /// The interface.
        interface: String,
        /// The member.
        member: String,
        /// How long it lingers.
        linger_ms: u64,
    },
    /// A member's client is back.
    ClientBack {
        /// The interface.
        interface: String,
        /// The member.
        member: String,
        /// The client's user.
        uid: u32,
    },
    /// Members go whose clients did not come back.
    Expired {
        /// The interface.
        interface: String,
        /// How many.
        members: usize,
    },
    /// Sockets' clients did not come back.
    SocketsExpired {
        /// The lane.
        site: ChainKey,
        /// Of which queues.
        queues: Vec<u32>,
    },
    /// Somebody took the chain off its hook; it is attached again.
    Detached {
        /// The interface.
        interface: String,
    },
    /// Somebody else's program is on the chain's hook. The chain waits until that is gone.
    Taken {
        /// The interface.
        interface: String,
        /// The program.
        program: HookProgram,
    },
    /// It can't be told what the chain's hook runs.
    NotSeen {
        /// The interface.
        interface: String,
        /// The error that the look ended with.
        error: E,
    },
    /// A chain's pins lack this no more.
    Mended {
        /// The chain's directory.
        dir: ChainDir,
        /// What was done.
        step: Mend,
    },
    /// The chain is not on its hook, and can't be attached now.
    NotAttached {
        /// The interface.
        interface: String,
        /// What an attempt to attach it said.
        error: E,
    },
    /// The chain is on its hook again.
    Attached {
        /// The interface.
        interface: String,
    },
    /// The interface is gone, and its chain with it.
    InterfaceGone {
        /// The interface.
        interface: String,
    },
    /// A queue's packets go to a socket.
    SocketActive {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The client's user.
        uid: u32,
    },
    /// A socket's client is back.
    SocketBack {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// The client's user.
        uid: u32,
    },
    /// The last socket of an interface is gone, and the redirect program with it.
    RedirectGone {
        /// The interface.
        interface: String,
    },
    /// The daemon stops, and the chain runs on.
    RunsOn {
        /// The interface.
        interface: String,
        /// How many members it has.
        members: usize,
    },
    /// The daemon took a chain off its interface, since it stops.
    Removed {
        /// The interface.
        interface: String,
    },
    /// Something that the daemon does by itself would make a chain that can't be. It is tried again.
    Refused {
        /// The lane.
        site: ChainKey,
        /// What was to be done.
        act: Act,
        /// Why it can't be.
        refusal: Refusal,
    },
    /// Something that the daemon does by itself failed, and is tried again.
    Failed {
        /// The lane.
        site: ChainKey,
        /// What was done.
        act: Act,
        /// Why it failed.
        error: E,
    },
}

/// What a daemon does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Frees what is left of a change.
    Free,
    /// Removes members whose clients did not come back.
    Expire,
    /// Removes the redirect program.
    DropRedirect,
    /// Removes a chain whose interface is gone, or because the daemon stops.
    RemoveChain,
    /// Puts a socket into the redirect program's map again.
    Give,
    /// Takes a socket out of it.
    Take,
}
