//! The Internet checksum: in full, and by what changed (RFC 1624).

/// A one's complement sum of 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// With these bytes. Of several pieces, only the last may have an odd number of them.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let sum: u64 = words
            .iter()
            .map(|word| u64::from(u16::from_be_bytes(*word)))
            .sum();
        let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
        Self(self.0 + sum + last)
    }

    /// With this word.
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// The sum in 16 bits. Zero only if every word was.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is 0xffff at most")]
        let folded = sum as u16;
        folded
    }

    /// The checksum that makes the words it is put among add up to [`WHOLE`].
    pub(crate) fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// What words add up to whose checksum is right.
pub(crate) const WHOLE: u16 = 0xffff;

/// A checksum after one of the words under it changed: RFC 1624's third equation. A wrong checksum
/// stays wrong, so that the asker sees that its packet was damaged.
///
/// It is what a full computation gives if the words that it is of are not all zero.
pub(crate) fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    Sum::default()
        .word(!checksum)
        .word(!before)
        .word(after)
        .checksum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1624_comes_out_right() {
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_first_of_a_word() {
        let sum = Sum::default().bytes(&[1, 2, 3]);
        assert_eq!(sum.folded(), 0x0102 + 0x0300);
    }

    proptest! {
        #[test]
        fn an_update_is_what_a_full_computation_gives(
            mut words in vec(any::<u16>(), 1..40),
            place in any::<prop::sample::Index>(),
            after in any::<u16>(),
        ) {
            let full = |words: &[u16]| words.iter().fold(Sum::default(), |sum, word| sum.word(*word));
            let place = place.index(words.len());
            let checksum = full(&words).checksum();
            let before = std::mem::replace(&mut words[place], after);
            prop_assume!(words.iter().any(|word| *word != 0));
            prop_assert_eq!(updated(checksum, before, after), full(&words).checksum());
        }
    }
}
