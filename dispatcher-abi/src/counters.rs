//! What is counted for each slot.

use crate::Verdict;

/// How many counts a slot keeps.
pub const COUNTS: usize = 9;

/// What became of one packet in one slot. Every packet that reaches an occupied slot is counted
/// once, so a slot's counts add up to the packets it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Count {
    /// The member said ABORTED, and was allowed to.
    Aborted = 0,
    /// DROP.
    Drop = 1,
    /// PASS.
    Pass = 2,
    /// TX.
    Tx = 3,
    /// REDIRECT.
    Redirect = 4,
    /// "No opinion", 31.
    Continue = 5,
    /// Any other value.
    Other = 6,
    /// The slot is occupied and its member did not run.
    Missed = 7,
    /// The member said what it may not, and was treated as having no opinion.
    Overruled = 8,
}

impl Count {
    /// Every count, in the order of a [`SlotCounters`].
    pub const ALL: [Self; COUNTS] = [
        Self::Aborted,
        Self::Drop,
        Self::Pass,
        Self::Tx,
        Self::Redirect,
        Self::Continue,
        Self::Other,
        Self::Missed,
        Self::Overruled,
    ];

    /// The count of a verdict that was allowed.
    pub const fn of(verdict: Verdict) -> Self {
        Self::ALL[verdict as usize]
    }

    /// The count's word in JSON and in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Tx => "tx",
            Self::Redirect => "redirect",
            Self::Continue => "continue",
            Self::Other => "other",
            Self::Missed => "missed",
            Self::Overruled => "overruled",
        }
    }
}

/// The packets that one slot saw, by what became of them: indexed by [`Count`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(C)]
pub struct SlotCounters {
    /// One count of packets for each [`Count`], in the order of [`Count::ALL`].
    pub counts: [u64; COUNTS],
}

impl SlotCounters {
    /// The count of one kind.
    pub const fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// All packets that reached the slot.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another slot's counts (or another CPU's) to these.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.wrapping_add(more);
        }
    }
}

/// The one element of the per-CPU counters array: every slot of the root.
///
/// A per-CPU value may be 32 KiB (`PCPU_MIN_UNIT_SIZE`); 128 slots take 9 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters<const SLOTS: usize> {
    /// Slot 0 first.
    pub slots: [SlotCounters; SLOTS],
}

const _: () = assert!(size_of::<SlotCounters>() == 72);
const _: () = assert!(size_of::<Counters<{ crate::SLOTS }>>() == 2304);
const _: () = assert!(size_of::<Counters<128>>() <= 32 << 10);
