//! The programs that are measured.

#[expect(unsafe_code, reason = "calls of libbpf")]
mod btf;
mod chain;
mod config;
mod instructions;
mod kind;
#[expect(unsafe_code, reason = "calls of libbpf")]
mod sys;

pub(crate) use chain::Chain;
pub(crate) use instructions::pass;
pub(crate) use kind::{CURRENT_LIBXDP, Kind, Masks, Settings};
pub(crate) use sys::load_xdp;
