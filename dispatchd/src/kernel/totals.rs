//! A member's pinned total: what it counted in builds that no longer run.
//!
//! The value is the last build that was added, then the counts, as many as there is room for. What
//! this version doesn't know is kept; what it finds no room for makes a larger map take the place of
//! the pinned one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dispatcher_abi::COUNTS;
use planner::Build;

use super::counters::{self, Counts};
use super::pins;
use crate::bpf::{self, MapExtras, NO_PREALLOC, Shape};

/// The most bytes that totals may take: as many counts as any version could think of.
const BYTES_MAX: u32 = 4096;

/// A member's counts in builds that no longer run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last build that was added.
    pub(super) folded: u64,
    /// The counts.
    pub(super) counts: Counts,
}

/// Whether a map can be a member's totals.
pub(super) fn is_shape(shape: &Shape) -> bool {
    shape.map_type == libbpf_sys::BPF_MAP_TYPE_HASH
        && (shape.key_size, shape.max_entries) == (4, 1)
        && shape.value_size.is_multiple_of(8)
        && (8..=BYTES_MAX).contains(&shape.value_size)
}

/// Makes a member's totals, all zero.
pub(super) fn create() -> io::Result<OwnedFd> {
    create_with(&Totals::default(), COUNTS)
}

/// A hash map with one element, since updating a hash map's element puts a new one in its place, so
/// that a crash leaves the old totals or the new ones, never a mixture.
fn create_with(totals: &Totals, counts: usize) -> io::Result<OwnedFd> {
    let shape = Shape {
        map_type: libbpf_sys::BPF_MAP_TYPE_HASH,
        key_size: 4,
        value_size: u32::try_from(8 * (1 + counts)).map_err(io::Error::other)?,
        max_entries: 1,
        flags: NO_PREALLOC,
    };
    let map = bpf::map_create(c"totals", &shape, MapExtras::default())?;
    write(map.as_fd(), totals)?;
    Ok(map)
}

/// Reads totals of any length.
pub(super) fn read(map: BorrowedFd<'_>) -> io::Result<Totals> {
    let mut bytes = vec![0; 8 * (1 + room(map)?)];
    bpf::map_lookup(map, 0, &mut bytes)?;
    let mut words = counters::words(&bytes);
    Ok(Totals {
        folded: words.next().unwrap_or_default(),
        counts: Counts::new(words.collect()),
    })
}

/// How many counts there is room for.
fn room(map: BorrowedFd<'_>) -> io::Result<usize> {
    let bytes = bpf::map_info(map)?.shape.value_size as usize;
    Ok((bytes / 8).saturating_sub(1))
}

fn write(map: BorrowedFd<'_>, totals: &Totals) -> io::Result<()> {
    let counts = totals.counts.words(room(map)?);
    let bytes: Vec<u8> = std::iter::once(totals.folded)
        .chain(counts)
        .flat_map(u64::to_ne_bytes)
        .collect();
    bpf::map_update(map, 0, &bytes)
}

/// Adds what a build counted to a member's totals, unless that was done before. A map that has too
/// little room is replaced at its pin, by way of `next`.
pub(super) fn fold(
    map: &mut OwnedFd,
    (pin, next): (&Path, &Path),
    build: Build,
    counted: &Counts,
) -> io::Result<Totals> {
    let mut totals = read(map.as_fd())?;
    if totals.folded >= build.0 {
        return Ok(totals);
    }
    totals.folded = build.0;
    totals.counts.add(counted);
    let needed = totals.counts.used();
    if needed <= room(map.as_fd())? {
        write(map.as_fd(), &totals)?;
        return Ok(totals);
    }
    let larger = create_with(&totals, needed.max(COUNTS))?;
    pins::remove_pin(next)?;
    bpf::obj_pin(larger.as_fd(), next)?;
    fs::rename(next, pin)?;
    *map = larger;
    Ok(totals)
}
