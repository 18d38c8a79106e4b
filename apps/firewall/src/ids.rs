//! Ids of entries: none has two meanings for any packet.

use std::ops::Range;

/// Ids that are free, and those that packets may still be counted under.
#[derive(Debug)]
pub(crate) struct Ids {
    /// Those that never were used.
    fresh: Range<u32>,
    /// Those that were, and that no packet is judged by any more.
    free: Vec<u32>,
    /// Those that packets on their way may still be judged by.
    resting: Vec<u32>,
}

impl Ids {
    pub(crate) fn new(ids: Range<u32>) -> Self {
        Self {
            fresh: ids,
            free: Vec::new(),
            resting: Vec::new(),
        }
    }

    /// How many can be taken now.
    pub(crate) fn left(&self) -> usize {
        self.fresh.len() + self.free.len()
    }

    /// How many more there are when all packets on their way are through.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| self.fresh.next())
    }

    /// Gives back one that packets may still be judged by.
    pub(crate) fn rest(&mut self, id: u32) {
        self.resting.push(id);
    }

    /// Those that rested, when all packets that were on their way are through.
    pub(crate) fn take_rested(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.resting)
    }

    /// Gives back those that no packet is judged by any more.
    pub(crate) fn free(&mut self, ids: Vec<u32>) {
        self.free.extend(ids);
    }
}
