//! What an object says of how its program wants to run, in the way that libxdp's users write it.
//!
//! `struct { __uint(priority, 10); __uint(XDP_PASS, 1); } XDP_RUN_CONFIG(f);` puts a variable `_f`
//! into the section `.xdp_run_config`. The numbers are in its type: each member is a pointer to an
//! array of so many elements. See `parse_btf` in `lib/libxdp/libxdp.c` of xdp-tools.

use dispatcher_abi::{Priority, Verdict, VerdictMask};

use super::types::{Kind, Types};

const SECTION: &str = ".xdp_run_config";

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
    let types = Types::read(btf)?;
    let (_, config) = types.find(Kind::Datasec, SECTION)?;
    let variable = config.parts().find_map(|[id, ..]| {
        let variable = types.get(id)?;
        let name = types.name(variable)?;
        (name.strip_prefix('_') == Some(program)).then_some(variable)
    })?;
    let members = types.get(variable.target)?;
    let mut wishes = RunConfig::default();
    for [name, pointer, _] in members.parts().filter(|_| members.kind == Kind::Struct) {
        let number = number(&types, pointer)?;
        match types.string(name)? {
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
fn number(types: &Types<'_>, pointer: u32) -> Option<u32> {
    let pointer = types.get(pointer)?;
    let array = types.get(pointer.target)?;
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
