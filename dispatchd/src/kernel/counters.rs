//! Verdict counts: what a live build has counted, and each member's pinned total.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dispatcher_abi::{COUNTS, SlotCounters};
use planner::Build;

use crate::bpf::{self, MapExtras, NO_PREALLOC, Shape};

/// A member's counts in builds that no longer run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last build that was added.
    pub folded: u64,
    /// The counts.
    pub counts: SlotCounters,
}

/// `folded`, then the counts.
const TOTALS_BYTES: usize = 8 * (1 + COUNTS);
const _: () = assert!(TOTALS_BYTES == 80);

/// Makes a member's totals: a hash map with one element, since updating a hash map's element puts
/// a new one in its place, so that a crash leaves the old totals or the new ones, never a mixture.
pub(super) fn totals_create() -> io::Result<OwnedFd> {
    let shape = Shape {
        map_type: libbpf_sys::BPF_MAP_TYPE_HASH,
        key_size: 4,
        value_size: 80,
        max_entries: 1,
        flags: NO_PREALLOC,
    };
    let map = bpf::map_create(c"totals", &shape, MapExtras::default())?;
    totals_write(map.as_fd(), &Totals::default())?;
    Ok(map)
}

pub(super) fn totals_read(map: BorrowedFd<'_>) -> io::Result<Totals> {
    let mut bytes = [0; TOTALS_BYTES];
    bpf::map_lookup(map, 0, &mut bytes)?;
    let mut words = words(&bytes);
    let folded = words.next().unwrap_or_default();
    let mut counts = SlotCounters::default();
    for (count, word) in counts.counts.iter_mut().zip(words) {
        *count = word;
    }
    Ok(Totals { folded, counts })
}

fn totals_write(map: BorrowedFd<'_>, totals: &Totals) -> io::Result<()> {
    let bytes: Vec<u8> = std::iter::once(totals.folded)
        .chain(totals.counts.counts)
        .flat_map(u64::to_ne_bytes)
        .collect();
    bpf::map_update(map, 0, &bytes)
}

/// Adds what a build counted to a member's totals, unless that was done before.
pub(super) fn fold(
    map: BorrowedFd<'_>,
    build: Build,
    counted: &SlotCounters,
) -> io::Result<Totals> {
    let mut totals = totals_read(map)?;
    if totals.folded < build.0 {
        totals.folded = build.0;
        totals.counts.add(counted);
        totals_write(map, &totals)?;
    }
    Ok(totals)
}

/// Reads a build's counters: every slot, summed over the CPUs.
pub(super) fn read(map: BorrowedFd<'_>) -> io::Result<Vec<SlotCounters>> {
    // As many slots as its root has.
    let bytes_per_cpu = bpf::map_info(map)?.shape.value_size as usize;
    let mut bytes = vec![0; bytes_per_cpu * bpf::possible_cpus()?];
    bpf::map_lookup(map, 0, &mut bytes)?;
    let mut slots = vec![SlotCounters::default(); bytes_per_cpu / size_of::<SlotCounters>()];
    for cpu in bytes.chunks_exact(bytes_per_cpu) {
        let mut words = words(cpu);
        for slot in &mut slots {
            for count in &mut slot.counts {
                *count = count.wrapping_add(words.next().unwrap_or_default());
            }
        }
    }
    Ok(slots)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    })
}
