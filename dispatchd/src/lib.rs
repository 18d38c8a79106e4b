//! The daemon that owns the XDP hooks: it acts, `planner` decides.

pub mod kernel;
