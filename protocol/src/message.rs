//! What clients say: plain data, no descriptors, nothing that is trusted.
//!
//! Fields are never reordered, added or removed once version 1 is frozen; new variants go last, and
//! what a struct has to say beyond its fields goes into its options.

use serde::{Deserialize, Serialize};

use crate::{Change, MemberRef, Message, Open, OpenSocket, Operation, Options, bounded};

/// SHA-256 of an object's bytes: its name everywhere.
pub type Digest = [u8; 32];

/// Random bytes that their client draws before it asks for what they name: whoever knows them, and
/// has the same uid, is the client that asked.
pub type Token = [u8; 16];

/// Longest name that a client says, in bytes: what the kernel allows a symbol (`KSYM_NAME_LEN`).
/// Everything that is named in a request (an interface, a member, a function, a map, a variable, a
/// group) is refused as malformed if it is longer, so that nothing long is kept or logged.
pub const NAME_BYTES_MAX: usize = 512;

/// Most names in one list of a request: an object with more maps or variables than this would not
/// be loaded.
pub const NAMES_MAX: usize = 1024;

/// Most operations in one [`Change`]: room to remove and to register every member of the longest
/// chain, four times over. A longer list is malformed: an operation of 4 bytes on the wire takes
/// 192 in memory, so a body of nothing else would grow to over half a gigabyte.
pub const OPERATIONS_MAX: usize = 1024;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client, returned with the reply. 0 is for pushes.
    pub id: u64,
    /// What is asked.
    pub body: RequestBody,
}

impl Message for Request {
    fn trailing(&self) -> Option<&Options> {
        if let RequestBody::Hello(hello) = &self.body {
            return Some(&hello.options);
        }
        None
    }

    fn trailing_mut(&mut self) -> Option<&mut Options> {
        if let RequestBody::Hello(hello) = &mut self.body {
            return Some(&mut hello.options);
        }
        None
    }
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
        #[serde(deserialize_with = "bounded::maybe_name")]
        interface: Option<String>,
    },
    /// Everything about one member.
    Show {
        /// The interface. `None`: the member's own, if it is named by its id.
        #[serde(deserialize_with = "bounded::maybe_name")]
        interface: Option<String>,
        /// The member.
        member: Open<MemberRef>,
    },
    /// The daemon's own state.
    Status,
    /// A descriptor of one of a member's own maps. Reply: one descriptor.
    MapDescriptor {
        /// The member's id: its interface may have another name by now.
        member: u64,
        /// The map's name in the object.
        #[serde(deserialize_with = "bounded::name")]
        map: String,
    },
    /// Makes a lingering member this connection's again. Needs the uid that registered it and the
    /// token that its registration brought.
    Reclaim {
        /// The member's id: its interface may have another name by now.
        member: u64,
        /// The token.
        token: Token,
    },
    /// Opens an `AF_XDP` socket on a receive queue, which is then this connection's. Descriptor, if
    /// the socket has memory of its own ([`Umem::Own`](crate::Umem::Own)): that memory, a memfd
    /// sealed against SHRINK and GROW, all of it allocated. Reply: one descriptor, the socket.
    OpenSocket(OpenSocket),
    /// Gives a socket its queue's packets: it is bound and its FILL ring holds frames.
    ActivateSocket {
        /// The interface.
        #[serde(deserialize_with = "bounded::name")]
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The socket's token.
        token: Token,
    },
    /// Gives a queue back. The socket itself is closed when all its descriptors are.
    CloseSocket {
        /// The interface.
        #[serde(deserialize_with = "bounded::name")]
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The socket's token.
        token: Token,
    },
    /// Makes the queue of an active socket this connection's again, after a restart of the daemon.
    /// Descriptor: the socket.
    ReclaimSocket {
        /// The interface.
        #[serde(deserialize_with = "bounded::name")]
        interface: String,
        /// The receive queue.
        queue: u32,
        /// The socket's token.
        token: Token,
    },
    /// Asks for pushes, from now on: see [`Push`](crate::Push). A later one replaces this one.
    Subscribe {
        /// Only what happens to this interface's chain; everything otherwise.
        #[serde(deserialize_with = "bounded::maybe_name")]
        interface: Option<String>,
    },
    /// Asks for no more pushes.
    Unsubscribe,
}

impl RequestBody {
    /// The interface that the request names: it may then bring a network namespace.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Change(Change { interface, .. })
            | Self::List { interface }
            | Self::Show { interface, .. }
            | Self::Subscribe { interface } => interface.as_deref(),
            Self::OpenSocket(OpenSocket { interface, .. })
            | Self::ActivateSocket { interface, .. }
            | Self::CloseSocket { interface, .. }
            | Self::ReclaimSocket { interface, .. } => Some(interface),
            Self::Hello(_)
            | Self::PutObject
            | Self::Status
            | Self::MapDescriptor { .. }
            | Self::Reclaim { .. }
            | Self::Unsubscribe => None,
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
            | Self::CloseSocket { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe => 0,
        }
    }

    /// The first option in it that has to be understood and isn't: the struct that has it, and its
    /// number. Such a request is refused as [`Unsupported`](crate::RefusalCode::Unsupported).
    ///
    /// No struct has an option yet that this version knows.
    pub fn not_understood(&self) -> Option<(&'static str, u32)> {
        let unknown = |of, options: &Options| Some((of, options.not_understood(&[])?));
        match self {
            Self::Hello(hello) => unknown("Hello", &hello.options),
            Self::OpenSocket(open) => unknown("OpenSocket", &open.options),
            Self::Change(change) => unknown("Change", &change.options).or_else(|| {
                let mut operations = change.operations.iter();
                operations.find_map(Operation::not_understood)
            }),
            Self::PutObject
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Status
            | Self::MapDescriptor { .. }
            | Self::Reclaim { .. }
            | Self::ActivateSocket { .. }
            | Self::CloseSocket { .. }
            | Self::ReclaimSocket { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe => None,
        }
    }
}

/// Opens a connection. The same in every version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest protocol version the client speaks.
    pub lowest: u16,
    /// Highest protocol version the client speaks.
    pub highest: u16,
    /// What the client calls itself, for listings and logs: at most 64 bytes.
    #[serde(deserialize_with = "bounded::name")]
    pub client: String,
    /// At the message's very end, if there are any. A daemon of version 0 takes none.
    #[serde(skip)]
    pub options: Options,
}
