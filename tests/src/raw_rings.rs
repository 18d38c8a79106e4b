//! The rings of an `AF_XDP` socket as mere memory, into which anything can be written.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::net::sockopt;
use rustix::net::xdp::{
    XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING,
    XdpRingOffset,
};

/// The rings of a socket, mapped once more.
pub struct RawRings {
    rings: Vec<RawRing>,
}

struct RawRing {
    map: MmapRaw,
    /// Where the indices and flags are, in bytes.
    indices: Vec<usize>,
    /// Where the entries are, in bytes.
    start: usize,
    /// How many words of 64 bits they are.
    words: usize,
}

impl RawRings {
    /// Those of a socket with so many entries: of FILL, COMPLETION, RX and TX; 0 for none.
    pub fn of(socket: BorrowedFd<'_>, entries: [usize; 4]) -> io::Result<Self> {
        let layout = sockopt::xdp_mmap_offsets(socket)?;
        let [fill, completion, rx, tx] = entries;
        let rings = [
            (XDP_UMEM_PGOFF_FILL_RING, &layout.fr, fill),
            (XDP_UMEM_PGOFF_COMPLETION_RING, &layout.cr, completion),
            (XDP_PGOFF_RX_RING, &layout.rx, 2 * rx),
            (XDP_PGOFF_TX_RING, &layout.tx, 2 * tx),
        ];
        let there = rings.into_iter().filter(|(_, _, words)| *words > 0);
        let rings =
            there.map(|(page_offset, ring, words)| RawRing::map(socket, page_offset, ring, words));
        Ok(Self {
            rings: rings.collect::<io::Result<_>>()?,
        })
    }

    /// Puts the frame at address 0 into the first of the rings, which nothing was put into before.
    pub fn put_first_frame(&self) {
        let ring = self.rings.first().expect("there is one");
        ring.word(0).store(0, Ordering::Relaxed);
        ring.index(ring.indices[0]).store(1, Ordering::Release);
    }

    /// Writes to every entry what `entry` says of its place in the ring, in words, and to every
    /// index and all flags what `index` says.
    pub fn scribble(&self, mut entry: impl FnMut(usize) -> u64, mut index: impl FnMut() -> u32) {
        for ring in &self.rings {
            for word in 0..ring.words {
                ring.word(word).store(entry(word), Ordering::Relaxed);
            }
            for place in &ring.indices {
                ring.index(*place).store(index(), Ordering::Relaxed);
            }
        }
    }
}

impl RawRing {
    fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        ring: &XdpRingOffset,
        words: usize,
    ) -> io::Result<Self> {
        let place = |offset| usize::try_from(offset).expect("addresses have 64 bits");
        let indices = [Some(ring.producer), Some(ring.consumer), ring.flags];
        let indices: Vec<usize> = indices.into_iter().flatten().map(place).collect();
        let start = place(ring.desc);
        let length = start + words * size_of::<u64>();
        assert!(start.is_multiple_of(8), "{ring:?}");
        for index in &indices {
            assert!(index.is_multiple_of(4) && index + 4 <= length, "{ring:?}");
        }
        let mut map = MmapOptions::new();
        Ok(Self {
            map: map.offset(page_offset).len(length).map_raw(&socket)?,
            indices,
            start,
            words,
        })
    }

    fn index(&self, place: usize) -> &AtomicU32 {
        // SAFETY: `map` has checked that it is aligned and mapped; the memory is mapped for as long as
        // `self` lives, and any value is one of an atomic number.
        unsafe { &*self.map.as_mut_ptr().add(place).cast() }
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < self.words);
        let place = self.start + number * size_of::<u64>();
        // SAFETY: as in `index`; so many words are mapped.
        unsafe { &*self.map.as_mut_ptr().add(place).cast() }
    }
}
