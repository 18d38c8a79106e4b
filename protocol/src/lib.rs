//! The bytes both sides of the socket agree on.
//!
//! ```text
//! client                                    daemon
//!   │ Hello { lowest, highest }  ──────────►  │   first, once
//!   │ ◄──────────  Welcome { version }        │
//!   │ PutObject + memfd          ──────────►  │   stages an object on this connection
//!   │ ◄──────────  Object { digest }          │
//!   │ Change { operations }      ──────────►  │   one plan, one swap, all or nothing
//!   │ ◄──────────  Changed, or Refused        │
//! ```
//!
//! One message is one packet of a `SOCK_SEQPACKET` socket; a [`Connection`] sends and receives
//! them whole, with their descriptors. `docs/protocol.md` says the same byte by byte.
#![forbid(unsafe_code)]

mod bounded;
mod causes;
mod change;
pub mod codec;
mod connection;
mod escape;
mod frame;
mod listing;
pub mod memfd;
mod message;
mod open;
mod options;
mod push;
mod refused;
mod reply;
mod told;
mod unreadable;
mod xsk;

pub use causes::with_causes;
pub use change::{
    BuiltInSource, Change, Configuration, GlobalValue, LoadedSource, MemberRef, ObjectSource,
    Operation, Position, Registration, Settings, Source, TailCall,
};
pub use codec::{
    BODY_BYTES_MAX, CodecError, Message, PACKET_BYTES_MAX, decode, decode_part, encode, encode_part,
};
pub use connection::{
    Connection, FDS_MAX, GREETING_BYTES_MAX, Listener, Peer, ReceiveError, Received, SendError,
};
pub use escape::escape;
pub use listing::{
    ATTACH_TYPE_XDP, Chain, EngineProbe, Form, Hook, HookProgram, MapShape, Member, MemberDetail,
    MemberState, NetNs, Origin, Owner, Pending, Pins, Status,
};
pub use memfd::{MemfdError, OBJECT_BYTES_MAX};
pub use message::{
    Digest, Hello, NAME_BYTES_MAX, NAMES_MAX, OPERATIONS_MAX, Request, RequestBody, Token,
};
pub use open::{OPEN_BYTES_MAX, Open, Unknown, Variants};
pub use options::{MUST_UNDERSTAND, OPTION_BYTES_MAX, OPTIONS_MAX, OptionKey, Options};
pub use push::{ChainName, GoneWhy, Push};
pub use refused::{MESSAGE_BYTES_MAX, RefusalCode, Refused, Remedy};
pub use reply::{Changed, Registered, Reply, ReplyBody, Welcome};
pub use told::{EngineReason, Note, ProbeReason, Step, Warning};
pub use unreadable::{PinKind, RegistryFault, Unreadable};
pub use xsk::{
    BusyPoll, OpenSocket, Socket, SocketCounts, SocketDetail, SocketGrant, SocketMode,
    SocketOptions, SocketState, Umem, UmemLayout,
};

/// The lowest protocol version this crate speaks.
pub const VERSION_LOWEST: u16 = 1;
/// The highest protocol version this crate speaks.
pub const VERSION_HIGHEST: u16 = 1;

/// The version to speak with a peer that offers these: the highest in common.
pub fn common_version(lowest: u16, highest: u16) -> Option<u16> {
    (VERSION_LOWEST..=VERSION_HIGHEST)
        .rev()
        .find(|version| (lowest..=highest).contains(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(common_version(1, 1), Some(1));
        assert_eq!(common_version(0, 9), Some(VERSION_HIGHEST));
        assert_eq!(common_version(0, 0), None, "version 0 is spoken no more");
        assert_eq!(common_version(VERSION_HIGHEST + 1, 9), None);
        assert_eq!(common_version(2, 1), None, "an empty range");
    }
}
