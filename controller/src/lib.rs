//! Brings everything that happens to chains into an order; cannot act.
//!
//! [`Controller::handle`] takes an [`Event`] and the time and returns [`Job`]s. Whoever runs it carries
//! the jobs out, against the kernel or a model of it, and tells what came of them by further events.
//! No I/O, no clock, no kernel: the manifest proves it. What happens to a chain, and what may, is
//! decided in `planner`; what happens *when* is decided here.
//!
//! Each interface has a lane, in which one thing happens after the other. Loading a change's programs
//! happens outside it, since a verifier may take seconds.
//!
//! ```text
//! request ─► load* ─► lane: look ─► decide ─► prepare ─► commit ─► free* ─► answer
//!                           │         │          └────────┴─ failed: undo, and perhaps another try
//!                           │         └─ changed meanwhile: load again
//!                           └─ off its hook: attach again
//! ```
#![forbid(unsafe_code)]

mod change;
mod connection;
mod controller;
mod drain;
mod due;
mod event;
mod hook;
mod job;
mod lane;
mod objects;
mod own;
mod socket;
#[cfg(test)]
mod tests;

pub use controller::{Controller, LOOK_MS, Setup};
pub use event::{
    Asking, CommitFailure, Done, Event, GiveFailure, HookLeft, LoadFailure, Request, RequestId,
    Seen, StepFailure,
};
pub use job::{Act, Answer, Changed, Job, Notice, RedirectCode};
