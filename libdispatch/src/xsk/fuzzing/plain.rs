//! A ring in plain memory, and what the kernel does with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::xsk::memory::RingMemory;
use crate::xsk::ring::Entry;

/// A ring's memory.
#[derive(Debug)]
pub(in crate::xsk) struct Plain {
    pub(in crate::xsk) producer: AtomicU32,
    pub(in crate::xsk) consumer: AtomicU32,
    pub(in crate::xsk) flags: AtomicU32,
    pub(in crate::xsk) words: Box<[AtomicU64]>,
}

impl Plain {
    /// A ring of so many entries of so many words whose indices start here.
    pub(in crate::xsk) fn new(entries: u32, words: usize, start: u32) -> Arc<Self> {
        Arc::new(Self {
            producer: start.into(),
            consumer: start.into(),
            flags: 0.into(),
            words: (0..entries as usize * words).map(|_| 0.into()).collect(),
        })
    }

    /// How many entries it has.
    pub(in crate::xsk) fn entries<E: Entry>(&self) -> u32 {
        u32::try_from(self.words.len() / E::WORDS).expect("it is small")
    }

    fn place<E: Entry>(&self, index: u32) -> &E::Words {
        &E::entries(&self.words)[(index % self.entries::<E>()) as usize]
    }

    /// The kernel writes an entry, if there is room.
    pub(in crate::xsk) fn put<E: Entry>(&self, entry: E) -> bool {
        let producer = self.producer.load(Ordering::Relaxed);
        let consumer = self.consumer.load(Ordering::Acquire);
        if producer.wrapping_sub(consumer) >= self.entries::<E>() {
            return false;
        }
        entry.store(self.place::<E>(producer));
        self.producer
            .store(producer.wrapping_add(1), Ordering::Release);
        true
    }

    /// The kernel reads an entry, if there is one.
    pub(in crate::xsk) fn get<E: Entry>(&self) -> Option<E> {
        let consumer = self.consumer.load(Ordering::Relaxed);
        if self.producer.load(Ordering::Acquire) == consumer {
            return None;
        }
        let entry = E::load(self.place::<E>(consumer));
        self.consumer
            .store(consumer.wrapping_add(1), Ordering::Release);
        Some(entry)
    }
}

impl RingMemory for Arc<Plain> {
    fn producer(&self) -> &AtomicU32 {
        &self.producer
    }

    fn consumer(&self) -> &AtomicU32 {
        &self.consumer
    }

    fn flags(&self) -> Option<&AtomicU32> {
        Some(&self.flags)
    }

    fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}
