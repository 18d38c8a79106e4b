//! A ring's memory of loom's types.

use loom::sync::Arc;

use super::atomic::{AtomicU32, AtomicU64};

/// As in the library, where there is also the memory that is mapped.
pub(super) trait RingMemory {
    fn producer(&self) -> &AtomicU32;
    fn consumer(&self) -> &AtomicU32;
    fn flags(&self) -> Option<&AtomicU32>;
    fn words(&self) -> &[AtomicU64];
}

/// A ring's indices and entries.
pub(super) struct Ring {
    producer: AtomicU32,
    consumer: AtomicU32,
    words: Box<[AtomicU64]>,
}

impl Ring {
    /// A ring of so many words, whose indices start here.
    pub(super) fn new(words: usize, start: u32) -> Self {
        Self {
            producer: AtomicU32::new(start),
            consumer: AtomicU32::new(start),
            words: (0..words).map(|_| AtomicU64::new(u64::MAX)).collect(),
        }
    }
}

impl RingMemory for Arc<Ring> {
    fn producer(&self) -> &AtomicU32 {
        &self.producer
    }

    fn consumer(&self) -> &AtomicU32 {
        &self.consumer
    }

    fn flags(&self) -> Option<&AtomicU32> {
        None
    }

    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}
