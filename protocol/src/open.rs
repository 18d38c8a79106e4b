//! Enums that may get new variants at any time: each value travels with its length, so that a
//! reader skips what it doesn't know and goes on with the rest of the message.

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::bounded::Bytes;
use crate::codec::{decode_part, encode_part};

/// Most bytes of one value. The longest is a note with the names of a chain's members, 128 of 63
/// bytes.
pub const OPEN_BYTES_MAX: usize = 16 << 10;

/// An enum that can be [`Open`].
pub trait Variants {
    /// How many variants this version knows.
    const COUNT: u32;
}

/// A value of an enum, or one that a later version has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open<T> {
    /// One that this version knows.
    Known(T),
    /// Another one.
    Unknown(Unknown),
}

/// A value that this version doesn't know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    number: u32,
    /// The number included.
    bytes: Vec<u8>,
}

impl Unknown {
    /// The variant of this number, of which nothing else is known.
    pub fn numbered(number: u32) -> Self {
        let bytes = number.to_le_bytes().to_vec();
        Self { number, bytes }
    }

    /// The variant's number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T> Open<T> {
    /// The value, if this version knows it.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

impl<T: Serialize> Serialize for Open<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => {
                let bytes = encode_part(value).map_err(serde::ser::Error::custom)?;
                serializer.serialize_bytes(&bytes)
            }
            Self::Unknown(unknown) => serializer.serialize_bytes(&unknown.bytes),
        }
    }
}

impl<'de, T: DeserializeOwned + Variants> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::<OPEN_BYTES_MAX>::deserialize(deserializer)?;
        let Some(number) = bytes.first_chunk().copied().map(u32::from_le_bytes) else {
            return Err(D::Error::custom("it has a variant without a number"));
        };
        if number >= T::COUNT {
            return Ok(Self::Unknown(Unknown { number, bytes }));
        }
        decode_part(&bytes)
            .map(Self::Known)
            .map_err(D::Error::custom)
    }
}
