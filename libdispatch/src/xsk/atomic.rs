//! The atomic types of what is shared with the kernel and between threads.
//!
//! `cursor`, `ring` and `ledger` take them from here, since `tests/memory_order/main.rs` compiles these
//! files again, over types that know which accesses are ordered.

pub(super) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
