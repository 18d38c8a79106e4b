//! What an object says of how its program wants to run, in the way that libxdp's users write it.
//!
//! `struct { __uint(priority, 10); __uint(XDP_PASS, 1); } XDP_RUN_CONFIG(f);` puts a variable `_f`
//! into the section `.xdp_run_config`. The numbers are in its type: each member is a pointer to an
//! array of so many elements. See `parse_btf` in `lib/libxdp/libxdp.c` of xdp-tools.

use dispatcher_abi::{Priority, Verdict, VerdictMask};

use super::btf::{body, range, string_at, u32_at};

const SECTION: &str = ".xdp_run_config";
const TYPE_BYTES: usize = 12;

/// What the object wants; `None` is for what it doesn't say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunConfig {
    pub(super) priority: Option<Priority>,
    pub(super) chain_call: Option<VerdictMask>,
}

/// Reads a program's wishes from `.BTF`; nothing if there are none, or it is broken.
pub(super) fn read(btf: &[u8], program: &str) -> RunConfig {
    find(btf, program).unwrap_or_default()
}

fn find(btf: &[u8], program: &str) -> Option<RunConfig> {
    let types = types(btf)?;
    let config = types
        .iter()
        .find(|it| it.kind == Kind::Datasec && string_at(btf, it.name) == Some(SECTION))?;
    let variable = config.parts().find_map(|[id, ..]| {
        let variable = types.get(index(id)?)?;
        let name = string_at(btf, variable.name)?;
        (name.strip_prefix('_') == Some(program)).then_some(variable)
    })?;
    let members = types.get(index(variable.target)?)?;
    let mut wishes = RunConfig::default();
    for [name, pointer, _] in members.parts().filter(|_| members.kind == Kind::Struct) {
        let number = number(&types, pointer)?;
        match string_at(btf, name)? {
            "priority" => wishes.priority = Some(number),
            action => {
                let Some(verdict) = verdict(action) else {
                    continue;
                };
                // As in libxdp: what isn't said stays as it is by default.
                let before = wishes.chain_call.unwrap_or(VerdictMask::PASS);
                let others = before.iter().filter(|known| *known != verdict);
                let this = (number != 0).then_some(verdict);
                wishes.chain_call = Some(others.chain(this).collect());
            }
        }
    }
    Some(wishes)
}

/// The number that a member's type holds: the elements of the array it points to.
fn number(types: &[Type<'_>], pointer: u32) -> Option<u32> {
    let pointer = types.get(index(pointer)?)?;
    let array = types.get(index(pointer.target)?)?;
    let is_number = pointer.kind == Kind::Pointer && array.kind == Kind::Array;
    let [_, _, elements] = array.parts().next().filter(|_| is_number)?;
    Some(elements)
}

fn verdict(action: &str) -> Option<Verdict> {
    Some(match action {
        "XDP_ABORTED" => Verdict::Aborted,
        "XDP_DROP" => Verdict::Drop,
        "XDP_PASS" => Verdict::Pass,
        "XDP_TX" => Verdict::Tx,
        "XDP_REDIRECT" => Verdict::Redirect,
        _ => return None,
    })
}

/// The kinds that are looked at (`BTF_KIND_*`, `include/uapi/linux/btf.h`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pointer,
    Array,
    Struct,
    Datasec,
    Other,
}

struct Type<'a> {
    kind: Kind,
    name: u32,
    /// The type that it is about, or its size.
    target: u32,
    /// What follows the type itself.
    rest: &'a [u8],
}

impl Type<'_> {
    /// What follows, as records of three words.
    fn parts(&self) -> impl Iterator<Item = [u32; 3]> + '_ {
        self.rest
            .chunks_exact(12)
            .filter_map(|record| Some([u32_at(record, 0)?, u32_at(record, 4)?, u32_at(record, 8)?]))
    }
}

/// Ids are counted from 1.
fn index(id: u32) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

/// Every type, in the order of the ids.
fn types(btf: &[u8]) -> Option<Vec<Type<'_>>> {
    let mut rest = range(body(btf)?, btf, 8)?;
    let mut types = Vec::new();
    while !rest.is_empty() {
        let info = u32_at(rest, 4)?;
        let count = usize::try_from(info & 0xffff).ok()?;
        let (kind, bytes) = match info >> 24 & 0x1f {
            1 | 14 | 17 => (Kind::Other, 4),
            2 => (Kind::Pointer, 0),
            3 => (Kind::Array, 12),
            4 => (Kind::Struct, 12 * count),
            5 | 19 => (Kind::Other, 12 * count),
            6 | 13 => (Kind::Other, 8 * count),
            7..=12 | 16 | 18 => (Kind::Other, 0),
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
    Some(types)
}
