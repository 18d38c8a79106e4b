//! Which things happened shortly after which others, at the same interface.

use std::collections::BTreeMap;

use planner::ChainKey;

use super::world::World;

/// Something that happens to an interface's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Request,
    Reply,
    Gone,
    Reclaim,
    Expiry,
    News,
    Look,
    Drained,
    Crash,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Request,
        Self::Reply,
        Self::Gone,
        Self::Reclaim,
        Self::Expiry,
        Self::News,
        Self::Look,
        Self::Drained,
        Self::Crash,
    ];
}

/// How many of the last things at an interface count as shortly before.
const SHORTLY: usize = 4;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    last: BTreeMap<ChainKey, Vec<Kind>>,
    /// How often the first was shortly before the second.
    pub(super) counts: BTreeMap<(Kind, Kind), u64>,
}

impl Orders {
    pub(super) fn saw(&mut self, site: ChainKey, kind: Kind) {
        let last = self.last.entry(site).or_default();
        for before in &*last {
            *self.counts.entry((*before, kind)).or_default() += 1;
        }
        if last.len() == SHORTLY {
            last.remove(0);
        }
        last.push(kind);
    }

    pub(super) fn saw_everywhere(&mut self, world: &World, kind: Kind) {
        for site in world.nics.keys() {
            self.saw(*site, kind);
        }
    }

    /// Adds what another daemon saw.
    pub(super) fn add(&mut self, other: &Self) {
        for (pair, count) in &other.counts {
            *self.counts.entry(*pair).or_default() += count;
        }
    }
}
