//! What an object file says, checked once so that nobody after has to.
//!
//! Every offset kept here lies inside the file, every name is text, every function and map
//! definition lies inside its section.

use std::collections::{BTreeMap, BTreeSet};

use object::read::elf::{ElfFile64, SectionHeader as _};
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, ObjectSymbolTable as _,
    RelocationTarget, SymbolIndex, elf,
};

use super::bounds::{RELOCATIONS_MAX, SECTIONS_MAX, SYMBOLS_MAX};
use super::error::Malformed;

/// Bytes of an eBPF instruction slot.
pub(super) const SLOT_BYTES: u64 = 8;

/// Most bytes that all names may take together: a file can name one long string many times.
const NAME_BYTES_MAX: usize = 16 << 20;

/// Most functions in a file. aya-obj copies the line numbers of a section for each of them.
const FUNCTIONS_MAX: usize = 4096;

/// Bytes of an entry of the section header table.
pub(super) const SECTION_HEADER_BYTES: usize = 64;

/// Bytes of an entry of the symbol table.
pub(super) const SYMBOL_BYTES: usize = 24;

/// An object file's sections, symbols and relocations, by the file's own indexes.
#[derive(Debug)]
pub(super) struct Elf {
    pub(super) sections: Vec<Section>,
    pub(super) symbols: Vec<Symbol>,
    /// The functions that have code, by section and offset.
    functions: BTreeMap<(usize, u64), usize>,
    /// For each section, what is to be patched at which offset.
    pub(super) relocations: BTreeMap<usize, BTreeMap<u64, Relocation>>,
    /// Where the section header table starts in the file.
    pub(super) header_table: usize,
    /// The section that holds the symbols.
    pub(super) symbols_section: usize,
    /// The section that holds the sections' names.
    pub(super) names_section: usize,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) role: Role,
    /// Where its bytes are in the file.
    pub(super) file_offset: usize,
    /// How many bytes it has in the file.
    pub(super) file_size: usize,
    /// How many bytes it has in memory.
    pub(super) size: u64,
    /// The section that these relocations patch.
    pub(super) relocates: Option<usize>,
}

/// What a section is for, by the rules that aya-obj goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Functions that programs call.
    Text,
    /// Programs.
    Program,
    /// Legacy map definitions (`struct bpf_map_def`).
    LegacyMaps,
    /// Map definitions in BTF.
    BtfMaps,
    /// Global variables: `.data`, `.rodata`, `.bss`.
    Data,
    License,
    Version,
    Btf,
    BtfExt,
    Other,
}

#[derive(Debug)]
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) kind: SymbolKind,
    /// None for what another object, or the kernel, is to provide.
    pub(super) section: Option<usize>,
    pub(super) address: u64,
    pub(super) size: u64,
    pub(super) global: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolKind {
    Function,
    Variable,
    Section,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) symbol: usize,
    /// 64 for an address in a two-slot load, 32 for a call.
    pub(super) bits: u8,
}

impl Elf {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(Malformed::Elf)?;
        let header = file.elf_header();
        if header.e_machine.get(LittleEndian) != elf::EM_BPF {
            return Err(Malformed::Machine);
        }
        if header.e_type.get(LittleEndian) != elf::ET_REL {
            return Err(Malformed::NotRelocatable);
        }
        let mut names = NameBudget(NAME_BYTES_MAX);
        let mut elf = Self {
            sections: read_sections(&file, &mut names)?,
            symbols: read_symbols(&file, &mut names)?,
            functions: BTreeMap::new(),
            relocations: BTreeMap::new(),
            header_table: usize::try_from(header.e_shoff.get(LittleEndian))
                .map_err(|_| Malformed::OutOfFile)?,
            symbols_section: file.elf_symbol_table().section().0,
            names_section: usize::from(header.e_shstrndx.get(LittleEndian)),
        };
        elf.relocations = read_relocations(&file, elf.symbols.len())?;
        elf.check_names_section(bytes)?;
        elf.check_code_sections()?;
        elf.check_symbols()?;
        elf.functions = elf.index_functions()?;
        Ok(elf)
    }

    /// The function that starts here.
    pub(super) fn function_at(&self, section: usize, address: u64) -> Option<&Symbol> {
        let symbol = self.functions.get(&(section, address))?;
        Some(&self.symbols[*symbol])
    }

    /// Every function of a code section: section, offset, symbol.
    pub(super) fn functions(&self) -> impl Iterator<Item = (usize, u64, &Symbol)> {
        let functions = self.functions.iter();
        functions.map(|((section, address), symbol)| (*section, *address, &self.symbols[*symbol]))
    }

    pub(super) fn section_named(&self, name: &str) -> Option<usize> {
        self.sections
            .iter()
            .position(|section| section.name == name)
    }

    /// The bytes of a section in the file.
    pub(super) fn data<'a>(&self, bytes: &'a [u8], section: usize) -> &'a [u8] {
        let section = &self.sections[section];
        &bytes[section.file_offset..section.file_offset + section.file_size]
    }

    fn index_functions(&self) -> Result<BTreeMap<(usize, u64), usize>, Malformed> {
        let max = FUNCTIONS_MAX;
        let mut functions = BTreeMap::new();
        let mut names = 0;
        for (index, symbol) in self.symbols.iter().enumerate() {
            let section = symbol
                .section
                .filter(|section| self.sections[*section].holds_code());
            if let (Some(section), SymbolKind::Function, 1..) = (section, symbol.kind, symbol.size)
            {
                names += 1;
                // Of several names for one function the first counts.
                functions.entry((section, symbol.address)).or_insert(index);
            }
        }
        if names > max {
            return Err(Malformed::TooManyFunctions { max });
        }
        Ok(functions)
    }

    /// Debug information goes by the names of the sections, so two must not have the same.
    fn check_code_sections(&self) -> Result<(), Malformed> {
        let mut names = BTreeSet::new();
        for section in self.sections.iter().filter(|section| section.holds_code()) {
            if !names.insert(&section.name) {
                return Err(Malformed::RepeatedSection {
                    section: section.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_symbols(&self) -> Result<(), Malformed> {
        for symbol in &self.symbols {
            let Some(section) = symbol.section else {
                continue;
            };
            let section = self.sections.get(section).ok_or(Malformed::OutOfFile)?;
            let in_section = symbol
                .address
                .checked_add(symbol.size)
                .is_some_and(|end| end <= section.size);
            let is_code = section.holds_code() && symbol.kind == SymbolKind::Function;
            let is_aligned =
                symbol.address.is_multiple_of(SLOT_BYTES) && symbol.size.is_multiple_of(SLOT_BYTES);
            if !in_section || (is_code && !is_aligned) {
                return Err(Malformed::Symbol {
                    name: symbol.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The names are copied and added to, so they have to be where they seem to be.
    fn check_names_section(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let names = self
            .sections
            .get(self.names_section)
            .ok_or(Malformed::OutOfFile)?;
        let table_bytes = self.sections.len() * SECTION_HEADER_BYTES;
        let table_end = self.header_table.checked_add(table_bytes);
        if names.file_size == 0 || table_end.is_none_or(|end| end > bytes.len()) {
            return Err(Malformed::OutOfFile);
        }
        Ok(())
    }
}

impl Section {
    pub(super) fn holds_code(&self) -> bool {
        matches!(self.role, Role::Text | Role::Program)
    }
}

/// What is left of [`NAME_BYTES_MAX`].
struct NameBudget(usize);

impl NameBudget {
    fn take(&mut self, name: &[u8]) -> Result<String, Malformed> {
        self.0 = self
            .0
            .checked_sub(name.len())
            .ok_or(Malformed::NamesTooLong)?;
        let name = str::from_utf8(name).map_err(|_| Malformed::NameNotText)?;
        Ok(name.to_owned())
    }
}

fn read_sections(
    file: &ElfFile64<'_, LittleEndian>,
    names: &mut NameBudget,
) -> Result<Vec<Section>, Malformed> {
    let table = file.elf_section_table();
    at_most(table.len(), SECTIONS_MAX, "sections")?;
    let mut sections = Vec::with_capacity(table.len());
    for (index, header) in table.enumerate() {
        let name = table
            .section_name(LittleEndian, header)
            .map_err(Malformed::Elf)?;
        let name = names.take(name)?;
        let (offset, file_size) = match header.file_range(LittleEndian) {
            // Index 0 stands for no section, whatever else it says.
            Some(range) if index.0 > 0 => range,
            _ => (0, 0),
        };
        header
            .data(LittleEndian, file.data())
            .map_err(Malformed::Elf)?;
        let executable = header.sh_flags(LittleEndian) & u64::from(elf::SHF_EXECINSTR) != 0;
        let size = header.sh_size(LittleEndian);
        let role = role_of(&name, executable && size > 0);
        if header.sh_addr(LittleEndian) != 0 {
            return Err(Malformed::Addressed { section: name });
        }
        if role != Role::Data && role != Role::Other && size != file_size {
            return Err(Malformed::OutOfFile);
        }
        let is_relocations = matches!(
            header.sh_type(LittleEndian),
            elf::SHT_REL | elf::SHT_RELA | elf::SHT_CREL
        );
        sections.push(Section {
            name,
            role,
            file_offset: usize::try_from(offset).map_err(|_| Malformed::OutOfFile)?,
            file_size: usize::try_from(file_size).map_err(|_| Malformed::OutOfFile)?,
            size,
            relocates: is_relocations
                .then(|| usize::try_from(header.sh_info(LittleEndian)).ok())
                .flatten(),
        });
    }
    Ok(sections)
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), Malformed> {
    if count > max {
        return Err(Malformed::TooMany { what, max });
    }
    Ok(())
}

fn role_of(name: &str, holds_code: bool) -> Role {
    const PREFIXES: [(&str, Role); 8] = [
        ("license", Role::License),
        ("version", Role::Version),
        ("maps", Role::LegacyMaps),
        (".maps", Role::BtfMaps),
        (".text", Role::Text),
        (".bss", Role::Data),
        (".data", Role::Data),
        (".rodata", Role::Data),
    ];
    let known = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    match (known, name) {
        // aya-obj goes by the name alone; a program may be called `maps_of_the_world` all the same.
        (Some((_, Role::License | Role::Version | Role::LegacyMaps)), _) if holds_code => {
            Role::Program
        }
        (Some((_, role)), _) => *role,
        (None, ".BTF") => Role::Btf,
        (None, ".BTF.ext") => Role::BtfExt,
        (None, _) if holds_code => Role::Program,
        (None, _) => Role::Other,
    }
}

fn read_symbols(
    file: &ElfFile64<'_, LittleEndian>,
    names: &mut NameBudget,
) -> Result<Vec<Symbol>, Malformed> {
    let Some(table) = file.symbol_table() else {
        return Ok(Vec::new());
    };
    at_most(file.elf_symbol_table().len(), SYMBOLS_MAX, "symbols")?;
    let mut symbols = Vec::new();
    // Index 0 is reserved, and the iterator leaves it out.
    symbols.push(Symbol {
        name: String::new(),
        kind: SymbolKind::Other,
        section: None,
        address: 0,
        size: 0,
        global: false,
    });
    for symbol in table.symbols() {
        if symbol.index() != SymbolIndex(symbols.len()) {
            return Err(Malformed::OutOfFile);
        }
        let kind = match symbol.elf_symbol().st_info & 0xf {
            elf::STT_FUNC | elf::STT_GNU_IFUNC => SymbolKind::Function,
            elf::STT_OBJECT | elf::STT_COMMON => SymbolKind::Variable,
            elf::STT_SECTION => SymbolKind::Section,
            _ => SymbolKind::Other,
        };
        symbols.push(Symbol {
            name: names.take(symbol.name_bytes().map_err(Malformed::Elf)?)?,
            kind,
            section: symbol.section_index().map(|section| section.0),
            address: symbol.address(),
            size: symbol.size(),
            global: !symbol.is_local(),
        });
    }
    Ok(symbols)
}

fn read_relocations(
    file: &ElfFile64<'_, LittleEndian>,
    symbols: usize,
) -> Result<BTreeMap<usize, BTreeMap<u64, Relocation>>, Malformed> {
    let mut all = BTreeMap::new();
    let mut count = 0;
    for section in file.sections() {
        let mut relocations = BTreeMap::new();
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                return Err(Malformed::Relocation { offset });
            };
            let is_repeated = relocations.contains_key(&offset);
            count += 1;
            at_most(count, RELOCATIONS_MAX, "relocations")?;
            if symbol.0 >= symbols || is_repeated {
                return Err(Malformed::Relocation { offset });
            }
            relocations.insert(
                offset,
                Relocation {
                    symbol: symbol.0,
                    bits: relocation.size(),
                },
            );
        }
        if !relocations.is_empty() {
            all.insert(section.index().0, relocations);
        }
    }
    Ok(all)
}
