//! What a failed system call means for a change, and what is tried instead.

use dispatcher_abi::ModeChoice;

use crate::{Change, Commit, Engines, Obstacle, Plan, Prepare};

/// What a failed step means for the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The interface can't run XDP in this mode.
    Mode,
    /// Packets of the interface may be larger than what the root takes (`ERANGE`): they may have
    /// several buffers, or the driver has a limit of its own.
    Large,
    /// The hook holds a program that isn't ours, or another one than expected.
    Busy,
    /// The interface or its namespace is gone, or somebody detached our link.
    Gone,
    /// Everything else.
    Failed,
}

/// Something that a requester should know beside what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A member that got new code runs by tail call though freplace was possible.
    ByTailCall {
        /// The member's name.
        member: String,
        /// What is in the way.
        obstacle: Obstacle,
    },
    /// The chain runs in generic mode, since native mode was refused.
    Generic {
        /// The interface.
        interface: String,
        /// What the kernel said of native mode.
        errno: i32,
        /// Members that don't take packets of several buffers, if they are the reason.
        in_the_way: Vec<String>,
    },
    /// An object can't be kept: what would load its member again will be refused.
    NotKept {
        /// What the file system said.
        errno: i32,
    },
}

/// The change to try instead of one whose commit failed: a chain that would have been made in native
/// mode, and may be in any, is made in generic mode.
pub fn instead(
    change: &Change,
    plan: &Plan,
    kind: FailureKind,
    errno: i32,
) -> Option<(Change, Note)> {
    let is_first = matches!(plan.commit, Commit::Attach { .. });
    let is_mode = matches!(kind, FailureKind::Mode | FailureKind::Large);
    let may_be_any = change.modes().all(|mode| mode == ModeChoice::Auto);
    (is_first && is_mode && may_be_any).then(|| {
        let change = Change {
            mode: Some(ModeChoice::Generic),
            ..change.clone()
        };
        let note = Note::Generic {
            interface: plan.interface.clone(),
            errno,
            in_the_way: in_the_way(plan, kind),
        };
        (change, note)
    })
}

/// The members that are the reason why packets are too large for a plan's root.
pub fn in_the_way(plan: &Plan, kind: FailureKind) -> Vec<String> {
    if kind != FailureKind::Large {
        return Vec::new();
    }
    let members = plan.next.iter().flat_map(|chain| &chain.members);
    members
        .filter(|member| !member.abilities.frags)
        .map(|member| member.name.clone())
        .collect()
}

/// The members that got new code and run by tail call though freplace was possible.
pub fn by_tail_call(plan: &Plan, engines: Engines) -> Vec<Note> {
    let gets_code = |id| {
        let mut steps = plan.prepare.iter();
        steps.any(|step| matches!(step, Prepare::PinCode { member, .. } if *member == id))
    };
    let chains = plan.next.iter();
    chains
        .flat_map(|chain| chain.members.iter().map(move |member| (chain, member)))
        .filter(|(_, member)| gets_code(member.id))
        .filter_map(|(chain, member)| {
            Some(Note::ByTailCall {
                member: member.name.clone(),
                obstacle: chain.tail_call_reason(member, engines)?,
            })
        })
        .collect()
}
