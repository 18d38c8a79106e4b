//! What a root program is told before it is loaded.

use core::mem::offset_of;

use crate::{Verdict, VerdictMask};

/// The read-only global that steers the root's walk, set before load and frozen, so that the
/// verifier knows every value in it and removes the branches that can't be taken.
///
/// The *stops* are where the walk has to look what comes next; between them a slot whose member
/// says PASS is left without a look at its configuration. A stop is a slot whose PASS ends the
/// chain or is overruled, or the end of the chain; if the last verdict is the chain's, every slot
/// is one. [`Self::bytes`] finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RootConfig<const SLOTS: usize> {
    /// Occupied slots: slots `0..slot_count` run, in this order. At most `SLOTS`.
    pub slot_count: u32,
    /// The first stop, in [`Self::bytes`]; zero elsewhere.
    pub first_stop: u8,
    /// 1 if verdicts are counted for each slot.
    pub counters: u8,
    /// What the chain returns when every slot chained on: 0 PASS, 1 the last verdict that was not
    /// "no opinion" (PASS if none).
    pub final_verdict: u8,
    /// Zero.
    pub reserved: u8,
    /// One for each slot; those from `slot_count` on are zero.
    pub slots: [SlotConfig; SLOTS],
}

/// How the root treats one slot's verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlotConfig {
    /// Verdicts after which the next slot runs: the bits of a [`VerdictMask`].
    pub chain_call: u8,
    /// Verdicts the member may decide: the bits of a [`VerdictMask`].
    pub allowed: u8,
    /// 1 if the next slot runs when this one's member did not; 0 if the chain then ends with
    /// ABORTED.
    pub on_miss_continue: u8,
    /// The first stop behind this slot, in [`RootConfig::bytes`]; zero elsewhere.
    pub next_stop: u8,
}

impl SlotConfig {
    /// The defaults: chain on after PASS, everything allowed, a miss ends the chain.
    pub const PLAIN: Self = Self {
        chain_call: VerdictMask::PASS.bits(),
        allowed: VerdictMask::ALL.bits(),
        on_miss_continue: 0,
        next_stop: 0,
    };

    /// Whether PASS is allowed and runs the next slot.
    const fn chains_on_pass(&self) -> bool {
        let pass = 1 << Verdict::Pass as u8;
        self.chain_call & self.allowed & pass != 0
    }
}

impl<const SLOTS: usize> RootConfig<SLOTS> {
    /// A root with no occupied slot: every packet passes.
    pub const EMPTY: Self = Self {
        slot_count: 0,
        first_stop: 0,
        counters: 0,
        final_verdict: 0,
        reserved: 0,
        slots: [SlotConfig {
            chain_call: 0,
            allowed: 0,
            on_miss_continue: 0,
            next_stop: 0,
        }; SLOTS],
    };

    /// The bytes that go into the root's read-only data: the struct as it lies in memory, with its
    /// stops.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<SLOTS> {
        let config = self.with_stops();
        let head = [
            config.first_stop,
            config.counters,
            config.final_verdict,
            config.reserved,
        ];
        let slots = config.slots.into_iter().flat_map(|slot| {
            [
                slot.chain_call,
                slot.allowed,
                slot.on_miss_continue,
                slot.next_stop,
            ]
        });
        config
            .slot_count
            .to_ne_bytes()
            .into_iter()
            .chain(head)
            .chain(slots)
    }

    fn with_stops(mut self) -> Self {
        let occupied = self.slots.iter_mut().zip(0..self.slot_count);
        self.first_stop = self.slot_count.to_le_bytes()[0];
        for (slot, index) in occupied.rev() {
            slot.next_stop = self.first_stop;
            if self.final_verdict != 0 || !slot.chains_on_pass() {
                self.first_stop = index.to_le_bytes()[0];
            }
        }
        self
    }
}

const _: () = assert!(size_of::<SlotConfig>() == 4);
const _: () = assert!(size_of::<RootConfig<{ crate::SLOTS }>>() == 8 + 4 * crate::SLOTS);
const _: () = assert!(offset_of!(RootConfig<32>, first_stop) == 4);
const _: () = assert!(offset_of!(RootConfig<32>, counters) == 5);
const _: () = assert!(offset_of!(RootConfig<32>, final_verdict) == 6);
const _: () = assert!(offset_of!(RootConfig<32>, slots) == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_many_as_the_struct_has() {
        assert_eq!(
            RootConfig::<32>::EMPTY.bytes().count(),
            size_of::<RootConfig<32>>()
        );
    }

    #[test]
    fn every_stop_names_the_next() {
        let pass_ends = SlotConfig {
            chain_call: VerdictMask::NONE.bits(),
            ..SlotConfig::PLAIN
        };
        let pass_is_overruled = SlotConfig {
            allowed: VerdictMask::NONE.bits(),
            ..SlotConfig::PLAIN
        };
        let mut config = RootConfig::<8>::EMPTY;
        let slots = [
            SlotConfig::PLAIN,
            pass_ends,
            SlotConfig::PLAIN,
            pass_is_overruled,
            SlotConfig::PLAIN,
        ];
        config.slot_count = 5;
        config.slots[..5].copy_from_slice(&slots);
        let stops = |config: RootConfig<8>| {
            let next_stops = config.bytes().skip(8 + 3).step_by(4);
            config.bytes().skip(4).take(1).chain(next_stops)
        };
        assert!(stops(config).eq([1, 1, 3, 3, 5, 5, 0, 0, 0]));
        config.final_verdict = 1;
        assert!(stops(config).eq([0, 1, 2, 3, 4, 5, 0, 0, 0]));
    }
}
