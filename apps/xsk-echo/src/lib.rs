//! What `xsk-echo` does with packets: rewrites one in place, and says what becomes of it. Nothing here
//! opens anything.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `respond` | [`Responder`]: which packets are answered, and by whom below |
//! | `arp`, `neighbour`, `ping`, `udp` | one question each, and its answer |
//! | `ethernet`, `ipv4`, `ipv6` | what is around a question: read, checked, turned round |
//! | `checksum` | in full, and by what changed |
//! | `forward` | [`Forward`]: every packet goes on |
//! | `addresses` | [`Addresses`]: who we are, and whom we answer |
//! | `action` | [`Action`]: what becomes of a packet, and [`Counts`] of it |
//! | `batch` | [`treat_batch`]: from a socket's one half to the other |
#![forbid(unsafe_code)]

mod action;
mod addresses;
mod arp;
mod batch;
mod checksum;
mod ethernet;
mod forward;
mod ipv4;
mod ipv6;
mod neighbour;
mod ping;
mod respond;
mod udp;

pub use action::{Action, Counts, Reason, Sent};
pub use addresses::{Address, Addresses, Mac, NotAnAddress};
pub use batch::{BATCH, treat_batch};
pub use forward::Forward;
pub use respond::{PORT_DEFAULT, Responder};

/// What is done with every packet.
#[derive(Clone, Debug)]
pub enum Task {
    /// It is answered, or dropped.
    Respond(Responder),
    /// It is sent on.
    Forward(Forward),
    /// It is dropped.
    Drop,
}
