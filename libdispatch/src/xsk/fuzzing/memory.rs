//! A ring's memory, to which somebody else writes whenever the application looks.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arbitrary::{Arbitrary, Unstructured};

use super::Plain;
use crate::xsk::Layout;
use crate::xsk::memory::RingMemory;

/// The bytes that say what happens. Where they end, nothing more does.
pub(super) struct Script<'b>(RefCell<Unstructured<'b>>);

/// A ring that somebody writes to before any look of the application's, if the script says so.
pub(super) struct Hostile<'s, 'b> {
    script: &'s Script<'b>,
    layout: Layout,
    ring: Arc<Plain>,
}

/// What is written.
#[derive(Arbitrary, Debug)]
enum Garbage {
    /// Any value, or one that is near to making sense, in an index.
    Producer(u32),
    ProducerBy(i8),
    Consumer(u32),
    ConsumerBy(i8),
    Flags(u32),
    /// Any value in a word, or one that was there before.
    Word(u8, u64),
    Copy(u8, u8),
    /// The address of some byte of a frame, or of one that is not there, in a word.
    Address(u8, u8, u16),
    /// A length and flags.
    Length(u8, u16, u8),
}

impl<'b> Script<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(RefCell::new(Unstructured::new(bytes)))
    }

    /// The next value, if any bytes are left.
    pub(super) fn next<T: Arbitrary<'b>>(&self) -> Option<T> {
        let mut bytes = self.0.borrow_mut();
        if bytes.is_empty() {
            return None;
        }
        bytes.arbitrary().ok()
    }
}

impl<'s, 'b> Hostile<'s, 'b> {
    /// A ring of so many entries of so many words, over a UMEM of this layout, whose indices start
    /// here.
    pub(super) fn new(
        script: &'s Script<'b>,
        layout: Layout,
        entries: u32,
        words: usize,
        start: u32,
    ) -> Self {
        Self {
            script,
            layout,
            ring: Plain::new(entries, words, start),
        }
    }

    /// The ring as the kernel sees it.
    pub(super) fn ring(&self) -> &Plain {
        &self.ring
    }

    /// The application is about to look.
    fn look(&self) {
        // Seldom enough that both sides get somewhere.
        let often = |byte: u8| byte < 24;
        if self.script.next().is_some_and(often)
            && let Some(garbage) = self.script.next()
        {
            self.write(&garbage);
        }
    }

    fn write(&self, garbage: &Garbage) {
        let word = |place: u8| &self.ring.words[usize::from(place) % self.ring.words.len()];
        match *garbage {
            Garbage::Producer(value) => self.ring.producer.store(value, Ordering::Relaxed),
            Garbage::ProducerBy(by) => add(&self.ring.producer, by),
            Garbage::Consumer(value) => self.ring.consumer.store(value, Ordering::Relaxed),
            Garbage::ConsumerBy(by) => add(&self.ring.consumer, by),
            Garbage::Flags(value) => self.ring.flags.store(value, Ordering::Relaxed),
            Garbage::Word(place, value) => word(place).store(value, Ordering::Relaxed),
            Garbage::Copy(from, to) => {
                let value = word(from).load(Ordering::Relaxed);
                word(to).store(value, Ordering::Relaxed);
            }
            Garbage::Address(place, frame, start) => {
                let frame = u32::from(frame) % (self.layout.frames() + 2);
                let start = u32::from(start) % (self.layout.frame_size() + 1);
                let address = self.layout.address(frame, start);
                word(place).store(address, Ordering::Relaxed);
            }
            Garbage::Length(place, length, options) => {
                let length = u32::from(length) % (self.layout.frame_size() + 2);
                let value = u64::from(length) | u64::from(options) << 32;
                word(place).store(value, Ordering::Relaxed);
            }
        }
    }
}

fn add(index: &AtomicU32, by: i8) {
    index.fetch_add(i32::from(by).cast_unsigned(), Ordering::Relaxed);
}

impl RingMemory for &Hostile<'_, '_> {
    fn producer(&self) -> &AtomicU32 {
        self.look();
        &self.ring.producer
    }

    fn consumer(&self) -> &AtomicU32 {
        self.look();
        &self.ring.consumer
    }

    fn flags(&self) -> Option<&AtomicU32> {
        self.look();
        Some(&self.ring.flags)
    }

    fn words(&self) -> &[AtomicU64] {
        self.look();
        &self.ring.words
    }
}
