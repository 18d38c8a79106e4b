//! Index arithmetic against counters that don't wrap.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::model::Plain;
use crate::xsk::cursor::{Consumer, Producer};
use crate::xsk::ring::{ConsumerRing, Descriptor, ProducerRing};

/// Indices near the wrap, and anywhere.
pub(super) fn start() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), u32::MAX - 40..=u32::MAX, any::<u32>()]
}

proptest! {
    #[test]
    fn a_producer_and_a_consumer_never_disagree(
        start in start(),
        size in (0_u32..8).prop_map(|log| 1 << log),
        steps in proptest::collection::vec((any::<bool>(), 0_u32..200), 0..200),
    ) {
        let (producer_index, consumer_index) = (AtomicU32::new(start), AtomicU32::new(start));
        let mut producer = Producer::new(size, &producer_index, &consumer_index);
        let mut consumer = Consumer::new(size, &producer_index, &consumer_index);
        let (mut written, mut read) = (0_u64, 0_u64);
        for (writes, wanted) in steps {
            let filled = u32::try_from(written - read).expect("at most the size");
            if writes {
                let free = producer.free(&consumer_index, wanted);
                prop_assert!(free <= size - filled);
                prop_assert!(free >= wanted.min(size - filled));
                prop_assert_eq!(u64::from(producer.place()), (u64::from(start) + written) % u64::from(size));
                let count = wanted.min(free);
                producer.advance(count);
                producer.publish(&producer_index);
                written += u64::from(count);
            } else {
                let available = consumer.available(&producer_index, wanted);
                prop_assert!(available <= filled);
                prop_assert!(available >= wanted.min(filled));
                prop_assert_eq!(u64::from(consumer.place()), (u64::from(start) + read) % u64::from(size));
                let count = wanted.min(available);
                consumer.advance(count);
                consumer.publish(&consumer_index);
                read += u64::from(count);
            }
            prop_assert_eq!(u64::from(producer.unread(&consumer_index)), written - read);
        }
        prop_assert_eq!((producer.faults(), consumer.faults()), (0, 0));
    }

    #[test]
    fn an_impossible_index_changes_nothing_and_is_counted(
        start in start(),
        size in (0_u32..8).prop_map(|log| 1 << log),
        used in 0_u32..128,
        lie in any::<u32>(),
    ) {
        let used = used % (size + 1);
        let end = start.wrapping_add(used);
        let (producer_index, consumer_index) = (AtomicU32::new(end), AtomicU32::new(start));
        let mut producer = Producer::new(size, &producer_index, &consumer_index);
        let mut consumer = Consumer::new(size, &producer_index, &consumer_index);

        consumer_index.store(lie, Ordering::Relaxed);
        let possible = end.wrapping_sub(lie) <= size;
        let free = producer.free(&consumer_index, u32::MAX);
        prop_assert!(free <= size);
        prop_assert_eq!(producer.faults(), u64::from(!possible));
        if !possible {
            prop_assert_eq!(free, size - used);
        }

        producer_index.store(lie, Ordering::Relaxed);
        let possible = lie.wrapping_sub(start) <= size;
        let available = consumer.available(&producer_index, u32::MAX);
        prop_assert!(available <= size);
        prop_assert_eq!(consumer.faults(), u64::from(!possible));
        if !possible {
            prop_assert_eq!(available, used);
        }

        // Put right, it goes on.
        producer_index.store(end, Ordering::Relaxed);
        consumer_index.store(start, Ordering::Relaxed);
        prop_assert_eq!(consumer.available(&producer_index, u32::MAX), used);
        prop_assert_eq!(producer.free(&consumer_index, u32::MAX), size - used);
    }

    #[test]
    fn a_ring_over_impossible_indices_begins_full_or_empty(
        size in (0_u32..8).prop_map(|log| 1 << log),
        producer in any::<u32>(),
        consumer in any::<u32>(),
    ) {
        let ring = Plain::new(size, 2, producer);
        ring.consumer.store(consumer, Ordering::Relaxed);
        let mut reads = ConsumerRing::<_, Descriptor>::new(ring.clone());
        let mut writes = ProducerRing::<_, Descriptor>::new(ring.clone());
        prop_assert!(reads.available(u32::MAX) <= size);
        prop_assert!(writes.free(u32::MAX) <= size);
        prop_assert!(reads.available(u32::MAX) + writes.free(u32::MAX) <= size);
    }

    #[test]
    fn entries_come_out_as_they_went_in(
        start in start(),
        size in (0_u32..7).prop_map(|log| 1 << log),
        batches in proptest::collection::vec((any::<bool>(), any::<bool>(), 0_u32..100), 0..100),
    ) {
        let ring = Plain::new(size, 2, start);
        let mut writes = ProducerRing::new(ring.clone());
        let mut reads = ConsumerRing::<_, Descriptor>::new(ring);
        let entry = |number: u32| Descriptor {
            address: u64::from(number) << 40,
            length: number,
            options: !number,
        };
        let (mut written, mut read) = (0, 0);
        for (write, whole, count) in batches {
            match (write, whole) {
                (true, true) => {
                    let mut writing = writes.reserve(count);
                    while writing.write(|| entry(written)) {
                        written += 1;
                    }
                }
                (true, false) => {
                    for _ in 0..count.min(writes.free(count)) {
                        writes.push(entry(written));
                        written += 1;
                    }
                    writes.publish();
                }
                (false, whole) => {
                    let known = reads.available(count);
                    let reading = reads.peek(count);
                    let there = count.min(known);
                    // The others stay where they are.
                    let taken = if whole { there } else { there / 2 };
                    for found in reading.take(taken as usize) {
                        prop_assert_eq!(found, entry(read));
                        read += 1;
                    }
                    if taken < there {
                        prop_assert_eq!(reads.next(), Some(entry(read)));
                        reads.release();
                        read += 1;
                    }
                }
            }
            prop_assert!(written - read <= size);
        }
        for found in reads.peek(u32::MAX) {
            prop_assert_eq!(found, entry(read));
            read += 1;
        }
        prop_assert_eq!(read, written);
    }
}
