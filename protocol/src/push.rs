//! News for a client that subscribed: something happened.

use serde::{Deserialize, Serialize};

use crate::{HookProgram, Open, Unreadable, Variants};

/// Something that happened to a chain. It travels in a [`Reply`](crate::Reply) with id 0, between
/// the answers, as [`Open`]: a client skips what it doesn't know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// A chain is at another revision.
    Changed {
        /// The chain.
        chain: ChainName,
        /// The revision.
        revision: u64,
        /// The build that runs.
        build: u64,
    },
    /// A chain is gone.
    Gone {
        /// The chain.
        chain: ChainName,
    },
    /// A member left its chain without its client's asking.
    MemberGone {
        /// The chain.
        chain: ChainName,
        /// The member's id.
        member: u64,
        /// The member's name.
        name: String,
        /// What removed it.
        why: GoneWhy,
    },
    /// A chain is not on its hook any more.
    Waiting {
        /// The chain.
        chain: ChainName,
        /// What the hook runs instead, if anything.
        hook_program: Option<HookProgram>,
    },
    /// A chain is on its hook again.
    Attached {
        /// The chain.
        chain: ChainName,
    },
    /// A chain can't be read any more.
    Unreadable {
        /// The chain.
        chain: ChainName,
        /// What is wrong with its pins.
        why: Open<Unreadable>,
    },
    /// The client was too slow: pushes were dropped here, and this many.
    Lost {
        /// How many.
        count: u64,
    },
}

impl Variants for Push {
    const COUNT: u32 = 7;
}

/// A chain in a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainName {
    /// Its own id; `None` if it can't be read.
    pub id: Option<u64>,
    /// Its interface's name.
    pub interface: String,
    /// Its interface's index; 0 if the interface is not there.
    pub ifindex: u32,
}

/// Why a member left its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoneWhy {
    /// Somebody removed it.
    Removed,
    /// Its client didn't come back in time.
    Expired,
    /// Its interface is gone.
    InterfaceGone,
}
