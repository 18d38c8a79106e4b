//! What is pinned for a chain, by name.

use std::fmt;

use crate::{Build, CodeId, MemberId, Slot};

/// Something that is pinned for a chain, or a directory of pins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pin {
    /// The chain's directory itself.
    Chain,
    /// The link that holds the hook.
    Link,
    /// A link that was attached and isn't in its place yet.
    NextLink,
    /// A build's directory.
    Build(Build),
    /// A build's root program.
    Root(Build),
    /// A build's program array.
    Jump(Build),
    /// A build's counters.
    Counters(Build),
    /// A build's registry.
    Registry(Build),
    /// A registry that was to take the place of a build's.
    NextRegistry(Build),
    /// What holds a freplaced slot.
    Slot(Build, Slot),
    /// A member's directory.
    Member(MemberId),
    /// A member's totals.
    Totals(MemberId),
    /// Totals that were to take the place of a member's.
    NextTotals(MemberId),
    /// The directory of a member's code.
    Code(MemberId, CodeId),
    /// A member's program.
    Program(MemberId, CodeId),
    /// The directory of a member's maps.
    Maps(MemberId, CodeId),
    /// One of a member's maps, by the name of its file.
    Map(MemberId, CodeId, String),
}

/// The path below the chain's directory; `.` for that directory.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => f.write_str("."),
            Self::Link => f.write_str("link"),
            Self::NextLink => f.write_str("link-next"),
            Self::Build(build) => write!(f, "gen-{build}"),
            Self::Root(build) => write!(f, "gen-{build}/root"),
            Self::Jump(build) => write!(f, "gen-{build}/jump"),
            Self::Counters(build) => write!(f, "gen-{build}/counters"),
            Self::Registry(build) => write!(f, "gen-{build}/registry"),
            Self::NextRegistry(build) => write!(f, "gen-{build}/registry-next"),
            Self::Slot(build, slot) => write!(f, "gen-{build}/slot-{slot}"),
            Self::Member(member) => write!(f, "member-{member}"),
            Self::Totals(member) => write!(f, "member-{member}/totals"),
            Self::NextTotals(member) => write!(f, "member-{member}/totals-next"),
            Self::Code(member, code) => write!(f, "member-{member}/code-{code}"),
            Self::Program(member, code) => write!(f, "member-{member}/code-{code}/program"),
            Self::Maps(member, code) => write!(f, "member-{member}/code-{code}/maps"),
            Self::Map(member, code, file) => {
                write!(
                    f,
                    "member-{member}/code-{code}/maps/{}",
                    file.escape_debug()
                )
            }
        }
    }
}
