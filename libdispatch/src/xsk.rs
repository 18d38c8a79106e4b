//! `AF_XDP`: packets of an interface's queue in memory of the application's own.
//!
//! A [`Umem`] is packet memory, divided into frames. A [`Socket`] has one queue of an interface: its
//! [`Receiver`] takes packets that an XDP program redirected to it, its [`Sender`] sends packets.
//! Frames are values: a [`Packet`] is its frames' only owner, and when it is dropped they are free
//! to be received into. There is no `unsafe` and no address to get wrong.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use libdispatch::xsk::{Options, Socket, Umem};
//!
//! let umem = Umem::builder().frames(8192).build()?;
//! let mut socket = Socket::open(&umem, 2, 0, &Options::default())?;
//! let (receiver, sender) = socket.halves();
//! loop {
//!     receiver.wait(None)?;
//!     receiver.receive_each(64, |packet| {
//!         // Others are dropped, and so are those that TX has no room for: their frames are received
//!         // into again.
//!         if packet.len() > 60 {
//!             let _ = sender.forward(packet);
//!         }
//!     });
//!     sender.flush()?;
//! }
//! # }
//! ```
//!
//! | want | use |
//! | --- | --- |
//! | a socket that the daemon opened, configured and bound | [`Socket::from_bound`] |
//! | a socket that the daemon only opened and tied to an interface | [`Socket::from_bare`] |
//! | a socket with one's own `CAP_NET_RAW` | [`Socket::open`] |
//! | a second socket on the same queue | [`Socket::open_beside`] |
//! | several queues or interfaces with the same frames | open several on one [`Umem`] |
//! | one thread that receives and one that sends | [`Socket::split`] |
//! | an event loop | [`AsFd`](std::os::fd::AsFd) of the socket and its halves |
//! | the least cost for a packet | [`Receiver::receive_each`], [`Sender::forward`] |
//! | what an XDP program knows of a packet, such as when it came | [`Frame::metadata`] |
//! | a checksum by the driver, when a packet was sent, a time to send it | [`Frame::offload_checksum`], [`Frame::request_timestamp`], [`Frame::set_launch_time`] |
//!
//! The rings are shared with the kernel, and with whoever else has the socket. What is read from
//! them is checked: an entry must name a frame that the kernel really had from that ring, and bytes
//! within it. Anything else is counted in [`Faults`] and has no other effect: there are never two values
//! for one frame, nor bytes outside of it. But who can write to the rings can have the kernel write to
//! any frame: the socket's descriptor is for nobody else, as the memory's is.
//!
//! From `include/uapi/linux/if_xdp.h`. What is here has been tried on Linux 6.1, 6.12 and 6.18; what
//! needs a newer one than 6.1 says so.

mod assembly;
mod atomic;
mod call;
mod cursor;
mod delivery;
mod error;
mod faults;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod inbound;
mod incoming;
mod layout;
mod ledger;
mod memory;
mod offload;
mod options;
mod outbound;
mod packet;
mod receiver;
mod ring;
mod sender;
mod setup;
mod socket;
mod stamps;
#[cfg(test)]
mod tests;
mod umem;
mod wait;

pub use call::Call;
pub use error::Error;
pub use faults::Faults;
pub use frame::Frame;
pub use incoming::Incoming;
pub use layout::Layout;
pub use offload::RequestError;
pub use options::{BusyPoll, Copies, Options};
pub use outbound::{Unsent, UnsentReason};
pub use packet::Packet;
pub use receiver::{Batch, Receiver};
pub use sender::Sender;
pub use socket::{Socket, Statistics};
pub use stamps::Sent;
pub use umem::{Tally, Umem, UmemBuilder};
