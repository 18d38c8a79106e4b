//! Every "no", with the fact that caused it.

use std::fmt;

use dispatcher_abi::{MEMBER_NAME_BYTES_MAX, Mode, TAIL_CALLS_MAX};

use crate::{HookProgram, MemberId, NoEngine, Revision, Verb};

/// Why a change is turned down. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user was granted nothing.
    #[error("uid {uid} may not change chains")]
    NoRights {
        /// Who asked.
        uid: u32,
    },
    /// The user may not load objects.
    #[error("uid {uid} may use the built-in redirect program only")]
    RedirectOnly {
        /// Who asked.
        uid: u32,
    },
    /// The user was granted other things at this interface.
    #[error("uid {uid} may not {verb} on interface {interface}")]
    NotGranted {
        /// Who asked.
        uid: u32,
        /// The interface's name.
        interface: String,
        /// What it takes.
        verb: Verb,
    },
    /// It concerns every member, and the user isn't root.
    #[error("uid {uid} may not {act} interface {interface}: that takes root")]
    RootOnly {
        /// Who asked.
        uid: u32,
        /// Whose chain.
        interface: String,
        /// What was asked.
        act: RootAct,
    },
    /// The member is another user's.
    #[error("member {member} of interface {interface} belongs to uid {owner}, not to uid {uid}")]
    NotOwner {
        /// Who asked.
        uid: u32,
        /// Whose chain.
        interface: String,
        /// The member.
        member: String,
        /// Its owner.
        owner: u32,
    },
    /// The change asks for nothing.
    #[error("the change of interface {interface} holds no operation")]
    NothingToDo {
        /// Whose chain.
        interface: String,
    },
    /// There is nothing to change.
    #[error("interface {interface} has no chain")]
    NoChain {
        /// The interface.
        interface: String,
    },
    /// The interface's hook runs somebody else's program.
    #[error("interface {interface} runs somebody else's program {program}")]
    HookTaken {
        /// Whose chain waits for its hook.
        interface: String,
        /// What runs there.
        program: HookProgram,
    },
    /// The interface is gone, and its chain goes as soon as it can.
    #[error("interface {interface} is gone, and its chain with it")]
    InterfaceGone {
        /// Its name.
        interface: String,
    },
    /// The chain was changed by somebody else.
    #[error("interface {interface} is at generation {actual}, not at {expected}")]
    Revision {
        /// Whose chain.
        interface: String,
        /// What the client expected.
        expected: Revision,
        /// What it is.
        actual: Revision,
    },
    /// The chain runs in another mode than the one asked for.
    #[error("interface {interface} runs its chain in {running} mode, not {asked}")]
    ModeDiffers {
        /// Whose chain.
        interface: String,
        /// Where its hook is.
        running: Mode,
        /// What was asked for.
        asked: Mode,
    },
    /// A device takes one program and no dispatcher.
    #[error("interface {interface} can't run a chain in offload mode: a device takes one program")]
    NoOffload {
        /// The interface.
        interface: String,
    },
    /// The engine asked for can't be used.
    #[error("interface {interface} can't run {member} by {engine}: {reason}", engine = .reason.engine())]
    Engine {
        /// Whose chain.
        interface: String,
        /// Whom.
        member: String,
        /// Why not.
        reason: NoEngine,
    },
    /// No member of this name.
    #[error("interface {interface} has no member {name:?}")]
    NoSuchMember {
        /// Whose chain.
        interface: String,
        /// What was asked for.
        name: String,
    },
    /// No member of this id, at least not in this chain.
    #[error("no member has the id {id}")]
    NoMemberOfId {
        /// What was asked for.
        id: MemberId,
    },
    /// A name that members can't have.
    #[error(
        "{name:?} can't be a member's name: 1 to {MEMBER_NAME_BYTES_MAX} of A-Z, a-z, 0-9, \
         '.', '_' and '-', a letter or digit first"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The chain has a member of this name.
    #[error("interface {interface} already has a member {name}")]
    NameTaken {
        /// Whose chain.
        interface: String,
        /// The name.
        name: String,
    },
    /// Every slot is occupied.
    #[error("interface {interface} has no slot for {members} members: a chain has at most {slots}{}", Full(.tail_called.as_deref()))]
    ChainFull {
        /// Whose chain.
        interface: String,
        /// How many it would have.
        members: usize,
        /// How many it could have.
        slots: usize,
        /// A member that runs by tail call, which is why it can't have more.
        tail_called: Option<String>,
    },
    /// The members' tail calls together exceed what a packet may make.
    #[error(
        "the members of interface {interface} would make {sum} tail calls a packet, and the kernel \
         allows {TAIL_CALLS_MAX}: each takes one for its slot, and more: {}", Heavy(.heavy)
    )]
    TailCallBudget {
        /// Whose chain.
        interface: String,
        /// What the members could make together.
        sum: u64,
        /// Those that take more than their slot's, with their own: `(name, tail depth)`.
        heavy: Vec<(String, u32)>,
    },
    /// `other` stands for values that always end the chain.
    #[error("member {name} can't chain on after `other`: such a value always ends the chain")]
    ChainsOnOther {
        /// The member.
        name: String,
    },
    /// A member was to be moved beside itself.
    #[error("member {name} can't move before or after itself")]
    BesideItself {
        /// The member.
        name: String,
    },
    /// A whole order leaves somebody out.
    #[error("the order of interface {interface} doesn't name {}", .missing.join(", "))]
    OrderIncomplete {
        /// Whose chain.
        interface: String,
        /// Who is missing.
        missing: Vec<String>,
    },
    /// A whole order names somebody twice.
    #[error("the order of interface {interface} names {name} twice")]
    OrderRepeats {
        /// Whose chain.
        interface: String,
        /// The member that is named twice.
        name: String,
    },
    /// The member's code is from this very change.
    #[error("member {name} can't be replaced in the change that gives it its code")]
    ReplacesNewCode {
        /// The member.
        name: String,
    },
    /// The code was loaded with the maps of what ran under this name before.
    #[error("member {name} was changed while its new code was being loaded")]
    ChangedMeanwhile {
        /// The member.
        name: String,
    },
    /// A kept member can't become somebody's.
    #[error("member {name} is kept until it is removed; it can't be attached to a connection")]
    KeptStays {
        /// The member.
        name: String,
    },
    /// What the change registers it also removes, and there was nothing else.
    #[error("the change would make a chain on interface {interface} without any member")]
    EmptyChain {
        /// The interface.
        interface: String,
    },
    /// Another uid or another token than the ones that the member was registered with.
    #[error("member {name} of interface {interface} can't be claimed with this uid and token")]
    ClaimMismatch {
        /// Whose chain.
        interface: String,
        /// The member.
        name: String,
    },
    /// The name is the built-in redirect program's.
    #[error("no member can be called {name}: that is the daemon's own redirect program")]
    NameReserved {
        /// The name.
        name: String,
    },
    /// The user may not bind sockets.
    #[error("uid {uid} may not have a socket on interface {interface} that it binds itself")]
    BareNotAllowed {
        /// Who asked.
        uid: u32,
        /// The interface asked for.
        interface: String,
    },
    /// The receive queue is somebody's.
    #[error("queue {queue} of interface {interface} belongs to {client:?} (uid {uid}, pid {pid})")]
    QueueTaken {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
        /// What its owner calls itself.
        client: String,
        /// Its owner's user.
        uid: u32,
        /// Its owner's process.
        pid: u32,
    },
    /// The kernel says that the receive queue is bound, and who gave it back has the socket open still.
    #[error(
        "queue {queue} of interface {interface} is bound: {client:?} (uid {uid}, pid {pid}) gave it back, \
         and its socket is still open"
    )]
    QueueLeftOpen {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
        /// What its owner called itself.
        client: String,
        /// Its owner's user.
        uid: u32,
        /// Its owner's process.
        pid: u32,
    },
    /// The user has too many sockets.
    #[error(
        "no further socket on interface {interface}: uid {uid} has {max}, as many as it may{}", StillOpen(*.still_open)
    )]
    SocketQuota {
        /// Who asked.
        uid: u32,
        /// The interface asked for.
        interface: String,
        /// How many it may have.
        max: usize,
        /// How many of its sockets gave their queues back and are open still.
        still_open: usize,
    },
    /// The user's sockets would pin too much memory.
    #[error(
        "no socket with {bytes} bytes of memory on interface {interface}: uid {uid} may pin {max}, and \
         has pinned {used}{}", StillOpen(*.still_open)
    )]
    MemoryQuota {
        /// Who asked.
        uid: u32,
        /// The interface asked for.
        interface: String,
        /// What was asked for.
        bytes: u64,
        /// What its sockets pin.
        used: u64,
        /// What they may.
        max: u64,
        /// How many of its sockets gave their queues back and are open still.
        still_open: usize,
    },
    /// Another socket has the token that the client drew.
    #[error("queue {queue} of interface {interface}: another socket has this token")]
    TokenTaken {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
    },
    /// The connection has no such socket.
    #[error("this connection has no such socket on queue {queue} of interface {interface}")]
    NoSuchSocket {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// The socket's own program gives it packets.
    #[error(
        "the socket on queue {queue} of interface {interface} was opened without the redirect \
         program, or without an RX ring: there is nothing to activate"
    )]
    NotRedirected {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// The socket can't receive.
    #[error(
        "the socket on queue {queue} of interface {interface} has no RX ring, or none that can be \
         seen: it can't get packets"
    )]
    NoRxRing {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// The socket has nowhere to put a packet.
    #[error(
        "the socket on queue {queue} of interface {interface} has no frames in its FILL ring: each \
         packet for it would be dropped"
    )]
    NoFrames {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// Another socket gets the queue's packets.
    #[error(
        "queue {queue} of interface {interface} gives its packets to another socket of this client: \
         the redirect program knows one for each queue"
    )]
    HasReceiver {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// Another uid, token or socket than the queue was claimed with, or it waits for nobody.
    #[error(
        "queue {queue} of interface {interface} can't be claimed again with this uid, token and \
         socket"
    )]
    SocketMismatch {
        /// Of which interface.
        interface: String,
        /// Which queue.
        queue: u32,
    },
    /// The member waits for nobody.
    #[error("member {name} of interface {interface} can't be claimed: it doesn't linger")]
    NotLingering {
        /// Whose chain.
        interface: String,
        /// The member.
        name: String,
    },
}

/// What only root may do to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootAct {
    /// [`Operation::Order`](crate::Operation::Order).
    Order,
    /// [`Operation::Configure`](crate::Operation::Configure).
    Configure,
}

impl fmt::Display for RootAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "give the whole order of",
            Self::Configure => "configure",
        })
    }
}

/// The end of a [`Refusal::ChainFull`]'s message: why it isn't more.
struct Full<'a>(Option<&'a str>);

impl fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(member) => write!(
                f,
                " if it runs a member by tail call, as it would {member} (the kernel allows \
                 {TAIL_CALLS_MAX} tail calls a packet)"
            ),
        }
    }
}

/// The end of a [`Refusal::TailCallBudget`]'s message: `a (2), b (1)`.
struct Heavy<'a>(&'a [(String, u32)]);

impl fmt::Display for Heavy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, depth)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name} ({depth})")?;
        }
        Ok(())
    }
}

/// The end of a quota's message: what still counts, unexpectedly.
struct StillOpen(usize);

impl fmt::Display for StillOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(
                f,
                "; closed sockets count as long as a descriptor or a mapping of them is open: {count}"
            ),
        }
    }
}
