//! Packet memory, divided into frames.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::frame::Spare;
use super::ledger::{Ledger, Places, RingNumber};
use super::memory::Region;
use super::stamps::Stamps;
use super::{Error, Frame, Layout};

/// Packet memory: a memfd, divided into frames that are handed to and fro between sockets, the
/// kernel and the application. Sockets and frames borrow it.
///
/// The memfd is fully allocated and sealed, so that it can be passed to the daemon, which registers
/// it for a socket; see [`as_fd`](Self::as_fd). Nobody else may be given it: who has the memfd can
/// write to packets while the application reads them.
///
/// ```
/// # fn main() -> Result<(), libdispatch::xsk::Error> {
/// use libdispatch::xsk::Umem;
///
/// let umem = Umem::builder().frames(64).frame_size(2048).build()?;
/// let mut frame = umem.allocate().expect("all frames are free");
/// assert!(frame.write(b"hello"));
/// assert_eq!(&*frame, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Umem {
    region: Region,
    layout: Layout,
    places: Box<Places>,
    stamps: Stamps,
    pool: Mutex<Vec<Spare>>,
    /// Whether the pool had any when it was last changed: so that nobody locks it for nothing.
    has_free: AtomicBool,
    rings: AtomicU16,
    /// The sockets that the kernel knows the memory by.
    sockets: Mutex<Vec<Weak<OwnedFd>>>,
}

/// Makes a [`Umem`].
#[derive(Clone, Debug)]
#[must_use]
pub struct UmemBuilder {
    pub(super) frames: u32,
    pub(super) frame_size: u32,
    pub(super) headroom: u32,
    pub(super) unaligned: bool,
    pub(super) tx_metadata: u32,
    pub(super) software_checksum: bool,
    pub(super) huge_pages: bool,
}

/// Where a UMEM's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// In the pool, with the application, or on their way between them.
    pub ours: u32,
    /// With the kernel for receiving, or received and not yet taken.
    pub fill: u32,
    /// With the kernel for sending, or sent and not yet reaped.
    pub transmit: u32,
}

impl Umem {
    /// 4096 frames of 2048 bytes, unless told otherwise.
    pub fn builder() -> UmemBuilder {
        UmemBuilder::default()
    }

    /// How it is divided.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A free frame, empty, with the UMEM's headroom ahead of it; `None` if all are in use.
    ///
    /// Sockets take free frames to receive into, as many as their FILL rings hold; an application that
    /// also sends packets of its own needs more frames than that.
    pub fn allocate(&self) -> Option<Frame<'_>> {
        let mut pool = self.pool();
        let spare = pool.pop();
        self.note(&pool);
        spare.map(|spare| spare.into_frame(self))
    }

    /// Where the frames are. Frames that the kernel had when a socket was closed stay counted as the
    /// kernel's: it may still write to them, so they are not used again.
    pub fn tally(&self) -> Tally {
        let [ours, fill, transmit] = self.ledger().count();
        Tally {
            ours,
            fill,
            transmit,
        }
    }

    /// How many frames [`allocate`](Self::allocate) would give.
    pub fn free(&self) -> usize {
        self.pool().len()
    }

    /// Moves up to `count` free frames to the end of a list.
    pub(super) fn take(&self, count: u32, to: &mut Vec<Spare>) {
        let mut pool = self.pool();
        let rest = pool.len().saturating_sub(count as usize);
        to.extend(pool.drain(rest..));
        self.note(&pool);
    }

    /// Makes these frames free.
    pub(super) fn put(&self, spares: impl IntoIterator<Item = Spare>) {
        let mut pool = self.pool();
        pool.extend(spares);
        self.note(&pool);
    }

    /// Whether the pool seems to have a frame.
    #[inline]
    pub(super) fn has_free(&self) -> bool {
        self.has_free.load(Ordering::Relaxed)
    }

    fn note(&self, pool: &[Spare]) {
        self.has_free.store(!pool.is_empty(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn ledger(&self) -> Ledger<'_> {
        Ledger::new(&self.places)
    }

    /// Has room for frames only in a UMEM with TX metadata.
    pub(super) fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// The number of one more queue's rings.
    pub(super) fn ring(&self) -> Result<RingNumber, Error> {
        let next = |number: u16| (number < RingNumber::MAX).then_some(number + 1);
        let number = self
            .rings
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let ring = number.ok().and_then(RingNumber::new);
        ring.ok_or(Error::TooManySockets)
    }

    /// A socket that the kernel knows this memory by, if one is open.
    pub(super) fn socket(&self) -> Option<Arc<OwnedFd>> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.iter().find_map(Weak::upgrade)
    }

    /// Notes that the kernel knows this memory by a socket.
    pub(super) fn add_socket(&self, socket: &Arc<OwnedFd>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push(Arc::downgrade(socket));
    }

    /// The address of the first byte, for the kernel.
    pub(super) fn start(&self) -> u64 {
        self.region.start() as u64
    }

    /// Bytes of a frame, which end within the frame: `start + length` is at most its size.
    #[inline]
    pub(super) fn bytes<'f>(&'f self, frame: &'f Frame<'_>, start: u32, length: u32) -> &'f [u8] {
        let first = self.first(frame, start, length);
        // SAFETY: the bytes are mapped and zeroed at first (`first` says where); the token is the
        // only one of its frame and borrowed, so that nobody writes to them meanwhile. The kernel
        // writes only to frames that were lent to it, which takes the token, until it says in RX that it
        // is done with one; who hands such a frame over without taking it puts it into FILL afterwards.
        unsafe { slice::from_raw_parts(first, length as usize) }
    }

    /// The same, to be written.
    #[inline]
    pub(super) fn bytes_mut<'f>(
        &'f self,
        frame: &'f mut Frame<'_>,
        start: u32,
        length: u32,
    ) -> &'f mut [u8] {
        let first = self.first(frame, start, length);
        // SAFETY: as in `bytes`; the token is borrowed mutably, so nobody else reads them either.
        unsafe { slice::from_raw_parts_mut(first, length as usize) }
    }

    #[inline]
    fn first(&self, frame: &Frame<'_>, start: u32, length: u32) -> *mut u8 {
        debug_assert!(start + length <= self.layout.frame_size());
        let offset = self.layout.address(frame.index(), start);
        let offset = usize::try_from(offset).expect("addresses have 64 bits");
        // SAFETY: frames have numbers below the layout's, and start and length are within the
        // frame, by whose construction all of it is within the region.
        unsafe { self.region.start().add(offset) }
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Spare>> {
        // A panic can't leave it half changed.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memfd, for the daemon to register.
impl AsFd for Umem {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
}

impl Default for UmemBuilder {
    fn default() -> Self {
        Self {
            frames: 4096,
            frame_size: 2048,
            headroom: 0,
            unaligned: false,
            tx_metadata: 0,
            software_checksum: false,
            huge_pages: false,
        }
    }
}

impl UmemBuilder {
    /// How many frames.
    pub fn frames(mut self, frames: u32) -> Self {
        self.frames = frames;
        self
    }

    /// The size of each frame, in bytes: a power of two from 2048 to the page size, or with
    /// [`unaligned`](Self::unaligned) any number between them. A packet that is received has what
    /// is left of it after the headroom and 256 bytes of the kernel's.
    pub fn frame_size(mut self, bytes: u32) -> Self {
        self.frame_size = bytes;
        self
    }

    /// Bytes that are left free ahead of each packet, for headers to be put in front.
    pub fn headroom(mut self, bytes: u32) -> Self {
        self.headroom = bytes;
        self
    }

    /// Frames that don't begin at multiples of a power of two.
    ///
    /// # Minimum kernel version
    ///
    /// 5.4.
    pub fn unaligned(mut self, unaligned: bool) -> Self {
        self.unaligned = unaligned;
        self
    }

    /// Bytes at the end of the headroom that are for the driver, in packets that are sent: a
    /// multiple of 8. `struct xsk_tx_metadata` has 24: 16 are enough for
    /// [`Frame::offload_checksum`] and [`Frame::request_timestamp`], all are needed for
    /// [`Frame::set_launch_time`]. Each packet to be sent has to leave them ahead of its bytes, even
    /// if nothing is asked for it.
    ///
    /// # Minimum kernel version
    ///
    /// 6.11 ([`Error::NoTxMetadata`]). Linux 6.8 to 6.10 has it too, but doesn't tell it from memory
    /// without. Before 6.18, where the kernel copies packets for a driver with `IFF_TX_SKB_NO_LINEAR`
    /// (`virtio_net`), it does nothing of what is asked for.
    pub fn tx_metadata(mut self, bytes: u32) -> Self {
        self.tx_metadata = bytes;
        self
    }

    /// If the kernel copies packets, it computes the checksums that it is
    /// [asked](Frame::offload_checksum) for, whatever the interface can (`XDP_UMEM_TX_SW_CSUM`). This is
    /// for trying things out: it takes time, and a packet whose interface can't has its checksum
    /// computed anyway.
    ///
    /// # Minimum kernel version
    ///
    /// 6.11, as [`tx_metadata`](Self::tx_metadata), of which it needs 16 bytes.
    pub fn software_checksum(mut self, software_checksum: bool) -> Self {
        self.software_checksum = software_checksum;
        self
    }

    /// Memory of huge pages, 2 MiB each, of which the system must have enough set aside
    /// (`/proc/sys/vm/nr_hugepages`).
    pub fn huge_pages(mut self, huge_pages: bool) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Allocates the memory, all of it.
    ///
    /// # Errors
    ///
    /// A layout that the kernel would refuse, or too little memory.
    pub fn build(&self) -> Result<Umem, Error> {
        let layout = Layout::new(self)?;
        Ok(Umem {
            region: Region::new(layout.length(), layout.huge_pages())?,
            layout,
            places: Ledger::places(layout.frames()),
            stamps: Stamps::new(if layout.tx_metadata() > 0 {
                layout.frames()
            } else {
                0
            }),
            pool: Mutex::new(Spare::all(layout.frames()).collect()),
            has_free: AtomicBool::new(true),
            rings: AtomicU16::new(0),
            sockets: Mutex::default(),
        })
    }
}
