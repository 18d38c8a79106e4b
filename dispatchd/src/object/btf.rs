//! An object's type information, cut down to one program's functions.
//!
//! `.BTF.ext` says for each section of code, by its name in `.BTF`'s strings, which function has
//! which type, which line an instruction comes from, and which fields of kernel structures it
//! uses (CO-RE). When sections are renamed or left out, it has to follow.

/// `.BTF` with names added to its strings, and where each is.
pub(super) struct Named {
    pub(super) btf: Vec<u8>,
    pub(super) names: Vec<u32>,
}

const BTF_MAGIC: u16 = 0xeb9f;
const BTF_HEADER_BYTES: usize = 24;
const EXT_HEADER_BYTES: usize = 32;

/// The infos of `.BTF.ext` in their order: where the header says their place, and how many bytes
/// a record has at least (function, line, field access).
const INFOS: [(usize, usize); 3] = [(8, 8), (16, 16), (24, 16)];

/// Adds strings to `.BTF`. None if it is broken.
pub(super) fn add_names(btf: &[u8], names: &[&str]) -> Option<Named> {
    let body = body(btf)?;
    let types = range(body, btf, 8)?;
    let mut strings = range(body, btf, 16)?.to_vec();
    if strings.last() != Some(&0) {
        return None;
    }
    let mut offsets = Vec::new();
    for name in names {
        offsets.push(u32::try_from(strings.len()).ok()?);
        strings.extend(name.bytes().chain([0]));
    }
    let types_len = u32::try_from(types.len()).ok()?;
    let strings_len = u32::try_from(strings.len()).ok()?;
    let mut named = btf[..4].to_vec();
    let header_len = u32::try_from(BTF_HEADER_BYTES).ok()?;
    for field in [header_len, 0, types_len, types_len, strings_len] {
        named.extend(field.to_le_bytes());
    }
    named.extend(types);
    named.extend(strings);
    Some(Named {
        btf: named,
        names: offsets,
    })
}

/// The longest string that is read: names of sections, variables and structures. Many may share one
/// that is longer.
const STRING_BYTES_MAX: usize = 4096;

/// The string at an offset of `.BTF`'s strings; `None` for one that is too long.
pub(super) fn string_at(btf: &[u8], offset: u32) -> Option<&str> {
    let string = strings_from(btf, offset)?;
    let string = &string[..string.len().min(STRING_BYTES_MAX)];
    let end = string.iter().position(|byte| *byte == 0)?;
    str::from_utf8(&string[..end]).ok()
}

/// Whether this string is at an offset of `.BTF`'s strings. However long the one there is, no more of
/// it is read than of this one.
pub(super) fn is_at(btf: &[u8], offset: u32, expected: &str) -> bool {
    let rest =
        strings_from(btf, offset).and_then(|string| string.strip_prefix(expected.as_bytes()));
    rest.and_then(<[u8]>::first) == Some(&0)
}

fn strings_from(btf: &[u8], offset: u32) -> Option<&[u8]> {
    let strings = range(body(btf)?, btf, 16)?;
    strings.get(usize::try_from(offset).ok()?..)
}

/// A section of `.BTF.ext` that is kept.
pub(super) struct Kept {
    /// Its index in the file.
    pub(super) section: usize,
    /// Its new name.
    pub(super) name: u32,
}

/// `.BTF.ext` with the sections that `keep` wants, by their names, and of those the records at the
/// offsets, in bytes, that are reached. None if it is broken.
pub(super) fn cut_ext(
    ext: &[u8],
    btf: &[u8],
    keep: impl Fn(&str) -> Option<Kept>,
    is_reached: impl Fn(&Kept, u32) -> bool,
) -> Option<Vec<u8>> {
    let body = body(ext)?;
    let header_bytes = ext.len() - body.len();
    let mut header = ext[..4].to_vec();
    header.extend(u32::try_from(EXT_HEADER_BYTES).ok()?.to_le_bytes());
    let mut infos = Vec::new();
    for (place, record_bytes_min) in INFOS {
        // Older headers end before the last.
        let is_there = place + 8 <= header_bytes;
        let info = if is_there {
            range(body, ext, place)?
        } else {
            &[]
        };
        let info = cut_info(info, btf, record_bytes_min, &keep, &is_reached)?;
        header.extend(u32::try_from(infos.len()).ok()?.to_le_bytes());
        header.extend(u32::try_from(info.len()).ok()?.to_le_bytes());
        infos.extend(info);
    }
    header.extend(infos);
    Some(header)
}

/// One info: the size of its records, then for each section its name, their number and them.
fn cut_info(
    info: &[u8],
    btf: &[u8],
    record_bytes_min: usize,
    keep: impl Fn(&str) -> Option<Kept>,
    is_reached: impl Fn(&Kept, u32) -> bool,
) -> Option<Vec<u8>> {
    if info.is_empty() {
        return Some(Vec::new());
    }
    let record_bytes = usize::try_from(u32_at(info, 0)?).ok()?;
    if record_bytes < record_bytes_min || !record_bytes.is_multiple_of(4) {
        return None;
    }
    let mut kept = info[..4].to_vec();
    let mut rest = &info[4..];
    while !rest.is_empty() {
        let section = string_at(btf, u32_at(rest, 0)?)?;
        let count = usize::try_from(u32_at(rest, 4)?).ok()?;
        let records_len = count.checked_mul(record_bytes)?;
        let records = rest.get(8..records_len.checked_add(8)?)?;
        rest = &rest[8 + records_len..];
        let Some(section) = keep(section) else {
            continue;
        };
        let mut kept_records: Vec<u8> = Vec::new();
        for record in records.chunks_exact(record_bytes) {
            if is_reached(&section, u32_at(record, 0)?) {
                kept_records.extend(record);
            }
        }
        if !kept_records.is_empty() {
            let count = u32::try_from(kept_records.len() / record_bytes).ok()?;
            kept.extend(section.name.to_le_bytes());
            kept.extend(count.to_le_bytes());
            kept.extend(kept_records);
        }
    }
    // An info without sections is none.
    Some(if kept.len() == 4 { Vec::new() } else { kept })
}

/// What follows the header, of `.BTF` and `.BTF.ext` alike.
pub(super) fn body(section: &[u8]) -> Option<&[u8]> {
    let magic = u16::from_le_bytes([*section.first()?, *section.get(1)?]);
    let header_bytes = usize::try_from(u32_at(section, 4)?).ok()?;
    if magic != BTF_MAGIC || header_bytes < BTF_HEADER_BYTES {
        return None;
    }
    section.get(header_bytes..)
}

/// The part of the body whose offset and length the header gives at `place`.
pub(super) fn range<'a>(body: &'a [u8], header: &[u8], place: usize) -> Option<&'a [u8]> {
    let start = usize::try_from(u32_at(header, place)?).ok()?;
    let len = usize::try_from(u32_at(header, place + 4)?).ok()?;
    body.get(start..start.checked_add(len)?)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
