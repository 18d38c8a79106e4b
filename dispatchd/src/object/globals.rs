//! Values for a program's global variables.

use std::collections::BTreeMap;

use super::GlobalValue;
use super::elf::{Elf, Role, Symbol, SymbolKind};
use super::error::{GlobalFault, Names, ObjectError};

/// What a section's variables start as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) section: usize,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// Where the values go.
pub(super) fn patches(
    elf: &Elf,
    globals: &[(String, GlobalValue)],
) -> Result<Vec<Patch>, ObjectError> {
    if globals.is_empty() {
        return Ok(Vec::new());
    }
    // `None` for several of one name.
    let mut by_name: BTreeMap<&str, Option<(usize, &Symbol)>> = BTreeMap::new();
    for (section, symbol) in variables(elf) {
        by_name
            .entry(&symbol.name)
            .and_modify(|found| *found = None)
            .or_insert(Some((section, symbol)));
    }
    let patches = globals.iter().map(|(name, value)| {
        patch(&by_name, name, value).map_err(|fault| ObjectError::Global {
            global: name.clone(),
            fault,
        })
    });
    patches.collect()
}

fn patch(
    by_name: &BTreeMap<&str, Option<(usize, &Symbol)>>,
    name: &str,
    value: &GlobalValue,
) -> Result<Patch, GlobalFault> {
    let found = by_name.get(name).ok_or_else(|| GlobalFault::Unknown {
        known: Names(by_name.keys().map(|name| (*name).to_owned()).collect()),
    })?;
    let (section, symbol) = found.ok_or(GlobalFault::Ambiguous)?;
    Ok(Patch {
        section,
        offset: usize::try_from(symbol.address).unwrap_or(usize::MAX),
        bytes: bytes_of(value, symbol.size)?,
    })
}

fn variables(elf: &Elf) -> impl Iterator<Item = (usize, &Symbol)> {
    elf.symbols.iter().filter_map(|symbol| {
        let section = symbol.section?;
        let is_variable = symbol.kind == SymbolKind::Variable
            && symbol.size > 0
            && elf.sections[section].role == Role::Data;
        is_variable.then_some((section, symbol))
    })
}

fn bytes_of(value: &GlobalValue, size: u64) -> Result<Vec<u8>, GlobalFault> {
    match value {
        GlobalValue::Bytes(bytes) if bytes.len() as u64 == size => Ok(bytes.clone()),
        GlobalValue::Bytes(bytes) => Err(GlobalFault::Size {
            bytes: size,
            given: bytes.len(),
        }),
        GlobalValue::Integer(value) => {
            if !matches!(size, 1 | 2 | 4 | 8) {
                return Err(GlobalFault::NotAnInteger { bytes: size });
            }
            let (lowest, highest) = (-1i128 << (8 * size - 1), (1i128 << (8 * size)) - 1);
            if !(lowest..=highest).contains(value) {
                return Err(GlobalFault::OutOfRange {
                    value: *value,
                    bytes: size,
                });
            }
            let bytes = value.to_le_bytes().into_iter();
            Ok(bytes.zip(0..size).map(|(byte, _)| byte).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_takes_its_variables_size() {
        for (value, size, expected) in [
            (0x1234, 2, Some(vec![0x34, 0x12])),
            (255, 1, Some(vec![255])),
            (-128, 1, Some(vec![128])),
            (256, 1, None),
            (-129, 1, None),
            (i128::from(u64::MAX), 8, Some(vec![255; 8])),
            (i128::from(u64::MAX) + 1, 8, None),
            (
                i128::from(i64::MIN),
                8,
                Some(vec![0, 0, 0, 0, 0, 0, 0, 128]),
            ),
            (i128::from(i64::MIN) - 1, 8, None),
            (i128::MAX, 4, None),
            (1, 3, None),
            (1, 16, None),
        ] {
            let bytes = bytes_of(&GlobalValue::Integer(value), size).ok();
            assert_eq!(bytes, expected, "{value} in {size} bytes");
        }
    }

    #[test]
    fn bytes_are_exactly_as_many() {
        let value = GlobalValue::Bytes(vec![1, 2, 3]);
        assert_eq!(bytes_of(&value, 3).unwrap(), [1, 2, 3]);
        assert!(bytes_of(&value, 4).is_err());
        assert!(bytes_of(&value, 2).is_err());
    }
}
