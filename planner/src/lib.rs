//! Decides what happens to a chain; cannot act.
//!
//! No I/O, no clock, no randomness: the manifest proves it. What is asked ([`Change`]), by whom
//! ([`Client`]), of what ([`State`]) and what the loader learned ([`Facts`]) go in; a [`Plan`] or
//! a [`Refusal`] comes out. [`admit`] is asked before an object is looked at, [`needs`] before it is
//! loaded, [`decide`] before anything is done.
#![forbid(unsafe_code)]

mod admit;
mod chain;
mod change;
mod claims;
mod decide;
#[cfg(test)]
mod describe;
mod draft;
mod engine;
mod facts;
mod form;
mod id;
mod limits;
mod needs;
mod order;
mod plan;
mod policy;
mod quota;
mod rearm;
mod reconcile;
mod refusal;
mod root;
mod state;
#[cfg(any(test, feature = "proptest"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use admit::admit;
pub use chain::{Chain, Member, MemberState, Owner};
pub use change::{Change, Configuration, Operation, Position, Registration, Settings};
pub use claims::{Claim, ClaimState, Claims, Opening, QueueKey, SocketKey, without_redirect};
pub use decide::{decide, expire};
pub use engine::{Engines, NoEngine};
pub use facts::{Facts, Outline, Source, TailCall};
pub use form::{Abilities, Form, Obstacle};
pub use id::{
    ChainKey, CodeId, ConnectionId, Digest, Generation, Interface, LoadId, MemberId, Slot,
};
pub use needs::{Needs, Reload, needs};
pub use plan::{Cleanup, Commit, Plan, Prepare};
pub use policy::{Client, Grant, Policy, Rights};
pub use quota::{PinnedMemory, SocketLimits};
pub use rearm::rearm;
pub use reconcile::{
    Held, Observed, ObservedChain, ObservedGeneration, Recovery, Registry, reconcile,
};
pub use refusal::{Refusal, RootAct};
pub use root::{Root, RootKind, RootSlot};
pub use state::{Orphan, State};
