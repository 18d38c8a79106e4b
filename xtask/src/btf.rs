//! Corrects the linkage of functions in an object's BTF.
//!
//! The verifier checks a global function by itself, for any arguments, and a static one with each
//! caller's. Rust calls every unmangled function global in the debug information, whatever its
//! `#[linkage]` is; the symbol table knows better.

/// Bytes of `struct btf_type`: name, info, and size or type, 32 bits each.
const TYPE_BYTES: usize = 12;
const KIND_FUNC: u32 = 12;
/// The bits of a type's info that are a function's linkage: 0 is static.
const LINKAGE: u32 = 0xffff;

/// Marks the functions static whose names are local symbols. `None` if this is no BTF.
pub(crate) fn make_static(btf: &mut [u8], is_local: impl Fn(&[u8]) -> bool) -> Option<()> {
    let header_bytes = word(btf, 4)?;
    let types = header_bytes + word(btf, 8)?;
    let types_end = types + word(btf, 12)?;
    let strings = header_bytes + word(btf, 16)?;
    let mut at = types;
    while at < types_end {
        let info = u32::try_from(word(btf, at + 4)?).ok()?;
        let kind = info >> 24 & 0x1f;
        if kind == KIND_FUNC {
            let name = btf
                .get(strings + word(btf, at)?..)?
                .split(|byte| *byte == 0)
                .next()?;
            if is_local(name) {
                let info = (info & !LINKAGE).to_le_bytes();
                btf.get_mut(at + 4..at + 8)?.copy_from_slice(&info);
            }
        }
        at += TYPE_BYTES + trailing_bytes(kind, usize::try_from(info & 0xffff).ok()?)?;
    }
    Some(())
}

/// What follows a type of a kind that has so many members (`include/uapi/linux/btf.h`).
fn trailing_bytes(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Integer, variable, declaration tag: one word.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, 64-bit enumeration: three words a member.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumeration, function prototype: two.
        6 | 13 => 8 * members,
        // Pointer, forward, typedef, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}
