//! The rings and the ledger under every order of two threads' accesses that the memory model allows.
//!
//! The library's own files are compiled again here, over loom's types: indices and places are loom's
//! atomics, and entries are plain memory, any two accesses to which have to be ordered by something
//! else. Loom runs each test once for every order that makes a difference.

/// What `libdispatch::xsk::atomic` is for the files below.
mod atomic;
#[path = "../../src/xsk/cursor.rs"]
mod cursor;
#[expect(dead_code, reason = "it is a library's")]
#[path = "../../src/xsk/ledger.rs"]
mod ledger;
mod memory;
#[expect(dead_code, reason = "it is a library's")]
#[path = "../../src/xsk/ring.rs"]
mod ring;

use loom::sync::Arc;
use loom::thread;

use self::atomic::{AtomicU64, Ordering};
use self::ledger::{Ledger, Place, Places, RingNumber};
use self::memory::Ring;
use self::ring::{ConsumerRing, Descriptor, Entry, ProducerRing};

/// The second entry's index is 0.
const START: u32 = u32::MAX;

fn descriptor(number: u32) -> Descriptor {
    Descriptor {
        address: u64::from(number) << 32,
        length: number,
        options: !number,
    }
}

/// One thread writes so many entries at a time, the other reads: nothing but what was written, in
/// order, and all of it at last.
fn model<E: Entry + PartialEq + std::fmt::Debug + Send + 'static>(
    size: u32,
    writes: &'static [u32],
    reads: usize,
    entry: fn(u32) -> E,
) {
    loom::model(move || {
        let memory = Arc::new(Ring::new(size as usize * E::WORDS, START));
        let mut producer = ProducerRing::<_, E>::new(memory.clone());
        let mut consumer = ConsumerRing::<_, E>::new(memory);
        let writer = thread::spawn(move || {
            let mut written = 0;
            for count in writes {
                let mut writing = producer.reserve(*count);
                while writing.write(|| entry(written)) {
                    written += 1;
                }
            }
            assert_eq!(producer.faults(), 0);
            written
        });
        let mut read = 0;
        let mut next = |found| {
            assert_eq!(found, entry(read));
            read += 1;
        };
        for _ in 0..reads {
            consumer.drain(&mut next);
        }
        let written = writer.join().expect("it doesn't panic");
        consumer.drain(&mut next);
        assert_eq!(read, written);
        assert_eq!(consumer.faults(), 0);
    });
}

#[test]
fn two_entries_one_at_a_time() {
    model(2, &[1, 1, 1], 3, u64::from);
}

/// The third finds itself at its place.
#[test]
fn an_entry_that_is_there_already() {
    model(2, &[1, 1, 1], 3, |number| u64::from(number % 2));
}

#[test]
fn two_entries_in_batches() {
    model(2, &[2, 2, 1], 2, descriptor);
}

#[test]
fn four_entries_in_batches() {
    model(4, &[3, 3, 2], 3, descriptor);
}

#[test]
fn entries_one_by_one() {
    loom::model(|| {
        let memory = Arc::new(Ring::new(2 * Descriptor::WORDS, START));
        let mut producer = ProducerRing::new(memory.clone());
        let mut consumer = ConsumerRing::<_, Descriptor>::new(memory);
        let writer = thread::spawn(move || {
            let mut written = 0;
            for _ in 0..3 {
                if producer.free(1) > 0 {
                    producer.push(descriptor(written));
                    producer.publish();
                    written += 1;
                }
            }
            written
        });
        let mut read = 0;
        for _ in 0..2 {
            let available = consumer.available(2);
            for number in read..read + available {
                assert_eq!(consumer.next(), Some(descriptor(number)));
            }
            consumer.release();
            read += available;
        }
        assert!(read <= writer.join().expect("it doesn't panic"));
    });
}

/// Two sockets on one FILL ring are told of a frame at any time, also before its holder lent it.
#[test]
fn a_frame_that_two_take_is_taken_by_one() {
    loom::model(|| {
        let ring = RingNumber::new(0).expect("it is small");
        let shared = Arc::new((Ledger::places(1), AtomicU64::new(0)));
        let take = |shared: Arc<(Box<Places>, AtomicU64)>| {
            move || {
                let (places, bytes) = &*shared;
                let (ledger, fill) = (Ledger::new(places), Place::Fill(ring));
                let found = ledger.find(0, fill);
                let taken = found.is_some_and(|frame| ledger.keep_first(frame, fill));
                if taken {
                    assert_eq!(bytes.load(Ordering::Relaxed), 1);
                    bytes.store(2, Ordering::Relaxed);
                }
                u32::from(taken)
            }
        };
        let others = [
            thread::spawn(take(shared.clone())),
            thread::spawn(take(shared.clone())),
        ];
        let (places, bytes) = &*shared;
        bytes.store(1, Ordering::Relaxed);
        Ledger::new(places).lend(0, Place::Fill(ring));
        let taken = others.map(|other| other.join().expect("it doesn't panic"));
        let left = take(shared.clone())();
        assert_eq!(taken.iter().sum::<u32>() + left, 1);
    });
}
