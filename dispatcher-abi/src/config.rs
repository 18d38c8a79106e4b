//! What a root program is told before it is loaded.

use core::mem::offset_of;

/// The read-only global that steers the root's walk, set before load and frozen, so that the
/// verifier knows every value in it and removes the branches that can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RootConfig<const SLOTS: usize> {
    /// Occupied slots: slots `0..slot_count` run, in this order. At most `SLOTS`.
    pub slot_count: u32,
    /// 1 if every slot has [`SlotConfig::PLAIN`]: the walk then needs no masks.
    pub all_plain: u8,
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
    /// Verdicts after which the next slot runs: the bits of a [`VerdictMask`](crate::VerdictMask).
    pub chain_call: u8,
    /// Verdicts the member may decide: the bits of a [`VerdictMask`](crate::VerdictMask).
    pub allowed: u8,
    /// 1 if the next slot runs when this one's member did not; 0 if the chain then ends with
    /// ABORTED.
    pub on_miss_continue: u8,
    /// Zero.
    pub reserved: u8,
}

impl SlotConfig {
    /// The defaults: chain on after PASS, everything allowed, a miss ends the chain.
    pub const PLAIN: Self = Self {
        chain_call: crate::VerdictMask::PASS.bits(),
        allowed: crate::VerdictMask::ALL.bits(),
        on_miss_continue: 0,
        reserved: 0,
    };
}

impl<const SLOTS: usize> RootConfig<SLOTS> {
    /// A root with no occupied slot: every packet passes.
    pub const EMPTY: Self = Self {
        slot_count: 0,
        all_plain: 0,
        counters: 0,
        final_verdict: 0,
        reserved: 0,
        slots: [SlotConfig {
            chain_call: 0,
            allowed: 0,
            on_miss_continue: 0,
            reserved: 0,
        }; SLOTS],
    };

    /// The bytes that go into the root's read-only data: the struct as it lies in memory.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        let head = [
            self.all_plain,
            self.counters,
            self.final_verdict,
            self.reserved,
        ];
        let slots = self.slots.into_iter().flat_map(|slot| {
            [
                slot.chain_call,
                slot.allowed,
                slot.on_miss_continue,
                slot.reserved,
            ]
        });
        self.slot_count
            .to_ne_bytes()
            .into_iter()
            .chain(head)
            .chain(slots)
    }
}

const _: () = assert!(size_of::<SlotConfig>() == 4);
const _: () = assert!(size_of::<RootConfig<{ crate::SLOTS }>>() == 8 + 4 * crate::SLOTS);
const _: () = assert!(offset_of!(RootConfig<32>, all_plain) == 4);
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
}
