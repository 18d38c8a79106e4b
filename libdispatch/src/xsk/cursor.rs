//! Where one side of a single-producer, single-consumer ring is: index arithmetic and nothing else.
//!
//! Both indices count entries since the ring was made, as `u32` that wrap. Each side owns one of
//! them: it keeps it here, only ever writes the shared copy, and never believes what the other side
//! may have made of it. The other side's index is read with acquire order, because the entries
//! follow it, and the own one is published with release order, because it follows the entries.
//!
//! The memory is shared, so the other side may write anything. An index that can't be (more entries
//! than the ring has) counts as a fault and changes nothing: what was known before still holds.
//! So no batch is ever larger than the ring, and a ring whose indices are put right goes on.

use super::atomic::{AtomicU32, Ordering};

/// The side that writes entries.
#[derive(Debug)]
pub(super) struct Producer {
    side: Side,
}

/// The side that reads entries.
#[derive(Debug)]
pub(super) struct Consumer {
    side: Side,
}

#[derive(Debug)]
struct Side {
    /// Entries in the ring, a power of two.
    size: u32,
    /// The own index: the next entry to be written or read.
    own: u32,
    /// The last possible value that was seen of the other side's index.
    other: u32,
    /// How often the other side's index was impossible.
    faults: u64,
}

impl Producer {
    /// Continues where the shared indices are.
    ///
    /// # Panics
    ///
    /// If `size` is not a power of two.
    pub(super) fn new(size: u32, producer: &AtomicU32, consumer: &AtomicU32) -> Self {
        let own = producer.load(Ordering::Relaxed);
        let other = consumer.load(Ordering::Acquire);
        let mut side = Side::new(size, own, other);
        if own.wrapping_sub(other) > size {
            side.faults += 1;
            // As if the ring were full: the first look at the shared index decides.
            side.other = own.wrapping_sub(size);
        }
        Self { side }
    }

    /// How many entries can be written now. The shared index is only looked at if fewer than
    /// `wanted` are known to be free.
    #[inline]
    pub(super) fn free(&mut self, consumer: &AtomicU32, wanted: u32) -> u32 {
        let side = &mut self.side;
        let free = side.size - side.own.wrapping_sub(side.other);
        if free >= wanted {
            return free;
        }
        let other = consumer.load(Ordering::Acquire);
        let used = side.own.wrapping_sub(other);
        if used > side.size {
            side.faults += 1;
            return free;
        }
        side.other = other;
        side.size - used
    }

    /// How many published entries the other side has yet to read.
    pub(super) fn unread(&mut self, consumer: &AtomicU32) -> u32 {
        let size = self.side.size;
        size - self.free(consumer, size)
    }

    /// Steps over `count` entries that were written. They are the other side's after `publish`.
    ///
    /// # Panics
    ///
    /// If fewer are free.
    #[inline]
    pub(super) fn advance(&mut self, count: u32) {
        let side = &mut self.side;
        let used = side.own.wrapping_sub(side.other);
        assert!(count <= side.size - used, "written entries were free");
        side.own = side.own.wrapping_add(count);
    }

    /// The own index.
    #[inline]
    pub(super) fn index(&self) -> u32 {
        self.side.own
    }

    /// Lets the other side see everything that was stepped over.
    #[inline]
    pub(super) fn publish(&self, producer: &AtomicU32) {
        producer.store(self.side.own, Ordering::Release);
    }

    /// The next entry's place.
    #[inline]
    pub(super) fn place(&self) -> u32 {
        self.side.own & (self.side.size - 1)
    }

    /// How often the other side's index was impossible.
    pub(super) fn faults(&self) -> u64 {
        self.side.faults
    }
}

impl Consumer {
    /// Continues where the shared indices are.
    ///
    /// # Panics
    ///
    /// If `size` is not a power of two.
    pub(super) fn new(size: u32, producer: &AtomicU32, consumer: &AtomicU32) -> Self {
        let own = consumer.load(Ordering::Relaxed);
        let other = producer.load(Ordering::Acquire);
        let mut side = Side::new(size, own, other);
        if other.wrapping_sub(own) > size {
            side.faults += 1;
            // As if the ring were empty.
            side.other = own;
        }
        Self { side }
    }

    /// How many entries can be read now. The shared index is only looked at if fewer than `wanted`
    /// are known to be there.
    #[inline]
    pub(super) fn available(&mut self, producer: &AtomicU32, wanted: u32) -> u32 {
        let side = &mut self.side;
        let available = side.other.wrapping_sub(side.own);
        if available >= wanted {
            return available;
        }
        let other = producer.load(Ordering::Acquire);
        let unread = other.wrapping_sub(side.own);
        if unread > side.size {
            side.faults += 1;
            return available;
        }
        side.other = other;
        unread
    }

    /// Steps over `count` entries that were read. The other side may write them after `publish`.
    ///
    /// # Panics
    ///
    /// If fewer are there.
    #[inline]
    pub(super) fn advance(&mut self, count: u32) {
        let side = &mut self.side;
        let available = side.other.wrapping_sub(side.own);
        assert!(count <= available, "read entries were there");
        side.own = side.own.wrapping_add(count);
    }

    /// Lets the other side use everything that was stepped over.
    #[inline]
    pub(super) fn publish(&self, consumer: &AtomicU32) {
        consumer.store(self.side.own, Ordering::Release);
    }

    /// The next entry's place.
    #[inline]
    pub(super) fn place(&self) -> u32 {
        self.side.own & (self.side.size - 1)
    }

    /// How often the other side's index was impossible.
    pub(super) fn faults(&self) -> u64 {
        self.side.faults
    }
}

impl Side {
    fn new(size: u32, own: u32, other: u32) -> Self {
        assert!(size.is_power_of_two(), "a ring's size is a power of two");
        Self {
            size,
            own,
            other,
            faults: 0,
        }
    }
}
