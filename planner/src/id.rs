//! Names for things. The planner hands them out; whoever carries jobs out maps them to the kernel's own ids.

use std::fmt;

/// Where a chain is: an interface index in a network namespace.
///
/// Two namespaces have equal interface indexes, and a namespace's inode is reused; its cookie
/// (`SO_NETNS_COOKIE`, Linux 5.14) is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// The namespace's cookie.
    pub netns: u64,
    /// The interface's index in it.
    pub ifindex: u32,
}

/// `<netns cookie>-<ifindex>`, as in the pins.
impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.netns, self.ifindex)
    }
}

/// An interface that was found in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its chain's identity.
    pub key: ChainKey,
    /// Its name, when it was looked up.
    pub name: String,
    /// The namespace's name under `/run/netns`, if it has one.
    pub netns_name: Option<String>,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty),)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

numbers! {
    /// A chain's number, its own for as long as it lasts: its [`ChainKey`] may change under it.
    ChainId(u64),
    /// A change of a chain that somebody asked for: 1 is the first, 0 means there is no chain.
    Revision(u64),
    /// One root that was built for a chain: 1 is the first, 0 means there is none. A number is used
    /// once for as long as the chain's pins last, also by a build that failed.
    Build(u64),
    /// A member, never reused while the daemon's pins last.
    MemberId(u64),
    /// A member's code: 1 is what it was registered with, each replacement adds one.
    CodeId(u32),
    /// A position in the root, 0 first.
    Slot(u16),
    /// A program that the loader holds ready.
    LoadId(u64),
    /// A client's connection; 0 is nobody's.
    ConnectionId(u64),
}

/// SHA-256 of an object.
pub type Digest = [u8; 32];
