//! Per-slot verdict counters.

use core::ptr;

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use dispatcher_abi::{COUNTS, Count, Counters};

use crate::SLOTS;

#[btf_map]
static COUNTERS: PerCpuArray<Counters<SLOTS>, 1> = PerCpuArray::new();

/// Where a walk counts: looked up once a packet, or null.
#[derive(Clone, Copy)]
pub(crate) struct Tally(*mut u64);

impl Tally {
    /// Counts nothing, and costs nothing.
    pub(crate) const OFF: Self = Self(ptr::null_mut());

    /// This CPU's counters.
    #[inline(always)]
    pub(crate) fn of_this_cpu() -> Option<Self> {
        let counters = COUNTERS.get_ptr_mut(0)?;
        Some(Self(counters.cast()))
    }

    /// Counts a packet in a slot. `count` is the index of a [`Count`]: an integer, since a match
    /// on the enum costs branches.
    #[inline(always)]
    pub(crate) fn add(self, slot: usize, count: usize) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: `slot < SLOTS` and `count < COUNTS`, so this is within the element; XDP programs
        // run with preemption off, so nobody else writes this CPU's element.
        unsafe { *self.0.add(slot * COUNTS + count) += 1 };
    }
}

const _: () = assert!(size_of::<Counters<SLOTS>>() == SLOTS * COUNTS * size_of::<u64>());
const _: () = assert!(Count::Overruled as usize == COUNTS - 1);
