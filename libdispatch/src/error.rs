//! What can go wrong, for three readers: the daemon said no, the daemon isn't there, the machine.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::Remedy;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The daemon understood the request and said no. Nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),

    /// No connection to the daemon can be made. Nothing was asked for, so nothing changed.
    #[error("the daemon can't be reached at {}", socket.display())]
    NotReachable {
        /// Where it should listen.
        socket: PathBuf,
        /// Why the connection failed.
        source: io::Error,
    },

    /// The connection broke after the request was sent, and no daemon came back soon enough to be
    /// asked: whether it was done is unknown. What a registration without an answer left behind
    /// goes by itself, after its linger time.
    #[error("the connection broke during {request}: whether it was done is unknown")]
    Disconnected {
        /// What was asked.
        request: &'static str,
    },

    /// The daemon didn't answer in time; it may still do what was asked. A member that it registers
    /// late stays as long as the client. See [`ClientBuilder::timeout`](crate::ClientBuilder::timeout).
    #[error("no answer to {request} within {}: it may still be done", seconds(*timeout))]
    TimedOut {
        /// What was asked.
        request: &'static str,
        /// How long the library waited.
        timeout: Duration,
    },

    /// The daemon and this library have no protocol version in common.
    #[error("no common protocol version: this library speaks {ours}, the daemon says: {theirs}")]
    VersionMismatch {
        /// The highest version that this library speaks.
        ours: u16,
        /// What the daemon said to that.
        theirs: String,
    },

    /// The registration is gone: its claim was refused after the connection had been lost.
    #[error("{name} on {interface} is no longer registered: {reason}")]
    Lost {
        /// The interface.
        interface: String,
        /// The member.
        name: String,
        /// What the daemon said to the claim.
        reason: Box<Refusal>,
    },

    /// A file can't be read.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A network namespace can't be opened.
    #[error("network namespace {}", path.display())]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A map can't be used as a typed map, or not by this process: without `CAP_BPF`, a received
    /// map descriptor can be used from kernel 5.19 on.
    #[cfg(feature = "aya")]
    #[error("map {map}")]
    Map {
        /// The map's name in the object.
        map: String,
        /// What is wrong with the type, or what the kernel said.
        source: Box<aya::maps::MapError>,
    },

    /// The daemon's answer doesn't fit the question. The connection is given up.
    #[error("the daemon's answer to {request} makes no sense: {answer}")]
    Unexpected {
        /// What was asked.
        request: &'static str,
        /// What is wrong with the answer.
        answer: String,
    },

    /// A system call failed on this side.
    #[error("{call}")]
    Io {
        /// What was tried.
        call: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// What kind of failure it is, in a word: a refusal's code, or what went wrong on this side.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.name(),
            Self::Lost { reason, .. } => reason.code.name(),
            Self::NotReachable { .. } => "not_reachable",
            Self::Disconnected { .. } => "disconnected",
            Self::TimedOut { .. } => "timed_out",
            Self::VersionMismatch { .. } => "version",
            Self::File { .. } => "file",
            Self::Namespace { .. } => "namespace",
            #[cfg(feature = "aya")]
            Self::Map { .. } => "map_type",
            Self::Unexpected { .. } => "unexpected",
            Self::Io { .. } => "system_call",
        }
    }

    /// The refusal, if the daemon said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self {
            Some(refusal)
        } else if let Self::Lost { reason, .. } = self {
            Some(reason)
        } else {
            None
        }
    }
}

/// A time as people read it: whole seconds, or milliseconds.
fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// The daemon's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no: stable, to match on.
    pub code: RefusalCode,
    /// One line that names the interface or member and the fact that caused it.
    pub message: String,
    /// The verifier's log, whole, if the verifier refused the program.
    pub log: Option<String>,
    /// The remedy, if the daemon knows one.
    pub remedy: Option<Remedy>,
}

impl Refusal {
    /// A refusal that the library makes itself.
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            log: None,
            remedy: None,
        }
    }
}

/// The message and the remedy: a log has many lines, and the caller decides where they go.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<protocol::Refused> for Refusal {
    fn from(refused: protocol::Refused) -> Self {
        Self {
            code: refused.code.into(),
            remedy: refused.remedy().map(Remedy::from),
            message: refused.message,
            log: refused.log,
        }
    }
}

/// The public twin of the wire's codes; a code without a twin doesn't compile.
macro_rules! refusal_codes {
    ($($(#[$doc:meta])* $code:ident,)+) => {
        /// Why a request was turned down. Codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RefusalCode {
            $($(#[$doc])* $code,)+
            /// A code that this version of the library doesn't know, by its number.
            Unknown(u32),
        }

        impl RefusalCode {
            /// Every code that this version of the library knows.
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            /// The word, as in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => protocol::RefusalCode::$code.name(),)+
                    Self::Unknown(_) => "unknown",
                }
            }
        }

        impl From<protocol::RefusalCode> for RefusalCode {
            fn from(code: protocol::RefusalCode) -> Self {
                match code {
                    $(protocol::RefusalCode::$code => Self::$code,)+
                    protocol::RefusalCode::Unknown(number) => Self::Unknown(number),
                }
            }
        }
    };
}

refusal_codes! {
    /// No common protocol version.
    Version,
    /// The request makes no sense: out of turn, or a field out of range.
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
    /// The interface runs a program that isn't the daemon's.
    InterfaceBusy,
    /// The interface or its namespace went away.
    InterfaceGone,
    /// The interface can't run XDP in the mode asked for.
    Mode,
    /// The chain is at another revision than expected.
    Generation,
    /// No member of this name or id.
    NoSuchMember,
    /// A name that members can't have: see [`is_member_name`](crate::is_member_name).
    BadName,
    /// The chain has a member of this name.
    NameTaken,
    /// Every slot is occupied.
    ChainFull,
    /// The members' tail calls together exceed what a packet may make.
    TailCallBudget,
    /// The operation doesn't fit the member or the other operations.
    Conflict,
    /// The object was not staged on this connection.
    NoSuchObject,
    /// The bytes are not an eBPF object.
    NotAnObject,
    /// The object has no such program.
    NoSuchProgram,
    /// The object has several programs and none was named.
    AmbiguousProgram,
    /// The program is not an XDP program.
    WrongProgramType,
    /// The object or the request needs something that this daemon can't do.
    Unsupported,
    /// The program calls a helper that this uid may not use.
    Helper,
    /// The object has no such map, or it can't have this size.
    Map,
    /// The object has no such global variable, or the value doesn't fit.
    Global,
    /// The verifier refused the program: see [`Refusal::log`].
    Verifier,
    /// The engine asked for can't be used.
    Engine,
    /// The claim token is wrong, or the member doesn't linger.
    Claim,
    /// The kernel refused a step; nothing changed.
    Kernel,
    /// The daemon is stopping, or failed in a way that is its own fault.
    Daemon,
    /// The receive queue is somebody else's; the message names them.
    QueueTaken,
    /// The interface has no such receive queue.
    NoSuchQueue,
    /// The daemon has no such socket of this client's.
    NoSuchSocket,
}
