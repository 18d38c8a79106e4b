//! What hostile bytes may allocate. In a process of its own, with one test: the count is global.

use std::alloc::System;

use protocol::{BODY_BYTES_MAX, PACKET_BYTES_MAX, Reply, Request};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// serde reserves this much for a list before it has seen the list's elements.
const LIST_BYTES_MAX: usize = 1 << 20;

#[test]
fn a_length_that_the_bytes_do_not_bear_out_costs_next_to_nothing() {
    for length in [
        1,
        PACKET_BYTES_MAX as u64,
        BODY_BYTES_MAX as u64 - 100,
        u64::from(u32::MAX),
        u64::MAX / 152,
        u64::MAX,
    ] {
        // Wherever a message has a length, this one is said.
        for place in 0..200 {
            for variant in 0..15 {
                let mut bytes = vec![0_u8; 256];
                bytes[8] = variant; // behind the id
                bytes[place..place + 8].copy_from_slice(&length.to_le_bytes());
                let case = format!("{length} at {place}, variant {variant}");
                assert!(
                    cost::<Request>(&bytes) < 3 * LIST_BYTES_MAX,
                    "request, {case}"
                );
                bytes[12] = variant; // behind the id and `Ok`
                bytes[8] = 0;
                assert!(cost::<Reply>(&bytes) < 3 * LIST_BYTES_MAX, "reply, {case}");
            }
        }
    }

    // A body of the largest size that is one change with as many empty operations as fit.
    let mut bytes = vec![0_u8; BODY_BYTES_MAX];
    bytes[8] = 2; // `Change`, with an empty interface and no options
    let operations = 12 + 8 + 1 + 1 + 1;
    let count = (BODY_BYTES_MAX - operations - 8) / 4; // the options would follow
    bytes[operations..operations + 8].copy_from_slice(&(count as u64).to_le_bytes());
    for operation in bytes[operations + 8..].chunks_exact_mut(4) {
        operation[0] = 2; // `UnregisterAll`
    }
    assert!(cost::<Request>(&bytes) < LIST_BYTES_MAX);
}

/// All bytes allocated for decoding, freed or not.
fn cost<T: protocol::Message>(bytes: &[u8]) -> usize {
    let region = Region::new(ALLOCATOR);
    let _ = protocol::decode::<T>(bytes);
    region.change().bytes_allocated
}
