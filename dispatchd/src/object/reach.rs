//! Which functions and variables a program reaches, and whether aya-obj links them right.
//!
//! aya-obj refuses little and guesses much: an address that it can't place stays zero, functions
//! of two sections at the same offset are one to it, some symbols make it panic. Whatever a
//! program reaches is therefore looked at here first.

use std::collections::{BTreeMap, BTreeSet};

use super::elf::{Elf, Relocation, Role, SLOT_BYTES, Symbol, SymbolKind};
use super::error::Unsupported;

/// A function: its section, and where it starts there.
pub(super) type FunctionKey = (usize, u64);

/// What a program reaches, itself included.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) functions: BTreeSet<FunctionKey>,
    /// The symbols of the maps it uses.
    pub(super) map_symbols: BTreeSet<usize>,
    /// The sections of the variables it uses.
    pub(super) data_sections: BTreeSet<usize>,
}

/// Most functions of a program: the kernel's `BPF_MAX_SUBPROGS`. aya-obj links them recursively,
/// so a longer chain of calls could use up the stack.
const FUNCTIONS_MAX: usize = 256;

const BPF_LD_IMM64: u8 = 0x18;
const BPF_CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_KFUNC_CALL: u8 = 2;
const PSEUDO_FUNC: u8 = 4;

/// Follows every call and every address from a program's function.
pub(super) fn reach(elf: &Elf, bytes: &[u8], entry: FunctionKey) -> Result<Reach, Unsupported> {
    let mut walk = Walk {
        elf,
        bytes,
        reach: Reach::default(),
        to_visit: vec![entry],
    };
    while let Some(key) = walk.to_visit.pop() {
        if walk.reach.functions.insert(key) {
            walk.visit(key)?;
        }
        if walk.reach.functions.len() > FUNCTIONS_MAX {
            let max = FUNCTIONS_MAX;
            return Err(Unsupported::TooManyFunctions { max });
        }
    }
    let reach = walk.reach;
    check_offsets_differ(elf, &reach, entry)?;
    check_no_addresses(elf, &reach)?;
    Ok(reach)
}

struct Walk<'a> {
    elf: &'a Elf,
    bytes: &'a [u8],
    reach: Reach,
    to_visit: Vec<FunctionKey>,
}

/// An instruction slot, and what the linker is to put there.
struct Slot<'a> {
    function: &'a Symbol,
    section: usize,
    offset: u64,
    code: u8,
    source: u8,
    immediate: i32,
    relocation: Option<Relocation>,
}

impl Walk<'_> {
    fn visit(&mut self, (section, start): FunctionKey) -> Result<(), Unsupported> {
        let elf = self.elf;
        // Only functions that were found by `function_at` are ever to be visited.
        let Some(function) = elf.function_at(section, start) else {
            return Ok(());
        };
        let empty = BTreeMap::new();
        let relocations = elf.relocations.get(&section).unwrap_or(&empty);
        let code = &elf.data(self.bytes, section)[usize_of(start)..];
        let code = &code[..usize_of(function.size)];
        let mut placed = 0;
        let mut slots = (start..).step_by(8).zip(code.chunks_exact(8));
        while let Some((offset, bytes)) = slots.next() {
            let slot = Slot {
                function,
                section,
                offset,
                code: bytes[0],
                source: bytes[1] >> 4,
                immediate: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
                relocation: relocations.get(&offset).copied(),
            };
            placed += usize::from(slot.relocation.is_some());
            match slot.code {
                BPF_LD_IMM64 => {
                    self.load(&slot)?;
                    if slots.next().is_none() {
                        return Err(slot.stray_address());
                    }
                }
                BPF_CALL => self.call(&slot)?,
                _ if slot.relocation.is_some() => return Err(slot.stray_address()),
                _ => {}
            }
        }
        // Those that fell between instructions.
        match relocations.range(start..start + function.size).count() {
            all if all == placed => Ok(()),
            _ => Err(Unsupported::StrayAddress {
                function: function.name.clone(),
                offset: start,
            }),
        }
    }

    fn call(&mut self, slot: &Slot<'_>) -> Result<(), Unsupported> {
        if let Some(relocation) = slot.relocation {
            let (symbol, section) = self.defined(relocation)?;
            // From the section's start, in slots, counted from the next instruction.
            let address = match symbol.kind {
                SymbolKind::Function => Some(symbol.address),
                SymbolKind::Section if relocation.bits == 32 => slot.relative_to(0),
                SymbolKind::Section | SymbolKind::Variable | SymbolKind::Other => None,
            };
            return match slot.source {
                PSEUDO_CALL => self.function(slot, section, address),
                _ => Err(slot.stray_address()),
            };
        }
        match slot.source {
            PSEUDO_CALL => self.function(slot, slot.section, slot.relative_to(slot.offset)),
            PSEUDO_KFUNC_CALL => Err(Unsupported::Kfunc {
                function: slot.function.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn load(&mut self, slot: &Slot<'_>) -> Result<(), Unsupported> {
        let Some(relocation) = slot.relocation else {
            return match slot.source {
                0 => Ok(()),
                PSEUDO_FUNC => Err(slot.no_function()),
                _ => Err(Unsupported::KernelObject),
            };
        };
        let (symbol, section) = self.defined(relocation)?;
        let target = &self.elf.sections[section];
        match target.role {
            Role::Text | Role::Program => {
                let address = match symbol.kind {
                    SymbolKind::Function => Some(symbol.address),
                    SymbolKind::Section if relocation.bits == 64 => {
                        u64::try_from(slot.immediate).ok()
                    }
                    SymbolKind::Section | SymbolKind::Variable | SymbolKind::Other => None,
                };
                self.function(slot, section, address)
            }
            Role::LegacyMaps | Role::BtfMaps => {
                self.reach.map_symbols.insert(relocation.symbol);
                Ok(())
            }
            Role::Data if target.size > 0 => {
                self.reach.data_sections.insert(section);
                Ok(())
            }
            Role::Data | Role::License | Role::Version | Role::Btf | Role::BtfExt | Role::Other => {
                Err(Unsupported::DataSection {
                    function: slot.function.name.clone(),
                    section: target.name.clone(),
                })
            }
        }
    }

    /// The symbol of a relocation and its section, unless the kernel is to provide it.
    fn defined(&self, relocation: Relocation) -> Result<(&Symbol, usize), Unsupported> {
        let symbol = &self.elf.symbols[relocation.symbol];
        match symbol.section {
            Some(section) => Ok((symbol, section)),
            None => Err(Unsupported::Extern {
                name: symbol.name.clone(),
            }),
        }
    }

    fn function(
        &mut self,
        slot: &Slot<'_>,
        section: usize,
        address: Option<u64>,
    ) -> Result<(), Unsupported> {
        let address = address
            .filter(|address| self.elf.function_at(section, *address).is_some())
            .ok_or_else(|| slot.no_function())?;
        self.to_visit.push((section, address));
        Ok(())
    }
}

impl Slot<'_> {
    /// Where a call leads that counts slots from the one after this place.
    fn relative_to(&self, offset: u64) -> Option<u64> {
        let distance = (i64::from(self.immediate) + 1) * SLOT_BYTES.cast_signed();
        offset.checked_add_signed(distance)
    }

    fn stray_address(&self) -> Unsupported {
        Unsupported::StrayAddress {
            function: self.function.name.clone(),
            offset: self.offset,
        }
    }

    fn no_function(&self) -> Unsupported {
        Unsupported::NoFunction {
            function: self.function.name.clone(),
            offset: self.offset,
        }
    }
}

/// aya-obj knows the functions it linked by their offsets alone.
fn check_offsets_differ(elf: &Elf, reach: &Reach, entry: FunctionKey) -> Result<(), Unsupported> {
    let mut by_offset = BTreeMap::new();
    for key in &reach.functions {
        if *key == entry {
            continue;
        }
        if let Some(other) = by_offset.insert(key.1, *key) {
            let name = |key: FunctionKey| {
                elf.function_at(key.0, key.1)
                    .map_or_else(String::new, |function| function.name.clone())
            };
            return Err(Unsupported::SameOffset {
                first: name(other),
                second: name(*key),
            });
        }
    }
    Ok(())
}

/// Variables are loaded as the bytes they have in the file: addresses in them would stay zero.
fn check_no_addresses(elf: &Elf, reach: &Reach) -> Result<(), Unsupported> {
    let section = reach
        .data_sections
        .iter()
        .find(|section| elf.relocations.contains_key(section));
    match section {
        Some(section) => Err(Unsupported::Addresses {
            section: elf.sections[*section].name.clone(),
        }),
        None => Ok(()),
    }
}

/// Places inside the file, which is in memory.
fn usize_of(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
