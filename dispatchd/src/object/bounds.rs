//! What is counted before anything is made of it. A file is small beside what a few of its bytes may ask
//! for: the same code under many names, sections that share their bytes, one long name a million times.

use super::btf::{body, range, u32_at};
use super::elf::{Elf, Role, SLOT_BYTES, SymbolKind};
use super::error::Malformed;

/// Most sections in a file.
pub(super) const SECTIONS_MAX: usize = 8192;

/// Most symbols in a file.
pub(super) const SYMBOLS_MAX: usize = 1 << 18;

/// Most relocations in a file: one for each instruction of the largest program.
pub(super) const RELOCATIONS_MAX: usize = 1 << 20;

/// Most bytes of variables, in all sections together: `.bss` takes no room in the file, and is
/// allocated to be loaded.
const VARIABLE_BYTES_MAX: u64 = 32 << 20;

/// Most bytes of names that the types may take together, each time that one is used.
const TYPE_NAME_BYTES_MAX: usize = 64 << 20;

/// Most copies of line records: aya-obj copies those of a section for each of its functions.
const LINE_COPIES_MAX: usize = 1 << 27;

/// Bytes of a record of `.BTF.ext` that says where a field of the kernel's is used.
const FIELD_BYTES: usize = 16;

/// The longest path to a field (`0:1:2`).
const PATH_BYTES_MAX: usize = 1024;

/// The infos of `.BTF.ext`: where the header says their place.
const FUNCTIONS_PLACE: usize = 8;
const LINES_PLACE: usize = 16;
const FIELDS_PLACE: usize = 24;

/// Turns down what nobody's compiler writes.
pub(super) fn check(elf: &Elf, bytes: &[u8]) -> Result<(), Malformed> {
    check_sections(elf, bytes.len())?;
    check_functions(elf)?;
    check_types(elf, bytes)
}

fn check_sections(elf: &Elf, file: usize) -> Result<(), Malformed> {
    let in_file = elf.sections.iter().map(|section| section.file_size);
    let total = in_file.fold(0, usize::saturating_add);
    if total > file {
        return Err(Malformed::Overlap);
    }
    let variables = elf
        .sections
        .iter()
        .filter(|section| section.role == Role::Data);
    let total = variables
        .map(|section| section.size)
        .fold(0, u64::saturating_add);
    if total > VARIABLE_BYTES_MAX {
        return Err(Malformed::TooManyVariables);
    }
    Ok(())
}

/// The longest name of a function, in bytes. The kernel's own have 512 at most.
const FUNCTION_NAME_BYTES_MAX: usize = 1024;

/// Functions of one section lie apart. A function may have a second name.
fn check_functions(elf: &Elf) -> Result<(), Malformed> {
    let mut functions: Vec<(usize, u64, u64, &str)> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Function && symbol.size > 0)
        .filter_map(|symbol| {
            let section = symbol.section?;
            let holds_code = elf.sections.get(section)?.holds_code();
            let end = symbol.address + symbol.size;
            holds_code.then_some((section, symbol.address, end, &*symbol.name))
        })
        .collect();
    if functions
        .iter()
        .any(|(.., name)| name.len() > FUNCTION_NAME_BYTES_MAX)
    {
        return Err(Malformed::FunctionNameTooLong {
            max: FUNCTION_NAME_BYTES_MAX,
        });
    }
    functions.sort_unstable();
    let mut copied = 0_u64;
    for pair in functions.windows(2) {
        let [
            (section, start, end, _),
            (next_section, next, next_end, name),
        ] = *pair
        else {
            continue;
        };
        let is_alias = (start, end) == (next, next_end);
        if section != next_section || end <= next {
            continue;
        }
        // Each name has the loader copy the code again.
        copied = copied.saturating_add(end - start);
        if !is_alias || copied > 4 * elf.sections[section].size {
            return Err(Malformed::FunctionsOverlap {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

fn check_types(elf: &Elf, bytes: &[u8]) -> Result<(), Malformed> {
    let section = |role| {
        let found = elf
            .sections
            .iter()
            .position(|section| section.role == role)?;
        Some(elf.data(bytes, found))
    };
    let Some(types) = section(Role::Btf) else {
        return Ok(());
    };
    let strings = body(types).and_then(|body| range(body, types, 16));
    let strings = strings.ok_or(Malformed::Types)?;
    let mut budget = TYPE_NAME_BYTES_MAX;
    for name in super::types::names(types).ok_or(Malformed::Types)? {
        let length = length_at(strings, name, budget).ok_or(Malformed::TypeNamesTooLong)?;
        budget = budget.saturating_sub(length + 1);
    }
    let Some(ext) = section(Role::BtfExt) else {
        return Ok(());
    };
    let code: u64 = elf
        .sections
        .iter()
        .filter(|section| section.holds_code())
        .map(|section| section.size / SLOT_BYTES)
        .sum();
    let code = usize::try_from(code).unwrap_or(usize::MAX);
    let functions = elf.functions().count();
    let mut lines = 0_usize;
    for place in [FUNCTIONS_PLACE, LINES_PLACE] {
        let count = count_records(ext, place).ok_or(Malformed::Types)?;
        // The kernel takes one for each instruction at most.
        if count > code {
            return Err(Malformed::TooManyRecords { max: code });
        }
        lines = count;
    }
    if lines.saturating_mul(functions) > LINE_COPIES_MAX {
        return Err(Malformed::TooManyRecords {
            max: LINE_COPIES_MAX / functions.max(1),
        });
    }
    check_fields(ext, strings)
}

/// Each path to a field is read when it is resolved.
fn check_fields(ext: &[u8], strings: &[u8]) -> Result<(), Malformed> {
    each_record(ext, FIELDS_PLACE, |record| {
        let path = u32_at(record, 8).filter(|_| record.len() >= FIELD_BYTES)?;
        length_at(strings, path, PATH_BYTES_MAX).map(drop)
    })
    .ok_or(Malformed::Types)
}

/// How long a string is, if it ends within so many bytes.
fn length_at(strings: &[u8], offset: u32, most: usize) -> Option<usize> {
    let string = strings.get(usize::try_from(offset).ok()?..)?;
    let string = &string[..string.len().min(most.saturating_add(1))];
    string.iter().position(|byte| *byte == 0)
}

fn count_records(ext: &[u8], place: usize) -> Option<usize> {
    let mut count = 0;
    each_record(ext, place, |_| {
        count += 1;
        Some(())
    })?;
    Some(count)
}

/// Goes through an info: the size of its records, then for each section its name, their number, and
/// them. `None` if it is broken, or `look` says so.
fn each_record(ext: &[u8], place: usize, mut look: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let body = body(ext)?;
    let header_bytes = ext.len() - body.len();
    // Older headers end before the last.
    if place + 8 > header_bytes {
        return Some(());
    }
    let info = range(body, ext, place)?;
    if info.is_empty() {
        return Some(());
    }
    let record_bytes = usize::try_from(u32_at(info, 0)?).ok()?;
    if record_bytes < 8 {
        return None;
    }
    let mut rest = &info[4..];
    let mut sections = 0;
    while !rest.is_empty() {
        sections += 1;
        if sections > SECTIONS_MAX {
            return None;
        }
        let count = usize::try_from(u32_at(rest, 4)?).ok()?;
        let records_len = count.checked_mul(record_bytes)?;
        let records = rest.get(8..records_len.checked_add(8)?)?;
        for record in records.chunks_exact(record_bytes) {
            look(record)?;
        }
        rest = &rest[8 + records_len..];
    }
    Some(())
}
