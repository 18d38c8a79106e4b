//! Reads `.BTF`: what an object says of its types.
//!
//! Kernel documentation: `Documentation/bpf/btf.rst`; numbers from `include/uapi/linux/btf.h`.

use super::btf::{body, is_at, range, string_at, u32_at};

const TYPE_BYTES: usize = 12;

/// The kinds that are looked at (`BTF_KIND_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Pointer,
    Array,
    Struct,
    /// `const`, `volatile`, `restrict`, a typedef, a type tag: about another type.
    Modifier,
    Function,
    Prototype,
    Datasec,
    Other,
}

/// One type.
#[derive(Debug)]
pub(super) struct Type<'a> {
    pub(super) kind: Kind,
    pub(super) name: u32,
    /// The type that it is about, or its size.
    pub(super) target: u32,
    /// What follows the type itself.
    rest: &'a [u8],
}

impl Type<'_> {
    /// What follows, as records of three words.
    pub(super) fn parts(&self) -> impl Iterator<Item = [u32; 3]> + '_ {
        self.rest
            .chunks_exact(12)
            .filter_map(|record| Some([u32_at(record, 0)?, u32_at(record, 4)?, u32_at(record, 8)?]))
    }

    /// A prototype's parameters' types.
    pub(super) fn parameters(&self) -> impl Iterator<Item = u32> + '_ {
        self.rest
            .chunks_exact(8)
            .filter_map(|record| u32_at(record, 4))
    }
}

/// Where the name of each type is.
pub(super) fn names(btf: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let types = Types::read(btf)?.types;
    Some(types.into_iter().map(|it| it.name))
}

/// An object's types, by their ids.
#[derive(Debug)]
pub(super) struct Types<'a> {
    btf: &'a [u8],
    types: Vec<Type<'a>>,
}

impl<'a> Types<'a> {
    /// Reads them all; `None` if they are broken.
    pub(super) fn read(btf: &'a [u8]) -> Option<Self> {
        let mut rest = range(body(btf)?, btf, 8)?;
        let mut types = Vec::new();
        while !rest.is_empty() {
            let info = u32_at(rest, 4)?;
            let count = usize::try_from(info & 0xffff).ok()?;
            let (kind, bytes) = match info >> 24 & 0x1f {
                1 => (Kind::Integer, 4),
                2 => (Kind::Pointer, 0),
                3 => (Kind::Array, 12),
                4 => (Kind::Struct, 12 * count),
                5 | 19 => (Kind::Other, 12 * count),
                6 => (Kind::Other, 8 * count),
                7 | 16 => (Kind::Other, 0),
                8..=11 | 18 => (Kind::Modifier, 0),
                12 => (Kind::Function, 0),
                13 => (Kind::Prototype, 8 * count),
                14 | 17 => (Kind::Other, 4),
                15 => (Kind::Datasec, 12 * count),
                _ => return None,
            };
            types.push(Type {
                kind,
                name: u32_at(rest, 0)?,
                target: u32_at(rest, 8)?,
                rest: rest.get(TYPE_BYTES..TYPE_BYTES + bytes)?,
            });
            rest = &rest[TYPE_BYTES + bytes..];
        }
        Some(Self { btf, types })
    }

    /// The type of this id: ids are counted from 1, and 0 is `void`.
    pub(super) fn get(&self, id: u32) -> Option<&Type<'a>> {
        self.types.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// The type of this id without its modifiers and typedefs.
    pub(super) fn plain(&self, mut id: u32) -> Option<&Type<'a>> {
        // Broken types may go around in a circle.
        for _ in 0..self.types.len() {
            let found = self.get(id)?;
            if found.kind != Kind::Modifier {
                return Some(found);
            }
            id = found.target;
        }
        None
    }

    /// The first type of this kind and name, with its id.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<(u32, &Type<'a>)> {
        (1..)
            .zip(&self.types)
            .find(|(_, it)| it.kind == kind && is_at(self.btf, it.name, name))
    }

    /// A type's name.
    pub(super) fn name(&self, of: &Type<'_>) -> Option<&'a str> {
        self.string(of.name)
    }

    /// A name by its place.
    pub(super) fn string(&self, place: u32) -> Option<&'a str> {
        string_at(self.btf, place)
    }
}
