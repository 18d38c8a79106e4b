//! The four rings: FILL and TX, which the application writes, and COMPLETION and RX, which it reads.

use std::marker::PhantomData;
use std::{hint, mem, slice};

use super::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// Words of a cache line, at least.
const LINE: usize = 8;

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

/// `XDP_PKT_CONTD`: the packet goes on in the next descriptor.
pub(super) const CONTINUED: u32 = 1;

impl Descriptor {
    /// Whether the packet goes on in the next descriptor.
    #[inline]
    pub(super) fn continues(self) -> bool {
        self.options & CONTINUED != 0
    }

    /// The length, and above it the options: no more than a length if there are none.
    #[inline]
    pub(super) fn length_and_options(self) -> u64 {
        u64::from(self.options) << u32::BITS | u64::from(self.length)
    }
}

/// What a ring holds, as words of 64 bits.
pub(super) trait Entry: Copy {
    /// The words of one entry.
    type Words: std::fmt::Debug;
    /// How many they are.
    const WORDS: usize;
    /// A ring's words, entry by entry.
    fn entries(words: &[AtomicU64]) -> &[Self::Words];
    /// Reads one.
    fn load(words: &Self::Words) -> Self;
    /// Writes one.
    fn store(self, words: &Self::Words);
}

impl Entry for u64 {
    type Words = AtomicU64;
    const WORDS: usize = 1;

    #[inline]
    fn entries(words: &[AtomicU64]) -> &[AtomicU64] {
        words
    }

    #[inline]
    fn load(words: &AtomicU64) -> Self {
        words.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(self, words: &AtomicU64) {
        // A ring with as many places as there are frames, or twice as many, gets each frame where it was
        // before, while they come back in order. What isn't written the kernel need not fetch again.
        if words.load(Ordering::Relaxed) != self {
            words.store(self, Ordering::Relaxed);
        }
    }
}

impl Entry for Descriptor {
    type Words = [AtomicU64; 2];
    const WORDS: usize = 2;

    #[inline]
    fn entries(words: &[AtomicU64]) -> &[Self::Words] {
        words.as_chunks().0
    }

    #[inline]
    fn load([address, rest]: &Self::Words) -> Self {
        let rest = rest.load(Ordering::Relaxed).to_ne_bytes();
        let number = |first: usize| {
            let bytes = rest[first..].first_chunk();
            u32::from_ne_bytes(*bytes.expect("a word has eight"))
        };
        Self {
            address: address.load(Ordering::Relaxed),
            length: number(0),
            options: number(4),
        }
    }

    #[inline]
    fn store(self, [address, rest]: &Self::Words) {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.length.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.options.to_ne_bytes());
        address.store(self.address, Ordering::Relaxed);
        rest.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
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

    /// How many entries were written since the index was this.
    pub(super) fn written_since(&self, index: u32) -> u32 {
        self.cursor.index().wrapping_sub(index)
    }

    /// How many entries it has.
    pub(super) fn size(&self) -> u32 {
        size::<M, E>(&self.memory)
    }

    /// Writes one entry, of those that [`free`](Self::free) said. The kernel sees it after
    /// [`publish`](Self::publish).
    #[inline]
    pub(super) fn push(&mut self, entry: E) {
        let place = self.cursor.place() as usize;
        entry.store(&E::entries(self.memory.words())[place]);
        self.cursor.advance(1);
    }

    /// The next places, up to `wanted` of them, for entries to be written one after the other.
    #[inline]
    pub(super) fn reserve(&mut self, wanted: u32) -> Writing<'_, E> {
        let count = self.free(wanted).min(wanted);
        Writing {
            places: Places::new(&self.memory, self.cursor.place(), count),
            cursor: &mut self.cursor,
            shared: self.memory.producer(),
        }
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

    /// The entries that are there, up to `wanted` of them.
    #[inline]
    pub(super) fn peek(&mut self, wanted: u32) -> Reading<'_, E> {
        let count = self.available(wanted).min(wanted);
        Reading {
            places: Places::new(&self.memory, self.cursor.place(), count),
            cursor: &mut self.cursor,
            shared: self.memory.consumer(),
        }
    }

    /// Reads the next entry; [`None`] if none is known to be there. Its place is the kernel's after
    /// [`release`](Self::release).
    #[inline]
    pub(super) fn next(&mut self) -> Option<E> {
        if self.cursor.available(self.memory.producer(), 0) == 0 {
            return None;
        }
        let place = self.cursor.place() as usize;
        self.cursor.advance(1);
        Some(E::load(&E::entries(self.memory.words())[place]))
    }

    /// Gives the places of all entries back that were read.
    #[inline]
    pub(super) fn release(&mut self) {
        self.cursor.publish(self.memory.consumer());
    }

    /// Reads all entries that are there, and gives their places back.
    pub(super) fn drain(&mut self, each: impl FnMut(E)) {
        self.peek(u32::MAX).for_each(each);
    }

    /// How often the kernel's index was impossible.
    pub(super) fn faults(&self) -> u64 {
        self.cursor.faults()
    }
}

/// Places of a ring, one after the other: up to the ring's end, and on from its start.
#[derive(Debug)]
struct Places<'r, E: Entry> {
    now: slice::Iter<'r, E::Words>,
    then: slice::Iter<'r, E::Words>,
}

/// Entries while they are written. Those that were are the kernel's when this is dropped.
#[derive(Debug)]
pub(super) struct Writing<'r, E: Entry> {
    places: Places<'r, E>,
    cursor: &'r mut Producer,
    shared: &'r AtomicU32,
}

/// Entries while they are read, each at most once. The places of those that were are the kernel's when
/// this is dropped.
#[derive(Debug)]
pub(super) struct Reading<'r, E: Entry> {
    places: Places<'r, E>,
    cursor: &'r mut Consumer,
    shared: &'r AtomicU32,
}

impl<'r, E: Entry> Places<'r, E> {
    /// So many places from this one on.
    #[inline]
    fn new<M: RingMemory>(ring: &'r M, first: u32, count: u32) -> Self {
        let ring = E::entries(ring.words());
        let (first, count) = (first as usize, count as usize);
        let now = count.min(ring.len() - first);
        Self {
            now: ring[first..first + now].iter(),
            then: ring[..count - now].iter(),
        }
    }

    #[inline]
    fn left(&self) -> u32 {
        u32::try_from(self.now.len() + self.then.len()).expect("a ring's size is an u32")
    }

    /// The next ones that are next to each other in memory.
    #[inline]
    fn adjacent(&self) -> &'r [E::Words] {
        self.now.as_slice()
    }

    /// Steps over so many of the adjacent ones; returns how many.
    #[inline]
    fn skip_adjacent(&mut self, count: usize) -> u32 {
        self.now = self.now.as_slice()[count..].iter();
        u32::try_from(count).expect("a ring's size is an u32")
    }
}

impl<'r, E: Entry> Places<'r, E> {
    #[inline]
    fn next(&mut self) -> Option<&'r E::Words> {
        if self.now.len() == 0 {
            self.now = mem::take(&mut self.then);
        }
        self.now.next()
    }
}

impl<'r, E: Entry> Reading<'r, E> {
    /// The next entries that are next to each other in memory.
    #[inline]
    pub(super) fn adjacent(&self) -> &'r [E::Words] {
        self.places.adjacent()
    }

    /// Has the processor fetch all the lines that the entries are in at once, rather than each when it is
    /// needed. The last one first: it guesses from the order what comes next, and to what is behind the last
    /// entry the kernel is writing.
    #[inline]
    pub(super) fn fetch(&self) {
        for places in [&self.places.then, &self.places.now] {
            for words in places.as_slice().iter().rev().step_by(LINE / E::WORDS) {
                // Nobody uses the value: the load is to remain.
                hint::black_box(E::load(words));
            }
        }
    }

    /// Steps over so many of the adjacent entries, which were read.
    #[inline]
    pub(super) fn skip_adjacent(&mut self, count: usize) {
        self.cursor.advance(self.places.skip_adjacent(count));
    }
}

impl<E: Entry> Iterator for Reading<'_, E> {
    type Item = E;

    #[inline]
    fn next(&mut self) -> Option<E> {
        let words = self.places.next()?;
        self.cursor.advance(1);
        Some(E::load(words))
    }
}

impl<E: Entry> Drop for Reading<'_, E> {
    #[inline]
    fn drop(&mut self) {
        self.cursor.publish(self.shared);
    }
}

impl<'r, E: Entry> Writing<'r, E> {
    /// How many places are left.
    #[inline]
    pub(super) fn left(&self) -> u32 {
        self.places.left()
    }

    /// The next places that are next to each other in memory.
    #[inline]
    pub(super) fn adjacent(&self) -> &'r [E::Words] {
        self.places.adjacent()
    }

    /// The index of the next place.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        self.cursor.index()
    }

    /// Steps over so many of the adjacent places, which were written.
    #[inline]
    pub(super) fn skip_adjacent(&mut self, count: usize) {
        self.cursor.advance(self.places.skip_adjacent(count));
    }

    /// Writes what `entry` makes into the next place, if one is left; otherwise it isn't asked.
    #[inline]
    pub(super) fn write(&mut self, entry: impl FnOnce() -> E) -> bool {
        let Some(words) = self.places.next() else {
            return false;
        };
        entry().store(words);
        self.cursor.advance(1);
        true
    }
}

impl<E: Entry> Drop for Writing<'_, E> {
    #[inline]
    fn drop(&mut self) {
        self.cursor.publish(self.shared);
    }
}

fn size<M: RingMemory, E: Entry>(memory: &M) -> u32 {
    u32::try_from(memory.words().len() / E::WORDS).expect("a ring's size is an u32")
}
