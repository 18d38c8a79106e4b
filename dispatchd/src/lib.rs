//! The daemon that owns the XDP hooks: it acts, `planner` decides what and `controller` when.
//!
//! A request's way: [`server`] takes the connection, [`session`] decodes, has [`loader`] look at what
//! came with it, and asks [`control`]. What the controller orders is carried out by [`load_job`], one
//! for each program, and by [`hands`] against [`kernel`]; what everybody may read is [`published`].
//! [`object_store`] keeps what members were loaded from.

#![deny(unsafe_code)]

pub mod args;
#[expect(unsafe_code, reason = "calls of libbpf")]
mod bpf;
pub mod bug;
pub mod closing;
pub mod control;
pub mod daemon;
pub mod desk;
pub mod hands;
pub mod kernel;
pub mod load_job;
pub mod loader;
mod notices;
pub mod object;
pub mod object_store;
pub mod probe;
pub mod published;
pub mod server;
pub mod session;
pub mod sockets;
mod translate;
mod unreadable;
