//! Decides what happens to a chain; cannot act.
//!
//! No I/O, no clock, no randomness: the manifest proves it. What is asked ([`Change`]), by whom
//! ([`Client`]), of what ([`State`]) and what the loader learned ([`Facts`]) go in; a [`Plan`] or
//! a [`Refusal`] comes out. [`admit`] is asked before an object is looked at, [`needs`] before it is
//! loaded, [`decide`] before anything is done.
#![forbid(unsafe_code)]

mod admit;
mod call;
mod chain;
mod change;
mod deadline;
mod decide;
#[cfg(test)]
#[cfg(test)]
mod describe;
mod draft;
mod engine;
mod facts;
mod failure;
mod form;
mod id;
mod lease;
mod limits;
mod loading;
mod mend;
mod needs;
mod obsolete;
mod order;
mod pin;
mod plan;
mod policy;
mod quota;
mod rearm;
mod reconcile;
mod refusal;
mod root;
mod source;
mod state;
mod take_up;
#[cfg(any(test, feature = "proptest"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod unreadable;

pub use admit::admit;
pub use call::Call;
pub use chain::{
    Chain, ChainDir, Hook, HookProgram, Member, MemberState, Owner, Standing, Waiting,
};
pub use change::{Change, Configuration, Operation, Position, Registration, Settings};
pub use deadline::{Moment, ORPHAN_LINGER_MS, Start};
pub use decide::{decide, expire};
pub use engine::{Engines, NoEngine};
pub use facts::{Facts, Outline};
pub use failure::{FailureKind, Note, by_tail_call, in_the_way, instead};
pub use form::{Abilities, AttachType, Form, Obstacle};
pub use id::{
    Build, ChainId, ChainKey, CodeId, ConnectionId, Digest, Interface, LoadId, MemberId, Revision,
    Slot,
};
pub use lease::{Lease, LeaseState, Leases, Opening, QueueKey, SocketKey, without_redirect};
pub use loading::{Code, LoadOrder, LoadStep, Loading, Maps, MapsOf};
pub use mend::{MEND_AGAIN_MS, Mend, Mends};
pub use needs::{Needs, Reload, needs};
pub use obsolete::Obsolete;
pub use pin::Pin;
pub use plan::{Cleanup, Commit, Plan, Prepare};
pub use policy::{Authority, Client, Grant, Level, Policy, Requester, Verb, Verbs};
pub use quota::{PinnedMemory, SocketLimits};
pub use rearm::rearm;
pub use reconcile::{
    Holds, Observed, ObservedBuild, ObservedChain, ObservedCode, ObservedLink, ObservedMember,
    Presence, Recovery, Registry, reconcile,
};
pub use refusal::{Refusal, RootAct};
pub use root::{Root, RootProgram, RootSlot};
pub use source::{BuiltIn, GlobalValue, HandOver, LoadedSource, ObjectSource, Source, TailCall};
pub use state::State;
pub use take_up::{TakenUp, done_before};
pub use unreadable::{Kind, RegistryFault, Unreadable, Why};
