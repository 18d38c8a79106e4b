//! The programs that are measured.

mod btf;
mod chain;
mod config;
mod instructions;
mod kind;
mod sys;

pub(crate) use chain::Chain;
pub(crate) use instructions::pass;
pub(crate) use kind::{CURRENT_LIBXDP, Kind, Masks, Settings};
pub(crate) use sys::load_xdp;
