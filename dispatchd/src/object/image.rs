//! The pre-pass: a copy of an object file in which a loader sees one program.
//!
//! aya-obj refuses a whole object for one section name that it doesn't know. So the section of
//! the wanted program is called `xdp`, sections of programs that it doesn't reach become plain
//! bytes without a name, and the type information follows. Nothing moves: the tables that grow
//! (names, `.BTF`, `.BTF.ext`) go to the end of the file, and all indexes stay as they were.

use std::collections::{BTreeMap, BTreeSet};

use super::btf::{self, Kept};
use super::elf::{Elf, Role, SECTION_HEADER_BYTES, SYMBOL_BYTES, SymbolKind};
use super::error::Malformed;
use super::reach::{FunctionKey, Reach};

// Fields of a section header.
const SH_NAME: usize = 0;
const SH_TYPE: usize = 4;
const SH_FLAGS: usize = 8;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;

/// The field of a symbol that says in which section it is.
const ST_SHNDX: usize = 6;

/// Where `struct bpf_map_def` says that a map is to be pinned.
const LEGACY_PINNING: std::ops::Range<usize> = 24..28;

/// The file as aya-obj gets to see it.
pub(super) fn one_program(
    elf: &Elf,
    bytes: &[u8],
    reach: &Reach,
    entry: FunctionKey,
) -> Result<Vec<u8>, Malformed> {
    let mut image = Image {
        elf,
        bytes: bytes.to_vec(),
        names: elf.data(bytes, elf.names_section).to_vec(),
        hidden: BTreeSet::new(),
    };
    let reached_sections: BTreeSet<usize> = reach
        .functions
        .iter()
        .map(|(section, _)| *section)
        .collect();
    // Names end with a zero byte; a file whose last doesn't gets one.
    image.names.push(0);
    let mut shown = Vec::new();
    for (index, section) in elf.sections.iter().enumerate().skip(1) {
        let reached = reached_sections.contains(&index);
        match section.role {
            Role::Program | Role::Text if index == entry.0 => {
                image.rename(index, "xdp");
                shown.push((index, "xdp".to_owned()));
            }
            // A function in a section of its own, which isn't a program.
            Role::Program if reached => {
                let name = format!(".text.{index}");
                image.rename(index, &name);
                shown.push((index, name));
            }
            Role::Text if reached => shown.push((index, section.name.clone())),
            Role::Program | Role::Text => image.hide_code(index),
            Role::License if !is_plain_license(elf.data(bytes, index)) => image.rename(index, ""),
            Role::Version if section.file_size != 4 => image.rename(index, ""),
            Role::License
            | Role::Version
            | Role::LegacyMaps
            | Role::BtfMaps
            | Role::Data
            | Role::Btf
            | Role::BtfExt
            | Role::Other => {}
        }
    }
    image.hide_relocations();
    image.unpin_maps();
    image.cut_types(bytes, reach, &shown)?;
    let names = std::mem::take(&mut image.names);
    image.replace(elf.names_section, &names);
    Ok(image.bytes)
}

struct Image<'a> {
    elf: &'a Elf,
    bytes: Vec<u8>,
    names: Vec<u8>,
    /// Sections of code that became plain bytes.
    hidden: BTreeSet<usize>,
}

impl Image<'_> {
    fn rename(&mut self, section: usize, name: &str) {
        let offset = u32::try_from(self.names.len()).unwrap_or_default();
        self.names.extend(name.bytes().chain([0]));
        self.patch(section, SH_NAME, &offset.to_le_bytes());
    }

    fn hide_code(&mut self, section: usize) {
        self.rename(section, "");
        self.patch(section, SH_FLAGS, &0u64.to_le_bytes());
        self.hidden.insert(section);
    }

    /// What patches sections that are hidden becomes plain bytes too.
    fn hide_relocations(&mut self) {
        for (index, other) in self.elf.sections.iter().enumerate() {
            if other
                .relocates
                .is_some_and(|section| self.hidden.contains(&section))
            {
                self.patch(index, SH_TYPE, &object::elf::SHT_PROGBITS.to_le_bytes());
            }
        }
    }

    /// Maps are the loader's to keep, and aya-obj takes the word for one of two values without
    /// looking. To it every symbol of the section is a map, so the section's own goes.
    fn unpin_maps(&mut self) {
        let symbols = self.elf.sections[self.elf.symbols_section].file_offset;
        for (index, symbol) in self.elf.symbols.iter().enumerate() {
            let section = symbol.section.map(|section| &self.elf.sections[section]);
            let Some(section) = section.filter(|section| section.role == Role::LegacyMaps) else {
                continue;
            };
            let start = section.file_offset;
            if symbol.kind == SymbolKind::Section {
                let entry = symbols + index * SYMBOL_BYTES;
                self.bytes[entry + ST_SHNDX..entry + ST_SHNDX + 2].fill(0);
            }
            if symbol.size >= LEGACY_PINNING.end as u64 {
                // Symbols lie inside their sections, and this one inside the file.
                let map = start + usize::try_from(symbol.address).unwrap_or_default();
                self.bytes[map + LEGACY_PINNING.start..map + LEGACY_PINNING.end].fill(0);
            }
        }
    }

    fn cut_types(
        &mut self,
        original: &[u8],
        reach: &Reach,
        shown: &[(usize, String)],
    ) -> Result<(), Malformed> {
        let elf = self.elf;
        let section = |role| elf.sections.iter().position(|section| section.role == role);
        let Some(btf) = section(Role::Btf) else {
            return Ok(());
        };
        let names: Vec<&str> = shown.iter().map(|(_, name)| name.as_str()).collect();
        let types = elf.data(original, btf);
        let named = btf::add_names(types, &names).ok_or(Malformed::Types)?;
        self.replace(btf, &named.btf);
        let Some(ext) = section(Role::BtfExt) else {
            return Ok(());
        };
        let by_name: BTreeMap<&str, (usize, u32)> = shown
            .iter()
            .zip(&named.names)
            .map(|((index, _), name)| (&*elf.sections[*index].name, (*index, *name)))
            .collect();
        let keep = |section: &str| {
            let (section, name) = *by_name.get(section)?;
            Some(Kept { section, name })
        };
        let reached =
            |kept: &Kept, offset: u32| is_reached(elf, reach, kept.section, offset.into());
        let cut =
            btf::cut_ext(elf.data(original, ext), types, keep, reached).ok_or(Malformed::Types)?;
        self.replace(ext, &cut);
        Ok(())
    }

    /// Gives a section other bytes, at the end of the file.
    fn replace(&mut self, section: usize, bytes: &[u8]) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let offset = self.bytes.len() as u64;
        self.bytes.extend(bytes);
        self.patch(section, SH_OFFSET, &offset.to_le_bytes());
        self.patch(section, SH_SIZE, &(bytes.len() as u64).to_le_bytes());
    }

    fn patch(&mut self, section: usize, field: usize, value: &[u8]) {
        let start = self.elf.header_table + section * SECTION_HEADER_BYTES + field;
        self.bytes[start..start + value.len()].copy_from_slice(value);
    }
}

/// Whether a place in a section of code belongs to a function that the program reaches.
fn is_reached(elf: &Elf, reach: &Reach, section: usize, offset: u64) -> bool {
    let mut before = reach.functions.range((section, 0)..=(section, offset));
    before.next_back().is_some_and(|(section, start)| {
        let function = elf.function_at(*section, *start);
        function.is_some_and(|function| offset - start < function.size)
    })
}

/// Whether aya-obj takes it: a word and the zero byte that ends it.
fn is_plain_license(license: &[u8]) -> bool {
    license.len() > 1 && license.iter().position(|byte| *byte == 0) == Some(license.len() - 1)
}
