//! Memory that is shared through a descriptor, mapped for as long as a value lives.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;

use memmap2::{MmapOptions, MmapRaw};
#[cfg(not(miri))]
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::net::xdp::XdpRingOffset;

use super::atomic::{AtomicU32, AtomicU64};
use super::{Call, Error};

/// Where a ring lives: two shared indices, flags, and the entries as words of 64 bits.
///
/// Everything is atomic, since another process or the kernel may write it at any time.
pub(super) trait RingMemory {
    /// The index of the next entry to be written.
    fn producer(&self) -> &AtomicU32;
    /// The index of the next entry to be read.
    fn consumer(&self) -> &AtomicU32;
    /// `XDP_RING_NEED_WAKEUP`, where the kernel has it (Linux 5.4).
    fn flags(&self) -> Option<&AtomicU32>;
    /// The entries.
    fn words(&self) -> &[AtomicU64];
}

/// A ring that the kernel made, mapped from its socket.
#[derive(Debug)]
pub(super) struct MappedRing {
    map: MmapRaw,
    /// Offsets in bytes, each within the map and aligned, as `new` has checked.
    producer: usize,
    consumer: usize,
    flags: Option<usize>,
    entries: usize,
    /// How many words the entries are.
    words: usize,
}

impl MappedRing {
    /// Maps the ring of `words` words that the socket has at `page_offset`.
    pub(super) fn new(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        layout: &XdpRingOffset,
        words: usize,
    ) -> Result<Self, Error> {
        let offset = |offset: u64, align: usize| {
            let offset = usize::try_from(offset).ok();
            offset.filter(|offset| offset % align == 0 && *offset < OFFSETS_MAX)
        };
        let flags = layout
            .flags
            .map(|flags| offset(flags, 4).ok_or(Error::Offsets));
        let ring = |map, producer, consumer, flags, entries| Self {
            map,
            producer,
            consumer,
            flags,
            entries,
            words,
        };
        let producer = offset(layout.producer, 4).ok_or(Error::Offsets)?;
        let consumer = offset(layout.consumer, 4).ok_or(Error::Offsets)?;
        let entries = offset(layout.desc, 8).ok_or(Error::Offsets)?;
        let flags = flags.transpose()?;
        let indices = [Some(producer), Some(consumer), flags];
        let indices_end = indices.into_iter().flatten().max().unwrap_or(0) + 4;
        let length = indices_end.max(entries + words * 8);
        let map = MmapOptions::new()
            .offset(page_offset)
            .len(length)
            .populate()
            .map_raw(&socket)
            .map_err(|error| {
                if error.kind() == io::ErrorKind::ResourceBusy {
                    return Error::BoundTooEarly;
                }
                Error::system(Call::MmapRing)(error)
            })?;
        Ok(ring(map, producer, consumer, flags, entries))
    }

    #[inline]
    fn index(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `new` has checked that the offset is aligned and mapped this far; the memory is
        // mapped for as long as `self` lives, and is only ever accessed by atomic operations.
        unsafe { &*self.map.as_ptr().add(offset).cast() }
    }
}

/// The kernel's indices take two cache lines; this is far more, and far from any overflow.
const OFFSETS_MAX: usize = 1 << 16;

impl RingMemory for MappedRing {
    #[inline]
    fn producer(&self) -> &AtomicU32 {
        self.index(self.producer)
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        self.index(self.consumer)
    }

    #[inline]
    fn flags(&self) -> Option<&AtomicU32> {
        self.flags.map(|flags| self.index(flags))
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `new` has checked the alignment and mapped so many words behind `entries`; the
        // memory is mapped for as long as `self` lives, and is only accessed by atomic operations.
        unsafe { slice::from_raw_parts(self.map.as_ptr().add(self.entries).cast(), self.words) }
    }
}

/// Packet memory: a memfd, fully allocated and sealed against any change of its length, so that
/// whoever maps it can neither be made to pay for it nor be killed by its truncation.
#[derive(Debug)]
pub(super) struct Region {
    memfd: OwnedFd,
    map: MmapRaw,
}

impl Region {
    /// So many zeroed bytes, a multiple of the page size; of `huge` pages, of 2 MiB.
    pub(super) fn new(length: usize, huge: bool) -> Result<Self, Error> {
        let (memfd, map) = allocate(length, huge)?;
        Ok(Self { memfd, map })
    }

    /// The first byte. The memory is mapped for as long as `self` lives.
    #[inline]
    pub(super) fn start(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

#[cfg(not(miri))]
fn allocate(length: usize, huge: bool) -> Result<(OwnedFd, MmapRaw), Error> {
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if huge {
        flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    }
    let memfd =
        rustix::fs::memfd_create("umem", flags).map_err(Error::system(Call::MemfdCreate))?;
    rustix::fs::ftruncate(&memfd, length as u64).map_err(Error::system(Call::Ftruncate))?;
    rustix::fs::fallocate(&memfd, FallocateFlags::empty(), 0, length as u64)
        .map_err(Error::system(Call::Fallocate))?;
    rustix::fs::fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW)
        .map_err(Error::system(Call::AddSeals))?;
    let map = MmapOptions::new()
        .len(length)
        .populate()
        .map_raw(&memfd)
        .map_err(Error::system(Call::MmapMemory))?;
    Ok((memfd, map))
}

/// Miri has no memfd and maps no file: memory of the process's own, and any descriptor.
#[cfg(miri)]
fn allocate(length: usize, _huge: bool) -> Result<(OwnedFd, MmapRaw), Error> {
    let (descriptor, _) = io::pipe().map_err(Error::system(Call::Pipe))?;
    let map = MmapOptions::new().len(length).map_anon();
    Ok((
        descriptor.into(),
        map.map_err(Error::system(Call::MmapMemory))?.into(),
    ))
}
