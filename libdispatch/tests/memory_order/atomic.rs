//! Loom's types in the places of the library's.

use loom::cell::Cell;
pub(super) use loom::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// A word of an entry, as plain memory: loom panics at two accesses that nothing orders.
#[derive(Debug)]
pub(super) struct AtomicU64(Cell<u64>);

// SAFETY: loom runs one thread at a time, and looks at each access before it is made.
unsafe impl Sync for AtomicU64 {}

impl AtomicU64 {
    pub(super) fn new(value: u64) -> Self {
        Self(Cell::new(value))
    }

    /// All that its users ask for.
    pub(super) fn load(&self, order: Ordering) -> u64 {
        assert_eq!(order, Ordering::Relaxed);
        self.0.get()
    }

    pub(super) fn store(&self, value: u64, order: Ordering) {
        assert_eq!(order, Ordering::Relaxed);
        self.0.set(value);
    }
}
