//! The kinds of chains that are compared.

use std::fmt;

use dispatcher_abi::{EXT_SLOTS, SLOTS};
use serde::{Deserialize, Serialize};

/// Where Debian's libxdp has its dispatcher.
pub(super) const DEBIAN_LIBXDP: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdp-dispatcher.o";
/// Where a virtual machine has the current libxdp's.
pub(crate) const CURRENT_LIBXDP: &str = "/usr/local/lib/libxdp-current.o";

/// What runs the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Nothing: one program and no chain.
    Bare,
    /// A program that calls functions of its own: what any chain costs at least.
    Calls,
    /// Our root that can't tail-call; members replace its slots' functions.
    Extensions(Settings),
    /// Our root that can tail-call; members replace its slots' functions all the same.
    Replaced(Settings),
    /// Our root that can tail-call, and does.
    TailCalls(Settings),
    /// The dispatcher of Debian's libxdp.
    DebianLibxdp,
    /// That of the current one.
    CurrentLibxdp,
}

/// How our root is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) counters: bool,
    pub(crate) masks: Masks,
}

/// The members' chain-call actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Masks {
    /// PASS for all.
    Pass,
    /// PASS and something else, different from neighbour to neighbour.
    Mixed,
}

impl Settings {
    pub(crate) const PLAIN: Self = Self {
        counters: false,
        masks: Masks::Pass,
    };
    pub(crate) const COUNTED: Self = Self {
        counters: true,
        masks: Masks::Pass,
    };
    pub(crate) const MIXED_COUNTED: Self = Self {
        counters: true,
        masks: Masks::Mixed,
    };
}

impl Kind {
    /// How many slots such a chain has at most.
    pub(crate) fn slots_max(self) -> usize {
        match self {
            Self::Bare | Self::Calls => usize::MAX,
            Self::Extensions(_) => EXT_SLOTS[0],
            Self::Replaced(_) | Self::TailCalls(_) => SLOTS,
            Self::DebianLibxdp | Self::CurrentLibxdp => 10,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.write_str("one program, no chain"),
            Self::Calls => f.write_str("plain calls"),
            Self::Extensions(settings) => write!(f, "ours, freplace{settings}"),
            Self::Replaced(settings) => write!(f, "ours, freplace in the mixed root{settings}"),
            Self::TailCalls(settings) => write!(f, "ours, tail calls{settings}"),
            Self::DebianLibxdp => f.write_str("libxdp of Debian"),
            Self::CurrentLibxdp => f.write_str("libxdp 1.6.0"),
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counters {
            f.write_str(", counters")?;
        }
        match self.masks {
            Masks::Pass => Ok(()),
            Masks::Mixed => f.write_str(", mixed masks"),
        }
    }
}
