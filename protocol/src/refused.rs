//! A request that was understood and turned down.

use serde::{Deserialize, Serialize};

/// Why a request was turned down. The code is stable: programs may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RefusalCode {
    /// No common protocol version.
    Version,
    /// The message makes no sense: not decodable, out of turn, a field out of range.
    Malformed,
    /// A descriptor is missing, of the wrong kind, or not sealed.
    Descriptor,
    /// A message, an object or a list is larger than allowed.
    TooLarge,
    /// This uid may not do this.
    NotAllowed,
    /// The member belongs to somebody else.
    NotOwner,
    /// Too many requests, connections or loads of one uid at once.
    Quota,
    /// No interface of this name in the namespace.
    NoSuchInterface,
    /// The interface runs a program that isn't ours.
    InterfaceBusy,
    /// The interface or its namespace went away.
    InterfaceGone,
    /// The interface can't run XDP in the mode asked for.
    Mode,
    /// The chain is at another generation than the caller expected.
    Generation,
    /// No member of this name.
    NoSuchMember,
    /// A name that members can't have.
    BadName,
    /// The chain has a member of this name.
    NameTaken,
    /// Every slot is occupied.
    ChainFull,
    /// The members' tail calls together exceed what a packet may make.
    TailCallBudget,
    /// The operation doesn't fit the member or the other operations.
    Conflict,
    /// The object named in a registration was not staged on this connection.
    NoSuchObject,
    /// The bytes are not an eBPF object.
    NotAnObject,
    /// The object has no such program.
    NoSuchProgram,
    /// The object has several programs and none was named.
    AmbiguousProgram,
    /// The program is not an XDP program.
    WrongProgramType,
    /// The object needs something that the loader can't do.
    Unsupported,
    /// The program calls a helper that this client may not use.
    Helper,
    /// The object has no such map, or it can't have this size.
    Map,
    /// The object has no such global variable, or the value doesn't fit.
    Global,
    /// The verifier refused the program; its log is attached.
    Verifier,
    /// The engine asked for can't be used.
    Engine,
    /// The token is wrong, or the member doesn't linger.
    Claim,
    /// The kernel refused a step; nothing changed.
    Kernel,
    /// The daemon is stopping, or failed in a way that is its own fault.
    Daemon,
    /// The receive queue is somebody else's; the message names them.
    QueueTaken,
    /// The interface has no such receive queue.
    NoSuchQueue,
    /// No socket of this connection has this queue and token.
    NoSuchSocket,
}

/// The answer "no", with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What kind of no.
    pub code: RefusalCode,
    /// One line that names the interface or member and the fact that caused it.
    pub message: String,
    /// The verifier's log, whole.
    pub log: Option<String>,
}
