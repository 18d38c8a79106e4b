//! The controller against a world in memory.

mod action;
mod ask;
mod checks;
mod claims;
mod closing;
mod daemon;
mod faults;
mod looks;
mod mends;
mod objects;
mod odd;
mod order;
mod removal;
mod rules;
mod sockets;
mod sweep;
mod times;
mod walk;
mod world;
