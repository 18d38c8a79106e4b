//! Whether a program can take the place of a root's slot: the kernel compares prototypes
//! (`btf_check_func_type_match` in `kernel/bpf/btf.c`), and a slot is `int f(struct xdp_md *)`.

use planner::Obstacle;

use super::types::{Kind, Types};

/// Why the program can't; `None` if its prototype is right.
pub(super) fn obstacle(btf: Option<&[u8]>, program: &str) -> Option<Obstacle> {
    let Some(types) = btf.and_then(Types::read) else {
        return Some(Obstacle::NoTypes);
    };
    let Some((_, function)) = types.find(Kind::Function, program) else {
        return Some(Obstacle::NoTypes);
    };
    match fits(&types, function.target) {
        Some(true) => None,
        Some(false) | None => Some(Obstacle::Prototype),
    }
}

/// The id of a function's type, by which the kernel knows what an extension takes the place of.
pub(super) fn function_id(btf: &[u8], function: &str) -> Option<u32> {
    let types = Types::read(btf)?;
    let (id, _) = types.find(Kind::Function, function)?;
    Some(id)
}

fn fits(types: &Types<'_>, prototype: u32) -> Option<bool> {
    let prototype = types.get(prototype)?;
    let returned = types.plain(prototype.target)?;
    let mut parameters = prototype.parameters();
    let (Some(context), None) = (parameters.next(), parameters.next()) else {
        return Some(false);
    };
    let context = types.plain(context)?;
    let pointee = types.plain(context.target)?;
    Some(
        prototype.kind == Kind::Prototype
            && returned.kind == Kind::Integer
            && context.kind == Kind::Pointer
            && pointee.kind == Kind::Struct
            && types.name(pointee) == Some("xdp_md"),
    )
}
