//! What the fuzz target does, on random bytes.

use proptest::prelude::*;

use crate::xsk::fuzzing;

/// How many inputs of at most how many bytes. Miri is a thousand times slower.
const CASES: u32 = if cfg!(miri) { 8 } else { 512 };
const LENGTH: usize = if cfg!(miri) { 256 } else { 4096 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn whatever_is_written_no_frame_has_two_owners(bytes in proptest::collection::vec(any::<u8>(), 0..LENGTH)) {
        fuzzing::rings(&bytes);
    }
}
