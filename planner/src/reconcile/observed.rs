//! What a starting daemon finds, as facts.

use crate::{Build, Chain, ChainDir, CodeId, MemberId, RegistryFault, Why};

/// What is pinned and what really runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every chain that has pins.
    pub chains: Vec<ObservedChain>,
}

/// One chain's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Where its pins are.
    pub dir: ChainDir,
    /// The link in its place.
    pub link: Option<ObservedLink>,
    /// A link that was to be put there.
    pub next_link: Option<ObservedLink>,
    /// Every build that has pins.
    pub builds: Vec<ObservedBuild>,
    /// Every member that has pins.
    pub members: Vec<ObservedMember>,
    /// Names that stand for something else than they should, and calls that failed.
    pub faults: Vec<Why>,
}

/// A pinned link of the kind that holds an XDP hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedLink {
    /// The program that it runs, or ran.
    pub holds: Holds,
    /// Whether it still holds a hook: somebody may have detached it, or the interface is gone.
    pub is_attached: bool,
}

/// The program in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The root of this build.
    Build(Build),
    /// A program that is none of the pinned builds': somebody put it there.
    Unknown {
        /// The kernel's id of it.
        program_id: u32,
    },
}

/// One build's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedBuild {
    /// Which build.
    pub build: Build,
    /// What its registry says.
    pub registry: Registry,
    /// A registry was written to take that one's place.
    pub has_next_registry: bool,
    /// Its root program.
    pub root: Presence,
    /// Its program array, which roots for extensions alone don't have.
    pub jump: Presence,
    /// Its counters.
    pub counters: Presence,
}

/// One member's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedMember {
    /// Which member.
    pub member: MemberId,
    /// Its totals.
    pub totals: Presence,
    /// Totals were made to take the place of those.
    pub has_next_totals: bool,
    /// Its code, old and new.
    pub codes: Vec<ObservedCode>,
}

/// The pins of one of a member's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedCode {
    /// Which code.
    pub code: CodeId,
    /// Whether its program is pinned.
    pub has_program: bool,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is pinned.
    Pinned,
    /// It isn't pinned, and the kernel has it all the same, since the running root uses it.
    Found,
    /// It isn't there.
    Missing,
}

/// A build's registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// The chain as it was.
    Chain(Box<Chain>),
    /// Not written: the build was being built, or being freed.
    Missing,
    /// It doesn't say what the chain is.
    Unreadable(RegistryFault),
}
