//! What makes the pins of a running chain whole, and when it is tried again.

use crate::{Build, Chain, CodeId, MemberId, Moment, Slot};

/// How long nothing is mended of a chain after a step of it failed, in milliseconds. What is wrong
/// with pins matters to the next daemon: packets don't wait for it.
pub const MEND_AGAIN_MS: u32 = 30_000;

/// A step that makes the pins of a running chain whole. Packets don't see it, but for
/// [`Mend::FillSlot`], which lets a member run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Puts a link that was attached in its place.
    PlaceLink,
    /// Removes a link that was to be put in its place and holds no hook.
    DropNextLink,
    /// Removes a registry that was written and never put in its place: that change is void.
    DropNextRegistry {
        /// Its build.
        build: Build,
    },
    /// Removes totals that were written and never put in their place.
    DropNextTotals {
        /// Their member.
        member: MemberId,
    },
    /// Makes totals for a member whose own are gone, beginning with zero.
    NewTotals {
        /// The member.
        member: MemberId,
    },
    /// Pins again what was found in the kernel without its pin.
    Repin,
    /// Puts a member back into its slot of the live build's program array, which was emptied when
    /// its last pin went.
    FillSlot {
        /// The live build.
        build: Build,
        /// The slot.
        slot: Slot,
        /// The member.
        member: MemberId,
        /// Its code.
        code: CodeId,
    },
}

/// What could not be mended of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mends {
    /// When it is tried again.
    pub again: Moment,
    /// The steps, in order.
    pub steps: Vec<Mend>,
}

impl Mend {
    /// Whether the chain as it is now still lacks this: a change may have done without it.
    pub(crate) fn concerns(self, chain: &Chain) -> bool {
        let has = |id| chain.member_by_id(id);
        match self {
            Self::PlaceLink | Self::DropNextLink | Self::Repin => true,
            Self::DropNextRegistry { build } => chain.build == build,
            Self::DropNextTotals { member } | Self::NewTotals { member } => has(member).is_some(),
            Self::FillSlot {
                build,
                slot,
                member,
                code,
            } => {
                let runs = chain.slots().find(|(at, _)| *at == slot);
                let runs = runs.map(|(_, runs)| (chain.build, runs.id, runs.code));
                runs == Some((build, member, code))
            }
        }
    }
}
