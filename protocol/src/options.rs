//! Room for later versions at the end of a struct: a list of numbered values.
//!
//! A reader skips numbers that it doesn't know, so a sender can say something new to an old peer.
//! Where skipping would be wrong, the sender sets [`MUST_UNDERSTAND`] in the number, and a reader
//! that doesn't know it refuses the message.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::CodecError;
use crate::bounded::Bytes;
use crate::codec::{decode_part, encode_part};

/// Most options in one list. No struct has more than a handful; the rest is room for two decades.
pub const OPTIONS_MAX: usize = 64;
/// Bytes of all values in one list: half of what fits a packet, so that a struct with options is
/// still an ordinary message.
pub const OPTION_BYTES_MAX: usize = 32 << 10;
/// The bit in a number that says: a reader that doesn't know this option refuses the message.
pub const MUST_UNDERSTAND: u32 = 1 << 31;

/// The name and the type of an option: a constant in the module of the struct that has it.
#[derive(Debug)]
pub struct OptionKey<T> {
    number: u32,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for OptionKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OptionKey<T> {}

impl<T> OptionKey<T> {
    /// An option that a reader may skip.
    pub const fn optional(number: u32) -> Self {
        assert!(number < MUST_UNDERSTAND, "the highest bit has a meaning");
        Self {
            number,
            value: PhantomData,
        }
    }

    /// An option that a reader has to understand.
    pub const fn required(number: u32) -> Self {
        assert!(number < MUST_UNDERSTAND, "the highest bit has a meaning");
        Self {
            number: number | MUST_UNDERSTAND,
            value: PhantomData,
        }
    }

    /// Its number, without [`MUST_UNDERSTAND`].
    pub const fn number(self) -> u32 {
        self.number & !MUST_UNDERSTAND
    }
}

/// Options in ascending order of their numbers, each number once: there is one way to say a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// With [`MUST_UNDERSTAND`].
    number: u32,
    value: Vec<u8>,
}

impl Entry {
    fn rank(&self) -> u32 {
        self.number & !MUST_UNDERSTAND
    }
}

impl Options {
    /// None.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of an option; `None` if it is not there, an error if its bytes are another type's.
    pub fn get<T: DeserializeOwned>(&self, key: OptionKey<T>) -> Result<Option<T>, CodecError> {
        let found = self
            .entries
            .iter()
            .find(|entry| entry.rank() == key.number());
        found.map(|entry| decode_part(&entry.value)).transpose()
    }

    /// Adds an option, or changes its value. An error leaves the list as it was: the value can't be
    /// encoded, or the list would be longer than a reader takes.
    pub fn set<T: Serialize>(&mut self, key: OptionKey<T>, value: &T) -> Result<(), CodecError> {
        let entry = Entry {
            number: key.number,
            value: encode_part(value)?,
        };
        let others = self
            .entries
            .iter()
            .filter(|other| other.rank() != entry.rank());
        let (count, bytes) = others.fold((1, entry.value.len()), |(count, bytes), other| {
            (count + 1, bytes + other.value.len())
        });
        if count > OPTIONS_MAX || bytes > OPTION_BYTES_MAX {
            return Err(CodecError::TooLarge { bytes });
        }
        match self
            .entries
            .binary_search_by_key(&entry.rank(), Entry::rank)
        {
            Ok(place) => self.entries[place] = entry,
            Err(place) => self.entries.insert(place, entry),
        }
        Ok(())
    }

    /// The first option that has to be understood and is none of these numbers.
    pub fn not_understood(&self, known: &[u32]) -> Option<u32> {
        let unknown = self
            .entries
            .iter()
            .find(|entry| entry.number & MUST_UNDERSTAND != 0 && !known.contains(&entry.rank()));
        unknown.map(Entry::rank)
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries.iter();
        serializer.collect_seq(entries.map(|entry| (entry.number, &entry.value)))
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Options;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPTIONS_MAX} options at most")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Options, A::Error> {
        let claimed = list.size_hint().unwrap_or(0);
        if claimed > OPTIONS_MAX {
            return Err(A::Error::invalid_length(claimed, &self));
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut left = OPTION_BYTES_MAX;
        while let Some((number, Bytes(value))) =
            list.next_element::<(u32, Bytes<OPTION_BYTES_MAX>)>()?
        {
            let entry = Entry { number, value };
            if entries.len() == OPTIONS_MAX {
                return Err(A::Error::invalid_length(OPTIONS_MAX + 1, &self));
            }
            left = left
                .checked_sub(entry.value.len())
                .ok_or_else(|| A::Error::custom("its options are too long"))?;
            if entries
                .last()
                .is_some_and(|last| last.rank() >= entry.rank())
            {
                return Err(A::Error::custom("its options are not in ascending order"));
            }
            entries.push(entry);
        }
        Ok(Options { entries })
    }
}
