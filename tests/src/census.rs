//! What the host's kernel holds.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::deadline::wait_until;
use crate::sys::{self, Kind};

/// Every program, map and link on the host. Meaningful only while no other test runs: see
/// [`alone`](crate::alone()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// Ids of programs.
    pub programs: BTreeSet<u32>,
    /// Ids of maps.
    pub maps: BTreeSet<u32>,
    /// Ids of links.
    pub links: BTreeSet<u32>,
}

/// The kernel frees programs and maps after a grace period, from a work queue.
const FREED_WITHIN: Duration = Duration::from_secs(10);

impl Census {
    /// What is there now.
    pub fn take() -> Self {
        Self {
            programs: sys::ids(Kind::Program),
            maps: sys::ids(Kind::Map),
            links: sys::ids(Kind::Link),
        }
    }

    /// Waits until nothing is there that wasn't there at this census.
    pub fn wait_until_nothing_more(&self) {
        let mut now = Self::take();
        let more = |now: &Self| {
            let count = |now: &BTreeSet<u32>, then: &BTreeSet<u32>| now.difference(then).count();
            count(&now.programs, &self.programs)
                + count(&now.maps, &self.maps)
                + count(&now.links, &self.links)
        };
        wait_until(
            "every program, map and link that was made is freed",
            FREED_WITHIN,
            || {
                now = Self::take();
                more(&now) == 0
            },
        );
    }
}
