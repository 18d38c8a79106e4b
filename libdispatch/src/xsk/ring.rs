//! The four rings: FILL and TX, which the application writes, and COMPLETION and RX, which it reads.

use std::marker::PhantomData;

use super::atomic::{AtomicU64, Ordering};
use super::cursor::{Consumer, Producer};
use super::memory::RingMemory;

/// A ring of [`u64`] addresses of frames that the kernel may write to.
pub(super) type Fill<M> = ProducerRing<M, u64>;
/// A ring of packets to send.
pub(super) type Tx<M> = ProducerRing<M, Descriptor>;
/// A ring of [`u64`] addresses of frames that were sent.
pub(super) type Completion<M> = ConsumerRing<M, u64>;
/// A ring of packets that were received.
pub(super) type Rx<M> = ConsumerRing<M, Descriptor>;

/// `XDP_RING_NEED_WAKEUP`: the kernel sleeps until it is told that there is work.
const NEED_WAKEUP: u32 = 1;

/// `struct xdp_desc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Where the packet starts in the UMEM; see `Layout::locate`.
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: u32,
    /// `XDP_PKT_CONTD` and others.
    pub(super) options: u32,
}

/// What a ring holds, as words of 64 bits.
pub(super) trait Entry: Copy {
    /// How many words.
    const WORDS: usize;
    /// Reads one from exactly so many words.
    fn load(words: &[AtomicU64]) -> Self;
    /// Writes one into exactly so many words.
    fn store(self, words: &[AtomicU64]);
}

impl Entry for u64 {
    const WORDS: usize = 1;

    #[inline]
    fn load(words: &[AtomicU64]) -> Self {
        words[0].load(Ordering::Relaxed)
    }

    #[inline]
    fn store(self, words: &[AtomicU64]) {
        words[0].store(self, Ordering::Relaxed);
    }
}

impl Entry for Descriptor {
    const WORDS: usize = 2;

    #[inline]
    fn load(words: &[AtomicU64]) -> Self {
        let second = words[1].load(Ordering::Relaxed).to_ne_bytes();
        let (length, options) = second.split_at(4);
        let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("they are four"));
        Self {
            address: words[0].load(Ordering::Relaxed),
            length: number(length),
            options: number(options),
        }
    }

    #[inline]
    fn store(self, words: &[AtomicU64]) {
        let mut second = [0; 8];
        second[..4].copy_from_slice(&self.length.to_ne_bytes());
        second[4..].copy_from_slice(&self.options.to_ne_bytes());
        words[0].store(self.address, Ordering::Relaxed);
        words[1].store(u64::from_ne_bytes(second), Ordering::Relaxed);
    }
}

/// A ring that the application writes.
#[derive(Debug)]
pub(super) struct ProducerRing<M, E> {
    memory: M,
    cursor: Producer,
    entry: PhantomData<E>,
}

/// A ring that the application reads.
#[derive(Debug)]
pub(super) struct ConsumerRing<M, E> {
    memory: M,
    cursor: Consumer,
    entry: PhantomData<E>,
}

impl<M: RingMemory, E: Entry> ProducerRing<M, E> {
    /// The writing end of a ring in this memory.
    pub(super) fn new(memory: M) -> Self {
        let size = size::<M, E>(&memory);
        let cursor = Producer::new(size, memory.producer(), memory.consumer());
        Self {
            memory,
            cursor,
            entry: PhantomData,
        }
    }

    /// How many entries can be written; exact if they are fewer than `wanted`.
    #[inline]
    pub(super) fn free(&mut self, wanted: u32) -> u32 {
        self.cursor.free(self.memory.consumer(), wanted)
    }

    /// How many entries the kernel has yet to read.
    pub(super) fn unread(&mut self) -> u32 {
        self.cursor.unread(self.memory.consumer())
    }

    /// Writes one entry, of those that [`free`](Self::free) said. The kernel sees it after
    /// [`publish`](Self::publish).
    #[inline]
    pub(super) fn push(&mut self, entry: E) {
        entry.store(words::<M, E>(&self.memory, self.cursor.place()));
        self.cursor.advance(1);
    }

    /// Writes as many entries as both the ring has room for and `entries` has, in at most two
    /// slices, and publishes them; returns how many.
    pub(super) fn fill(&mut self, entries: impl ExactSizeIterator<Item = E>) -> u32 {
        let wanted = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let count = self.free(wanted).min(wanted);
        let (first, second) = slices::<M, E>(&self.memory, self.cursor.place(), count);
        let words = first
            .chunks_exact(E::WORDS)
            .chain(second.chunks_exact(E::WORDS));
        // The words first: `zip` takes from its left side before it knows that the right one ends.
        words
            .zip(entries)
            .for_each(|(words, entry)| entry.store(words));
        self.cursor.advance(count);
        self.publish();
        count
    }

    /// Lets the kernel see all entries.
    #[inline]
    pub(super) fn publish(&self) {
        self.cursor.publish(self.memory.producer());
    }

    /// Whether the kernel has to be woken up to see new entries. A kernel without the flag never
    /// sleeps over FILL and always over TX; `unknown` says which this is.
    pub(super) fn needs_wakeup(&self, unknown: bool) -> bool {
        let flags = self.memory.flags();
        flags.map_or(unknown, |flags| {
            flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
        })
    }

    /// How often the kernel's index was impossible.
    pub(super) fn faults(&self) -> u64 {
        self.cursor.faults()
    }
}

impl<M: RingMemory, E: Entry> ConsumerRing<M, E> {
    /// The reading end of a ring in this memory.
    pub(super) fn new(memory: M) -> Self {
        let size = size::<M, E>(&memory);
        let cursor = Consumer::new(size, memory.producer(), memory.consumer());
        Self {
            memory,
            cursor,
            entry: PhantomData,
        }
    }

    /// How many entries can be read; exact if they are fewer than `wanted`.
    #[inline]
    pub(super) fn available(&mut self, wanted: u32) -> u32 {
        self.cursor.available(self.memory.producer(), wanted)
    }

    /// The entry that is so many after the next one, of those that [`available`](Self::available)
    /// said. Its place stays the application's until [`release`](Self::release).
    #[inline]
    pub(super) fn peek(&self, ahead: u32) -> E {
        E::load(words::<M, E>(&self.memory, self.cursor.place(ahead)))
    }

    /// Gives the next so many entries' places back.
    #[inline]
    pub(super) fn release(&mut self, count: u32) {
        self.cursor.advance(count);
        self.publish();
    }

    /// Reads all entries that are there, in at most two slices, and gives their places back.
    pub(super) fn drain(&mut self, mut each: impl FnMut(E)) {
        let count = self.available(u32::MAX);
        let (first, second) = slices::<M, E>(&self.memory, self.cursor.place(0), count);
        for slice in [first, second] {
            slice
                .chunks_exact(E::WORDS)
                .for_each(|words| each(E::load(words)));
        }
        self.release(count);
    }

    fn publish(&self) {
        self.cursor.publish(self.memory.consumer());
    }

    /// How often the kernel's index was impossible.
    pub(super) fn faults(&self) -> u64 {
        self.cursor.faults()
    }
}

fn size<M: RingMemory, E: Entry>(memory: &M) -> u32 {
    u32::try_from(memory.words().len() / E::WORDS).expect("a ring's size is an u32")
}

#[inline]
fn words<M: RingMemory, E: Entry>(memory: &M, place: u32) -> &[AtomicU64] {
    let start = place as usize * E::WORDS;
    &memory.words()[start..start + E::WORDS]
}

/// So many entries' words from this place on: up to the ring's end, and from its start.
fn slices<M: RingMemory, E: Entry>(
    memory: &M,
    place: u32,
    count: u32,
) -> (&[AtomicU64], &[AtomicU64]) {
    let words = memory.words();
    let (start, length) = (place as usize * E::WORDS, count as usize * E::WORDS);
    let first = length.min(words.len() - start);
    (&words[start..start + first], &words[..length - first])
}
