//! Verdict counts, of any number for each slot: another version's roots may count more or less than
//! this one's.

use std::io;
use std::os::fd::BorrowedFd;

use dispatcher_abi::{COUNTS, SlotCounters};

use crate::bpf::{self, Shape};

/// What one slot, or one member, counted: the counts that this version knows, in their order, and
/// those that it doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<u64>);

impl Counts {
    pub(super) fn new(counts: Vec<u64>) -> Self {
        Self(counts)
    }

    /// Those that this version knows; zero where there are none.
    pub(super) fn known(&self) -> SlotCounters {
        let mut known = SlotCounters::default();
        for (known, count) in known.counts.iter_mut().zip(&self.0) {
            *known = *count;
        }
        known
    }

    pub(super) fn add(&mut self, more: &Self) {
        if self.0.len() < more.0.len() {
            self.0.resize(more.0.len(), 0);
        }
        for (sum, count) in self.0.iter_mut().zip(&more.0) {
            *sum = sum.wrapping_add(*count);
        }
    }

    /// How many there are, without the zeros at the end.
    pub(super) fn used(&self) -> usize {
        let last = self.0.iter().rposition(|count| *count != 0);
        last.map_or(0, |last| last + 1)
    }

    /// As many of them, or zeros after them.
    pub(super) fn words(&self, words: usize) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .copied()
            .chain(std::iter::repeat(0))
            .take(words)
    }
}

/// How a build's counters lie in its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// How many counts it keeps for each slot.
    pub(super) counts: usize,
    slots: usize,
}

impl Layout {
    /// The layout of a map whose build keeps this many counts for each slot; `None` if that can't
    /// be, or if there are fewer slots than members.
    pub(super) fn of(shape: &Shape, counts: usize, members: usize) -> Option<Self> {
        let (value, slot) = (shape.value_size as usize, 8 * counts);
        let is_whole = is_shape(shape) && counts != 0 && value.is_multiple_of(slot);
        let slots = if is_whole { value / slot } else { 0 };
        (slots != 0 && slots >= members).then_some(Self { counts, slots })
    }

    /// The layout of a root that this version built.
    pub(super) fn own(shape: &Shape) -> Self {
        Self {
            counts: COUNTS,
            slots: shape.value_size as usize / size_of::<SlotCounters>(),
        }
    }
}

/// Whether a map can be a build's counters.
pub(super) fn is_shape(shape: &Shape) -> bool {
    shape.map_type == libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY
        && (shape.key_size, shape.max_entries) == (4, 1)
        && shape.value_size.is_multiple_of(8)
}

/// Reads a build's counters: every slot, summed over the CPUs.
pub(super) fn read(map: BorrowedFd<'_>, layout: Layout) -> io::Result<Vec<Counts>> {
    let bytes_per_cpu = 8 * layout.counts * layout.slots;
    let mut bytes = vec![0; bytes_per_cpu * bpf::possible_cpus()?];
    bpf::map_lookup(map, 0, &mut bytes)?;
    let mut slots = vec![Counts::default(); layout.slots];
    for cpu in bytes.chunks_exact(bytes_per_cpu) {
        for (slot, bytes) in slots.iter_mut().zip(cpu.chunks_exact(8 * layout.counts)) {
            slot.add(&Counts::new(words(bytes).collect()));
        }
    }
    Ok(slots)
}

pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(value_size: u32) -> Shape {
        Shape {
            map_type: libbpf_sys::BPF_MAP_TYPE_PERCPU_ARRAY,
            key_size: 4,
            value_size,
            max_entries: 1,
            flags: 0,
        }
    }

    #[test]
    fn a_builds_counters_are_read_as_the_build_keeps_them() {
        let layout = |value_size, counts, members| {
            let found = Layout::of(&shape(value_size), counts, members);
            found.map(|layout| layout.slots)
        };
        assert_eq!(layout(32 * 72, 9, 32), Some(32));
        assert_eq!(layout(32 * 80, 10, 3), Some(32));
        assert_eq!(layout(16 * 40, 5, 16), Some(16));
        assert_eq!(layout(32 * 72, 9, 33), None, "fewer slots than members");
        assert_eq!(layout(32 * 72, 10, 3), None, "half a slot");
        assert_eq!(layout(0, 9, 0), None);
        assert_eq!(layout(72, 0, 1), None);
    }

    #[test]
    fn counts_that_are_not_known_are_added_like_the_others() {
        let mut counts = Counts::new(vec![1; 4]);
        counts.add(&Counts::new((1..=12).collect()));
        assert_eq!(counts.used(), 12);
        assert_eq!(counts.known().counts, [2, 3, 4, 5, 5, 6, 7, 8, 9]);
        assert_eq!(
            counts.words(14).collect::<Vec<_>>(),
            [2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0]
        );
    }
}
