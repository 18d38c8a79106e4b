//! What a packet costs.

mod cost;
pub(crate) mod instructions;
pub(crate) mod packets;
