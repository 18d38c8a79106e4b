//! What the daemon says: the answer to each request, and pushes.

use dispatcher_abi::Mode;
use serde::{Deserialize, Serialize};

use crate::{
    Chain, Digest, Form, MapShape, MemberDetail, Message, Note, Open, Options, Push, Refused,
    Socket, Status, Step,
};

/// What the daemon sends: the answer to the request with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id. 0 is for pushes, and for a refusal that is about the whole connection.
    pub id: u64,
    /// The answer, or why not.
    pub body: Result<ReplyBody, Refused>,
}

impl Message for Reply {
    fn trailing(&self) -> Option<&Options> {
        match &self.body {
            Ok(ReplyBody::Welcome(welcome)) => Some(&welcome.options),
            Ok(_) => None,
            Err(refused) => Some(&refused.options),
        }
    }

    fn trailing_mut(&mut self) -> Option<&mut Options> {
        match &mut self.body {
            Ok(ReplyBody::Welcome(welcome)) => Some(&mut welcome.options),
            Ok(_) => None,
            Err(refused) => Some(&mut refused.options),
        }
    }
}

/// The answers, one for each [`RequestBody`](crate::RequestBody), and the pushes.
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
        notes: Vec<Open<Note>>,
    },
    /// To `CloseSocket`.
    SocketClosed,
    /// To `ReclaimSocket`.
    SocketReclaimed,
    /// To `Subscribe`.
    Subscribed,
    /// To `Unsubscribe`.
    Unsubscribed,
    /// To nobody's request: something happened. Its id is 0.
    Push(Open<Push>),
}

impl ReplyBody {
    /// The first option in it that has to be understood and isn't: see
    /// [`RequestBody::not_understood`](crate::RequestBody::not_understood).
    pub fn not_understood(&self) -> Option<(&'static str, u32)> {
        let unknown = |of, options: &Options| Some((of, options.not_understood(&[])?));
        match self {
            Self::Welcome(welcome) => unknown("Welcome", &welcome.options),
            Self::Changed(changed) => unknown("Changed", &changed.options),
            Self::Chains(chains) => chains.iter().find_map(Chain::not_understood),
            Self::Member(member) => member.not_understood(),
            Self::Status(status) => unknown("Status", &status.options),
            Self::Object { .. }
            | Self::Map(_)
            | Self::Reclaimed
            | Self::Socket(_)
            | Self::SocketActivated { .. }
            | Self::SocketClosed
            | Self::SocketReclaimed
            | Self::Subscribed
            | Self::Unsubscribed
            | Self::Push(_) => None,
        }
    }
}

/// The daemon's side of `Hello`. The same in every version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken on this connection.
    pub version: u16,
    /// The daemon's version, for people.
    pub daemon: String,
    /// What this daemon can do beyond the version, by name.
    pub features: Vec<String>,
    /// At the message's very end, if there are any.
    #[serde(skip)]
    pub options: Options,
}

/// What a change did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The chain's own id; 0 if the chain is gone.
    pub chain: u64,
    /// The chain's revision now (for a dry run: that it would have). 0 if the chain is gone.
    pub revision: u64,
    /// The build that runs now. 0 if the chain is gone.
    pub build: u64,
    /// Where the hook is; `None` if the chain is gone.
    pub mode: Option<Mode>,
    /// What the caller should know, such as why the mode is generic.
    pub notes: Vec<Open<Note>>,
    /// The members that this change registered or replaced, in the order of its operations.
    pub members: Vec<Registered>,
    /// The plan's steps.
    pub plan: Vec<Open<Step>>,
    /// Members that have to be loaded again, with a new program id.
    pub reloads: Vec<String>,
    /// Room for later versions.
    pub options: Options,
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
    /// What its program was loaded as.
    pub form: Form,
    /// It was there already: the daemon had done this very change before, and its answer was lost.
    /// The member is this connection's now.
    pub taken_up: bool,
}
