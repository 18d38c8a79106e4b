//! The daemon that owns the XDP hooks: it acts, `planner` decides.
//!
//! A request's way: [`server`] takes the connection, [`session`] decodes and admits, [`loader`]
//! loads what came with it, [`engine`] decides and has [`executor`] carry the plan out against
//! [`kernel`], then publishes ([`published`]) what everybody may read. [`objects`] keeps what
//! members were loaded from.

pub mod args;
mod bpf;
pub mod control;
pub mod daemon;
pub mod desk;
pub mod hands;
pub mod kernel;
pub mod load_job;
pub mod loader;
mod notices;
pub mod object;
pub mod objects;
pub mod probe;
pub mod published;
pub mod server;
pub mod session;
pub mod sockets;
mod translate;
mod unreadable;
