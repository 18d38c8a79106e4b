//! What roots have to do, said apart from how they do it; and random chains to try.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::PerCpuArray;
use aya::programs::Xdp;
use aya::{Ebpf, Pod};
use dispatcher_abi::{COUNTERS_MAP, COUNTS, Count, Counters, MISSED, RootConfig, SlotConfig};
use libbpf_sys as bpf;

pub(crate) const ABORTED: u32 = 0;
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const REDIRECT: u32 = 4;
pub(crate) const NO_OPINION: u32 = 31;

/// Each verdict, the values around their edges, and some that no driver knows.
pub(crate) const VALUES: [u32; 14] = [
    ABORTED,
    DROP,
    PASS,
    3,
    REDIRECT,
    5,
    30,
    NO_OPINION,
    32,
    200,
    255,
    1 << 31,
    u32::MAX,
    MISSED,
];

/// What design and documentation say of a chain, as plainly as possible: a value is `None` where
/// the slot's entry is empty.
pub(crate) fn oracle<const N: usize>(
    config: &RootConfig<N>,
    values: &[Option<u32>],
    counts: &mut Counts<N>,
) -> u32 {
    let mut last = PASS;
    for (slot, value) in values.iter().enumerate() {
        let SlotConfig {
            chain_call,
            allowed,
            on_miss_continue,
            ..
        } = config.slots[slot];
        let mut count = |count: Count| counts[slot][count as usize] += 1;
        let Some(value) = value.filter(|value| *value != MISSED) else {
            count(Count::Missed);
            if on_miss_continue == 1 {
                continue;
            }
            return ABORTED;
        };
        if value == NO_OPINION {
            count(Count::Continue);
            continue;
        }
        let bit = if value <= REDIRECT { value } else { 6 };
        if allowed >> bit & 1 == 0 {
            count(Count::Overruled);
            continue;
        }
        count(Count::ALL[bit as usize]);
        last = value;
        if value > REDIRECT || chain_call >> bit & 1 == 0 {
            return value;
        }
    }
    if config.final_verdict == 1 {
        last
    } else {
        PASS
    }
}

/// What every slot counted.
pub(crate) type Counts<const N: usize> = [[u64; COUNTS]; N];

/// A chain of these slots, with counters and final verdict PASS.
pub(crate) fn chain<const N: usize>(slots: &[SlotConfig]) -> RootConfig<N> {
    let mut config = RootConfig::EMPTY;
    config.slot_count = u32::try_from(slots.len()).expect("at most 128");
    config.counters = 1;
    config.slots[..slots.len()].copy_from_slice(slots);
    config
}

/// Every slot's counts, summed over the CPUs.
pub(crate) fn counts<const N: usize>(object: &Ebpf) -> Counts<N> {
    let map = object.map(COUNTERS_MAP).expect("the map exists");
    let counters: PerCpuArray<_, CounterBytes<N>> = map.try_into().expect("a per-CPU array");
    let mut counts = [[0; COUNTS]; N];
    for cpu in counters.get(&0, 0).expect("element 0 exists").iter() {
        for (sum, slot) in counts.iter_mut().zip(&cpu.0.slots) {
            for (sum, count) in sum.iter_mut().zip(slot.counts) {
                *sum += count;
            }
        }
    }
    counts
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct CounterBytes<const N: usize>(Counters<N>);
// SAFETY: integers without padding between them.
unsafe impl<const N: usize> Pod for CounterBytes<N> {}

/// The root of this name.
pub(crate) fn root_program<'a>(object: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    let program = object.program_mut(name).expect("the object has the root");
    program.try_into().expect("the root is an XDP program")
}

/// The verdict on one packet.
pub(crate) fn run_once(program: &Xdp) -> u32 {
    let packet = [0_u8; 64];
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as u64,
        data_in: packet.as_ptr().cast(),
        data_size_in: 64,
        repeat: 1,
        ..Default::default()
    };
    let program = program
        .fd()
        .expect("the root is loaded")
        .as_fd()
        .as_raw_fd();
    // SAFETY: `options` and `packet` live until the call returns.
    let result = unsafe { bpf::bpf_prog_test_run_opts(program, &raw mut options) };
    assert_eq!(result, 0, "the test run failed");
    options.retval
}

/// Xorshift: the same chains every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).expect("32 bits") % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A slot that chains on and allows more often than not.
    pub(crate) fn slot(&mut self) -> SlotConfig {
        SlotConfig {
            chain_call: self.byte() | self.byte(),
            allowed: self.byte() | self.byte(),
            on_miss_continue: self.byte() & 1,
            next_stop: 0,
        }
    }

    /// Random settings for a chain.
    pub(crate) fn settings<const N: usize>(&mut self, mut config: RootConfig<N>) -> RootConfig<N> {
        config.counters = self.byte() & 1;
        config.final_verdict = self.byte() & 1;
        config
    }

    /// Mostly a value after which the next slot runs, sometimes any, sometimes an empty slot.
    pub(crate) fn value(&mut self, slot: SlotConfig) -> Option<u32> {
        match self.below(16) {
            0 => VALUES.get(self.below(VALUES.len() + 1)).copied(),
            1 if slot.on_miss_continue == 1 => None,
            2..=4 => Some(NO_OPINION),
            _ => (0..=REDIRECT)
                .rev()
                .filter(|value| slot.chain_call >> value & 1 == 1)
                .nth(self.below(3))
                .or(Some(NO_OPINION)),
        }
    }
}
