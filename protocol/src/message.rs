//! What is said on the socket: plain data, no descriptors, nothing that is trusted.
//!
//! Fields are never reordered, added or removed once version 1 is frozen; new variants go last.

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss, Priority, SlotCounters,
    VerdictMask,
};
use serde::{Deserialize, Serialize};

use crate::{OpenSocket, Refused, Socket, SocketDetail, bounded};

/// SHA-256 of an object's bytes: its name everywhere.
pub type Digest = [u8; 32];

/// Most operations in one [`Change`]: room to remove and to register every member of the longest
/// chain, four times over. A longer list is malformed: an operation of 4 bytes on the wire takes
/// 160 in memory, so a body of nothing else would grow to over half a gigabyte.
pub const OPERATIONS_MAX: usize = 1024;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, returned with the reply. 0 is for events.
    pub id: u64,
    /// What is asked.
    pub body: RequestBody,
}

/// What may be asked.
///
/// A request that names an interface may bring a descriptor: the network namespace in which the
/// name is resolved; without one it is the daemon's own. It comes with each request, since a
/// daemon that kept it would keep a deleted namespace alive. It is the last one, behind those that
/// the request has to bring ([`RequestBody::descriptors`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// The first message of a connection.
    Hello(Hello),
    /// Stages an object for this connection. Descriptor: a memfd with the object's bytes, sealed
    /// against SHRINK, GROW and WRITE. Answered by its digest, which registrations then name.
    PutObject,
    /// Changes one chain: all of it or nothing.
    Change(Change),
    /// The chains, in run order.
    List {
        /// Only this interface; every chain otherwise.
        interface: Option<String>,
    },
    /// Everything about one member.
    Show {
        /// The interface.
        interface: String,
        /// The member.
        name: String,
    },
    /// The daemon's own state.
    Status,
    /// A descriptor of one of a member's own maps. Reply: one descriptor.
    MapDescriptor {
        /// The interface.
        interface: String,
        /// The member.
        name: String,
        /// The map's name in the object.
        map: String,
    },
    /// Makes a lingering member this connection's again. Needs the uid that registered it and the
    /// token that its registration returned.
    Reclaim {
        /// The interface.
        interface: String,
        /// The member.
        name: String,
        /// The claim token.
        token: [u8; 16],
    },
    /// Opens an `AF_XDP` socket on a receive queue, which is then this connection's. Descriptor, if
    /// the socket has memory of its own ([`Umem::Own`](crate::Umem::Own)): that memory, a memfd
    /// sealed against SHRINK and GROW, all of it allocated. Reply: one descriptor, the socket.
    OpenSocket(OpenSocket),
    /// Gives a socket its queue's packets: it is bound and its FILL ring holds frames.
    ActivateSocket {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The token that came with the socket.
        token: [u8; 16],
    },
    /// Gives a queue back. The socket itself is closed when all its descriptors are.
    CloseSocket {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The token that came with the socket.
        token: [u8; 16],
    },
    /// Makes the queue of an active socket this connection's again, after a restart of the daemon.
    /// Descriptor: the socket.
    ReclaimSocket {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The token that came with the socket.
        token: [u8; 16],
    },
}

impl RequestBody {
    /// The interface that the request names: it may then bring a network namespace.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Change(change) => Some(&change.interface),
            Self::List { interface } => interface.as_deref(),
            Self::Show { interface, .. }
            | Self::MapDescriptor { interface, .. }
            | Self::Reclaim { interface, .. }
            | Self::OpenSocket(OpenSocket { interface, .. })
            | Self::ActivateSocket { interface, .. }
            | Self::CloseSocket { interface, .. }
            | Self::ReclaimSocket { interface, .. } => Some(interface),
            Self::Hello(_) | Self::PutObject | Self::Status => None,
        }
    }

    /// Descriptors that the request has to bring. They come before the network namespace.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::PutObject | Self::ReclaimSocket { .. } => 1,
            Self::OpenSocket(open) => open.descriptors(),
            Self::Hello(_)
            | Self::Change(_)
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Status
            | Self::MapDescriptor { .. }
            | Self::Reclaim { .. }
            | Self::ActivateSocket { .. }
            | Self::CloseSocket { .. } => 0,
        }
    }
}

/// Opens a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest protocol version the client speaks.
    pub lowest: u16,
    /// Highest protocol version the client speaks.
    pub highest: u16,
    /// What the client calls itself, for listings and logs: at most 64 bytes.
    pub client: String,
}

/// A set of operations on one interface: one plan, one swap, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The interface.
    pub interface: String,
    /// Refuse if the chain is at another generation. A chain that doesn't exist is at 0.
    pub expected_generation: Option<u64>,
    /// Plan and say what would be done, do nothing.
    pub dry_run: bool,
    /// The mode, if this change makes the chain; refused if the chain runs in another. `None`:
    /// auto for a new chain, whatever it has for an existing one.
    pub mode: Option<ModeChoice>,
    /// What to do, in order: [`OPERATIONS_MAX`] at most.
    #[serde(deserialize_with = "bounded::operations")]
    pub operations: Vec<Operation>,
}

/// One step of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Adds a member.
    Register(Box<Registration>),
    /// Removes a member.
    Unregister {
        /// The member.
        name: String,
    },
    /// Removes every member.
    UnregisterAll,
    /// Moves one member. Nothing is reloaded.
    Move {
        /// The member.
        name: String,
        /// Where to.
        to: Position,
    },
    /// Gives the whole order: every member's name, once.
    Order {
        /// First to run first.
        names: Vec<String>,
    },
    /// Changes a running member.
    Set {
        /// The member.
        name: String,
        /// What changes; `None` stays.
        settings: Settings,
    },
    /// New code in the same slot. Maps of the same name and shape keep their contents.
    Replace {
        /// The member.
        name: String,
        /// The new code.
        source: Source,
    },
    /// Changes the chain itself.
    Configure(Configuration),
}

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, unique in the chain. `None`: the program's name.
    pub name: Option<String>,
    /// The code.
    pub source: Source,
    /// `None`: what the object says, else 50.
    pub priority: Option<Priority>,
    /// `None`: what the object says, else PASS.
    pub chain_call: Option<VerdictMask>,
    /// `None`: all.
    pub allowed: Option<VerdictMask>,
    /// What happens when the member did not run.
    pub on_miss: OnMiss,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// How long an attached member outlives its connection, in milliseconds; so that a client that
    /// lost its connection can re-claim it.
    pub linger_ms: u32,
    /// Which engine may run it.
    pub engine: EngineChoice,
    /// Tail calls that the program itself may make for one packet. `None`: 1 if its object holds
    /// a program array, 0 otherwise.
    pub tail_depth: Option<u32>,
    /// Members of one uid in the same group share maps of equal name and shape.
    pub share_group: Option<String>,
}

/// A program in an object, and how the object is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// An object that was staged on this connection.
    pub object: Digest,
    /// The program's function. `None`: the object's only program.
    pub program: Option<String>,
    /// Entries of maps, instead of what the object says.
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables, set before the program is loaded.
    pub globals: Vec<(String, GlobalValue)>,
    /// What the daemon puts into the program's own program arrays.
    pub tail_calls: Vec<TailCall>,
    /// The program takes packets of several buffers, even if its section doesn't say so
    /// (`xdp.frags`).
    pub frags: bool,
}

/// The value of a global variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GlobalValue {
    /// An integer, stored in the variable's size (1, 2, 4 or 8 bytes), little-endian; refused if
    /// it doesn't fit.
    Integer(i128),
    /// The variable's bytes, exactly as many as it has.
    Bytes(Vec<u8>),
}

/// An entry of a member's own program array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailCall {
    /// The program array's name in the object.
    pub map: String,
    /// The index in it.
    pub index: u32,
    /// The function in the same object that goes there.
    pub program: String,
}

/// Where a member moves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// A new priority; among equals it keeps its age.
    Priority(Priority),
    /// Before every other.
    First,
    /// After every other.
    Last,
    /// Just before this member.
    Before(String),
    /// Just after this member.
    After(String),
}

/// What can change in a running member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Chain-call actions.
    pub chain_call: Option<VerdictMask>,
    /// Allowed verdicts.
    pub allowed: Option<VerdictMask>,
    /// What happens when the member did not run.
    pub on_miss: Option<OnMiss>,
    /// `Kept` gives an attached member to the daemon. The other way is refused.
    pub lifetime: Option<Lifetime>,
}

/// What can change in a chain; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// What the chain returns when every slot chained on.
    pub final_verdict: Option<FinalVerdict>,
    /// Whether verdicts are counted for each slot.
    pub counters: Option<bool>,
    /// Which engine members get, those that are there (they are loaded again, with their maps) and
    /// those to come, unless they ask for another themselves.
    pub engine: Option<EngineChoice>,
    /// Where the hook is. Changing it leaves the interface without a program for a moment.
    pub mode: Option<ModeChoice>,
}

/// What the daemon sends: the answer to the request with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id. 0 is for events, of which version 0 has none.
    pub id: u64,
    /// The answer, or why not.
    pub body: Result<ReplyBody, Refused>,
}

/// The answers, one for each [`RequestBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyBody {
    /// To `Hello`.
    Welcome(Welcome),
    /// To `PutObject`.
    Object {
        /// The object's name from now on, on this connection.
        digest: Digest,
    },
    /// To `Change`.
    Changed(Changed),
    /// To `List`.
    Chains(Vec<Chain>),
    /// To `Show`.
    Member(Box<MemberDetail>),
    /// To `Status`.
    Status(Status),
    /// To `MapDescriptor`, with the descriptor.
    Map(MapShape),
    /// To `Reclaim`.
    Reclaimed,
    /// To `OpenSocket`, with the descriptor.
    Socket(Socket),
    /// To `ActivateSocket`.
    SocketActivated {
        /// What the caller should know, such as why the chain's mode is generic.
        notes: Vec<String>,
    },
    /// To `CloseSocket`.
    SocketClosed,
    /// To `ReclaimSocket`.
    SocketReclaimed,
}

/// The daemon's side of `Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken on this connection.
    pub version: u16,
    /// The daemon's version, for people.
    pub daemon: String,
    /// What this daemon can do beyond the version, by name.
    pub features: Vec<String>,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The chain's generation now (for a dry run: that it would have). 0 if the chain is gone.
    pub generation: u64,
    /// Where the hook is; `None` if the chain is gone.
    pub mode: Option<Mode>,
    /// What the caller should know, such as why the mode is generic.
    pub notes: Vec<String>,
    /// The members that this change registered or replaced, in the order of its operations.
    pub members: Vec<Registered>,
    /// The plan's steps, for people.
    pub plan: Vec<String>,
    /// Members that have to be loaded again, with a new program id.
    pub reloads: Vec<String>,
}

/// A member that was registered or got new code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Its id, unique in the daemon.
    pub id: u64,
    /// Its slot.
    pub slot: u16,
    /// The kernel's id of its program; 0 in a dry run.
    pub program_id: u32,
    /// Which engine runs it.
    pub engine: Engine,
    /// What re-claims it; zero in a dry run.
    pub token: [u8; 16],
}

/// One interface's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The interface's name.
    pub interface: String,
    /// Its index in its namespace.
    pub ifindex: u32,
    /// Its namespace.
    pub netns: NetNs,
    /// Where the hook is.
    pub mode: Mode,
    /// What holds the hook.
    pub hook: Hook,
    /// Which build of the chain runs.
    pub generation: u64,
    /// What it returns when every slot chained on.
    pub final_verdict: FinalVerdict,
    /// Whether verdicts are counted.
    pub counters: bool,
    /// Whether it takes packets of several buffers: if all members do.
    pub frags: bool,
    /// The members, in run order.
    pub members: Vec<Member>,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetNs {
    /// `SO_NETNS_COOKIE`: never used twice.
    pub cookie: u64,
    /// Its name under `/run/netns`, if it has one.
    pub name: Option<String>,
}

/// What holds an interface's XDP hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// A pinned `bpf_link`.
    Link,
    /// A netlink attachment.
    Netlink,
}

/// One member of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its slot; `None` if it doesn't run.
    pub slot: Option<u16>,
    /// Its id, unique in the daemon.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its function's name in the object.
    pub program: String,
    /// The kernel's id of its program.
    pub program_id: Option<u32>,
    /// The number it runs by.
    pub priority: Priority,
    /// The number it was registered with.
    pub requested_priority: Priority,
    /// Verdicts after which the next slot runs.
    pub chain_call: VerdictMask,
    /// What it may decide.
    pub allowed: VerdictMask,
    /// How its slot calls it.
    pub engine: Engine,
    /// Why that is by tail call where the kernel has freplace; `None` if it isn't.
    pub engine_reason: Option<String>,
    /// What it is doing.
    pub state: MemberState,
    /// Who registered it.
    pub owner: Owner,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// Its object's digest; `None` if there is no object.
    pub sha256: Option<Digest>,
    /// Packets by what became of them.
    pub packets: SlotCounters,
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It runs, and its client is there (or it needs none).
    Running,
    /// It is registered and does not run.
    Waiting,
    /// It runs, its client is gone, and it will be removed.
    Lingering,
    /// It runs, and was attached by somebody else before.
    Adopted,
}

/// Who registered a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user, from the socket's peer credentials.
    pub uid: u32,
    /// The process, at the time of registration.
    pub pid: u32,
    /// What it called itself.
    pub client: String,
}

/// Everything about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDetail {
    /// What the listing shows.
    pub member: Member,
    /// What happens when it did not run.
    pub on_miss: OnMiss,
    /// Tail calls it may make itself.
    pub tail_depth: u32,
    /// How long it outlives its connection, in milliseconds.
    pub linger_ms: u32,
    /// The group it shares maps in.
    pub share_group: Option<String>,
    /// Its maps.
    pub maps: Vec<MapShape>,
    /// The `AF_XDP` sockets that it gives packets to, by queue; of the redirect program only.
    pub sockets: Vec<SocketDetail>,
}

/// A map's name and shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapShape {
    /// Its name in the object.
    pub name: String,
    /// The kernel's id.
    pub id: u32,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Key, in bytes.
    pub key_size: u32,
    /// Value, in bytes.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
}

/// The daemon's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The highest protocol version it speaks.
    pub protocol: u16,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether members can be called by freplace.
    pub freplace: EngineProbe,
    /// Whether members can be tail-called.
    pub tailcall: EngineProbe,
    /// Chains it runs.
    pub chains: u32,
    /// Members in them.
    pub members: u32,
}

/// What the daemon found when it tried an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineProbe {
    /// It works.
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
}
