//! What dispatchers are told.

use dispatcher_abi::{RootConfig, SlotConfig, Verdict, VerdictMask};

use super::{Masks, Settings};

/// Our root's configuration.
pub(super) fn ours<const N: usize>(slots: usize, settings: Settings) -> Vec<u8> {
    let others = [Verdict::Drop, Verdict::Tx, Verdict::Redirect];
    let mut config = RootConfig::<N>::EMPTY;
    config.counters = u8::from(settings.counters);
    for (slot, other) in config.slots[..slots].iter_mut().zip(others.iter().cycle()) {
        config.slot_count += 1;
        *slot = SlotConfig::PLAIN;
        if settings.masks == Masks::Mixed {
            slot.chain_call = VerdictMask::of(&[Verdict::Pass, *other]).bits();
        }
    }
    config.bytes().collect()
}

/// libxdp's `struct xdp_dispatcher_config`: a head of four bytes and three arrays of ten words.
pub(super) fn libxdp(slots: usize) -> Vec<u8> {
    const MAGIC: u8 = 236;
    const VERSION: u8 = 2;
    const SLOTS_MAX: usize = 10;
    const PRIORITY: u32 = 50;
    let enabled = u8::try_from(slots).expect("ten at most");
    let array = |value: u32| {
        (0..SLOTS_MAX).flat_map(move |slot| if slot < slots { value } else { 0 }.to_ne_bytes())
    };
    [MAGIC, VERSION, enabled, 0]
        .into_iter()
        .chain(array(1 << Verdict::Pass as u32))
        .chain(array(PRIORITY))
        .chain(array(0))
        .collect()
}
