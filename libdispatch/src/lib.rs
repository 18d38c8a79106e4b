//! Shares one interface's XDP hook: registers programs with the daemon `dispatchd`, which runs
//! them in order.
//!
//! The daemon loads the program, so an application needs no BPF privilege of its own. A
//! [`Registration`] is a guard: the program runs until the guard is dropped, and if the daemon is
//! restarted in between, the library re-claims it by itself.
//!
//! ```no_run
//! use libdispatch::{Client, Program, Verdict, VerdictMask};
//!
//! fn main() -> Result<(), libdispatch::Error> {
//!     let client = Client::builder().name("firewall").connect()?;
//!     let program = Program::from_file("firewall.o")?
//!         .priority(20)
//!         .chain_call(VerdictMask::of(&[Verdict::Pass]))
//!         .map_size("RULES", 4096)
//!         .global("log_drops", 1);
//!     let registration = client.register("eth0", &program)?;
//!     let dropped = registration.counters()?.get(libdispatch::Count::Drop);
//!     let rules = registration.map("RULES")?;
//!     println!("slot {}: {dropped} dropped, rules in {rules:?}", registration.slot());
//!     registration.unregister()
//! }
//! ```
//!
//! | want | use |
//! | --- | --- |
//! | a program on an interface, for as long as the application runs | [`Client::register`] |
//! | the same on several interfaces | [`Client::register_all`] |
//! | several operations in one swap, or only if nobody else changed the chain | [`Client::change`] |
//! | packets in user space, without any privilege (`AF_XDP`) | [`Client::open_socket`] |
//! | what runs, with its packet counts | [`Client::list`], [`Client::show`] |
//!
//! Everything blocks; there is no runtime and no thread until the first registration, which
//! starts one that sleeps until the connection breaks. A [`Client`] may be used by any number of
//! threads at once: a long load by one of them doesn't hold up another's list.
//!
//! The socket is `/run/dispatchd/dispatchd.sock`, or what the environment variable
//! `DISPATCHD_SOCKET` says, or what [`ClientBuilder::socket`] says.
#![deny(unsafe_code)]

// The fake daemon of the tests speaks of it by its name.
#[cfg(test)]
extern crate self as libdispatch;

mod change;
mod claim;
mod client;
mod error;
mod inbox;
mod keeper;
mod lease;
mod line;
mod listing;
mod netns;
mod patience;
mod program;
mod registration;
mod request;
mod session;
mod settings;
mod socket_listing;
mod socket_request;
mod sync;
mod token;
mod turn;
mod words;
#[allow(unsafe_code, reason = "memory that is shared with the kernel")]
pub mod xsk;

pub use change::{Change, Changed, Registered};
pub use client::{Client, ClientBuilder, SOCKET_DEFAULT, SOCKET_VARIABLE};
pub use dispatcher_abi::{
    Count, Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss,
    PRIORITY_DEFAULT, Priority, SlotCounters, UnknownWord, Verdict, VerdictMask, is_member_name,
};
pub use error::{Error, Refusal, RefusalCode};
pub use lease::SocketLease;
pub use listing::{
    Chain, EngineProbe, Hook, HookProgram, MapShape, Member, MemberDetail, MemberState, Namespace,
    Origin, Owner, Pending, Pins, Status,
};
pub use netns::NetNs;
pub use program::{GlobalValue, Program};
pub use protocol::{escape, with_causes};
pub use registration::Registration;
pub use settings::{Configuration, Position, Settings};
pub use socket_listing::{SocketCounts, SocketDetail, SocketState};
pub use socket_request::{SocketMode, SocketRequest};
pub use words::{
    EngineReason, Note, PinKind, ProbeReason, RegistryFault, Remedy, Step, Unreadable, Warning,
};
