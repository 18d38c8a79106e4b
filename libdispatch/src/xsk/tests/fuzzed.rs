//! What the fuzz target does, on random bytes.

use proptest::prelude::*;

use crate::xsk::fuzzing;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_written_no_frame_has_two_owners(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        fuzzing::rings(&bytes);
    }
}
