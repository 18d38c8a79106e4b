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
pub mod codec;
mod escape;
mod frame;
pub mod memfd;
mod message;
mod refused;
pub mod socket;
mod xsk;

pub use codec::{BODY_BYTES_MAX, CodecError, PACKET_BYTES_MAX, decode, encode};
pub use escape::escape;
pub use memfd::{MemfdError, OBJECT_BYTES_MAX};
pub use message::*;
pub use refused::{RefusalCode, Refused};
pub use socket::{Connection, FDS_MAX, Listener, Peer, ReceiveError, SendError};
pub use xsk::{
    BusyPoll, OpenSocket, Socket, SocketCounts, SocketDetail, SocketGrant, SocketMode,
    SocketOptions, SocketState, Umem, UmemLayout,
};

/// The lowest protocol version this crate speaks.
pub const VERSION_LOWEST: u16 = 0;
/// The highest protocol version this crate speaks.
pub const VERSION_HIGHEST: u16 = 0;

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
        assert_eq!(common_version(0, 0), Some(0));
        assert_eq!(common_version(0, 9), Some(VERSION_HIGHEST));
        assert_eq!(common_version(VERSION_HIGHEST + 1, 9), None);
        assert_eq!(common_version(1, 0), None, "an empty range");
    }
}
