//! Text and lists that stop growing at their limit, whatever length the sender claims: what a
//! client says is kept, compared and logged, so none of it may be long.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::{GlobalValue, NAME_BYTES_MAX, NAMES_MAX, OPERATIONS_MAX, Operation, TailCall};

/// Text of a bounded length, for `deserialize_with`.
pub(crate) fn name<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    text.deserialize_string(Name).map(|Text(name)| name)
}

/// The same where it may be absent.
pub(crate) fn maybe_name<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(text)?.map(|Text(name)| name))
}

pub(crate) fn names<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    let names = list.deserialize_seq(List::<Text, NAMES_MAX>::new("names"))?;
    Ok(names.into_iter().map(|Text(name)| name).collect())
}

pub(crate) fn sizes<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<(String, u32)>, D::Error> {
    let sizes = list.deserialize_seq(List::<(Text, u32), NAMES_MAX>::new("map sizes"))?;
    Ok(sizes
        .into_iter()
        .map(|(Text(map), entries)| (map, entries))
        .collect())
}

pub(crate) fn globals<'de, D: Deserializer<'de>>(
    list: D,
) -> Result<Vec<(String, GlobalValue)>, D::Error> {
    let globals = list.deserialize_seq(List::<(Text, GlobalValue), NAMES_MAX>::new("globals"))?;
    Ok(globals
        .into_iter()
        .map(|(Text(variable), value)| (variable, value))
        .collect())
}

pub(crate) fn tail_calls<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<TailCall>, D::Error> {
    list.deserialize_seq(List::<TailCall, NAMES_MAX>::new("tail calls"))
}

pub(crate) fn operations<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Operation>, D::Error> {
    list.deserialize_seq(List::<Operation, OPERATIONS_MAX>::new("operations"))
}

/// A name of at most [`NAME_BYTES_MAX`] bytes.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_string(Name)
    }
}

struct Name;

impl Visitor<'_> for Name {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of {NAME_BYTES_MAX} bytes at most")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        if text.len() > NAME_BYTES_MAX {
            return Err(E::invalid_length(text.len(), &self));
        }
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Text, E> {
        if text.len() > NAME_BYTES_MAX {
            return Err(E::invalid_length(text.len(), &self));
        }
        Ok(Text(text))
    }
}

/// Bytes of at most `MAX`.
pub(crate) struct Bytes<const MAX: usize>(pub(crate) Vec<u8>);

impl<'de, const MAX: usize> Deserialize<'de> for Bytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(bytes: D) -> Result<Self, D::Error> {
        let bytes = bytes.deserialize_seq(List::<u8, MAX>::new("bytes"))?;
        Ok(Self(bytes))
    }
}

/// A list of at most `MAX` elements.
struct List<T, const MAX: usize> {
    of: &'static str,
    element: PhantomData<fn() -> T>,
}

impl<T, const MAX: usize> List<T, MAX> {
    fn new(of: &'static str) -> Self {
        Self {
            of,
            element: PhantomData,
        }
    }
}

/// Room that is made before the first element is there: a claimed length costs no more than this.
const RESERVED_BYTES_MAX: usize = 4096;

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX} {} at most", self.of)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let claimed = list.size_hint().unwrap_or(0);
        if claimed > MAX {
            return Err(A::Error::invalid_length(claimed, &self));
        }
        let room = RESERVED_BYTES_MAX / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(claimed.min(room));
        while let Some(element) = list.next_element()? {
            if elements.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_as_large_as_the_limits_reason_says() {
        assert_eq!(size_of::<Operation>(), 192);
    }
}
