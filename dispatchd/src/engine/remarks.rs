//! What people are told beside what was done: why something is not as they may expect.

use planner::{Engines, Plan, Prepare};
use protocol::Note;

use crate::kernel::KernelError;
use crate::translate;

/// Which of the members that got new code run by tail call though freplace was possible.
pub(super) fn by_tail_call(plan: &Plan, engines: Engines) -> impl Iterator<Item = Note> {
    let gets_code = |id| {
        let mut steps = plan.prepare.iter();
        steps.any(|step| matches!(step, Prepare::PinCode { member, .. } if *member == id))
    };
    plan.next.iter().flat_map(move |chain| {
        chain.members.iter().filter_map(move |member| {
            let reason = chain.tail_call_reason(member, engines)?;
            gets_code(member.id).then(|| Note::RunsByTailCall {
                member: member.name.clone(),
                reason: translate::engine_reason(reason).into(),
            })
        })
    })
}

/// Names the members that are in the way of large packets: the kernel only says ERANGE.
pub(super) fn explained(error: KernelError, plan: &Plan) -> KernelError {
    let Some(members) = in_the_way(&error, plan) else {
        return error;
    };
    KernelError {
        subject: format!(
            "{}: its packets may have several buffers, and these members don't take such packets \
             (section xdp.frags): {}",
            error.subject,
            members.join(", "),
        ),
        ..error
    }
}

/// The members that are the reason for an ERANGE, which means that packets are too large for the
/// root.
fn in_the_way(error: &KernelError, plan: &Plan) -> Option<Vec<String>> {
    let members = plan.next.iter().flat_map(|chain| &chain.members);
    let plain: Vec<String> = members
        .filter(|member| !member.abilities.frags)
        .map(|member| member.name.clone())
        .collect();
    let is_range = error.source.raw_os_error() == Some(nix::errno::Errno::ERANGE as i32);
    (is_range && !plain.is_empty()).then_some(plain)
}

/// Why a chain is in generic mode, after this error in native mode.
pub(super) fn generic_instead(error: &KernelError, plan: &Plan) -> Note {
    let interface = plan.interface.clone();
    match in_the_way(error, plan) {
        Some(members) => Note::NoNativeFrags { interface, members },
        None => Note::NoNativeMode {
            interface,
            error: error.source.to_string(),
        },
    }
}
