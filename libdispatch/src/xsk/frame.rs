//! A frame of the UMEM as a value: whoever has it is the only one who has.

mod metadata;

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::ledger::{Ledger, Place, RingNumber};
use super::ring::Descriptor;
use super::stamps::Sent;
use super::{Layout, Umem};

/// One frame of a [`Umem`], with a packet, or a part of one, in it.
///
/// There is never a second value for the same frame, and none while it is the kernel's: so the bytes
/// are plain memory. Dropping it gives the frame back to the UMEM's pool, from which sockets
/// take what they receive into.
///
/// It may be sent to another thread. It can't be used after it was given away:
///
/// ```compile_fail,E0382
/// # use libdispatch::xsk::{Packet, Sender};
/// fn twice<'u>(sender: &mut Sender<'u>, packet: Packet<'u>) {
///     drop(sender.send(packet));
///     drop(sender.send(packet)); // use of moved value
/// }
/// ```
///
/// nor outlive its memory:
///
/// ```compile_fail,E0597
/// # use libdispatch::xsk::Umem;
/// let frame = {
///     let umem = Umem::builder().build().unwrap();
///     umem.allocate() // `umem` does not live long enough
/// };
/// ```
pub struct Frame<'u> {
    umem: &'u Umem,
    index: u32,
    /// Where the bytes begin and how many they are; together never more than the frame's size.
    start: u32,
    length: u32,
    /// Whether requests to the driver are ahead of the bytes.
    offloaded: bool,
}

/// A frame that is nobody's: not in the kernel, and no token has its bytes. Move-only as well, so
/// that the books can't be cooked by a copied number.
#[derive(Debug)]
pub(super) struct Spare(u32);

impl Spare {
    /// One for each frame of a new UMEM.
    pub(super) fn all(frames: u32) -> impl Iterator<Item = Self> {
        (0..frames).map(Self)
    }

    /// Makes it a token without bytes, behind the UMEM's headroom.
    pub(super) fn into_frame(self, umem: &Umem) -> Frame<'_> {
        Frame {
            umem,
            index: self.0,
            start: umem.layout().headroom(),
            length: 0,
            offloaded: false,
        }
    }

    /// Lends it to the kernel for receiving; returns the address that belongs into FILL.
    #[inline]
    pub(super) fn lend(self, umem: &Umem, ring: RingNumber) -> u64 {
        umem.ledger().lend(self.0, Place::Fill(ring));
        umem.layout().address(self.0, 0)
    }

    /// The frame whose transmission is complete. `None` if it is not one that was being sent.
    pub(super) fn sent(umem: &Umem, address: u64, ring: RingNumber) -> Option<Self> {
        let (frame, _) = umem.layout().locate(address);
        let index = umem.ledger().find(frame, Place::Transmit(ring))?;
        umem.ledger().keep(index);
        Some(Self(index))
    }

    /// The same, with what became of its timestamp if that was asked for.
    pub(super) fn sent_with_stamp(
        umem: &Umem,
        address: u64,
        ring: RingNumber,
    ) -> Option<(Self, Option<Sent>)> {
        let frame = Self::sent(umem, address, ring)?.into_frame(umem);
        let sent = frame.sent();
        Some((frame.into_spare(), sent))
    }
}

/// Finds frames that were received from one ring. It has what that takes by value, so that a loop need
/// not read it from memory for each packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finder<'u> {
    layout: Layout,
    ledger: Ledger<'u>,
    at: Place,
}

impl<'u> Finder<'u> {
    /// Of this ring's frames.
    pub(super) fn new(umem: &'u Umem, ring: RingNumber) -> Self {
        Self {
            layout: *umem.layout(),
            ledger: umem.ledger(),
            at: Place::Fill(ring),
        }
    }

    /// What a descriptor of RX says, if it can be true: the bytes lie within one frame, and the
    /// kernel had that frame from this ring.
    #[inline]
    pub(super) fn find(&self, descriptor: Descriptor) -> Option<Found> {
        self.find_plain(Descriptor {
            options: 0,
            ..descriptor
        })
    }

    /// The same, but nothing of a descriptor with options.
    #[inline]
    pub(super) fn find_plain(&self, descriptor: Descriptor) -> Option<Found> {
        let (frame, start) = self.layout.locate(descriptor.address);
        // Both in one comparison.
        if descriptor.length_and_options() > u64::from(self.layout.frame_size() - start) {
            return None;
        }
        let index = self.ledger.find(frame, self.at)?;
        Some(Found {
            index,
            start,
            length: descriptor.length,
        })
    }

    /// The address that belongs into FILL, for a frame to be received into again.
    #[inline]
    pub(super) fn address(&self, found: &Found) -> u64 {
        self.layout.address(found.index, 0)
    }
}

/// A frame that was received, as plain numbers: nothing has to be dropped, or passed through memory,
/// before it is known what becomes of it. It is still the kernel's in the ledger. Move-only, as
/// [`Spare`] is.
#[derive(Debug)]
pub(super) struct Found {
    index: u32,
    start: u32,
    length: u32,
}

impl Found {
    /// Makes it a token. `None` if another thread had found it as well, which only is where another
    /// socket is `contending` for the ring's frames.
    #[inline]
    pub(super) fn take(self, umem: &Umem, ring: RingNumber, contended: bool) -> Option<Frame<'_>> {
        if contended {
            let taken = umem.ledger().keep_first(self.index, Place::Fill(ring));
            return taken.then(|| self.as_frame(umem));
        }
        umem.ledger().keep(self.index);
        Some(self.as_frame(umem))
    }

    /// A token that must not outlive the knowledge that nobody else has one: the ledger doesn't have it.
    #[inline]
    pub(super) fn as_frame<'u>(&self, umem: &'u Umem) -> Frame<'u> {
        let Self {
            index,
            start,
            length,
        } = *self;
        Frame {
            umem,
            index,
            start,
            length,
            offloaded: false,
        }
    }
}

impl<'u> Frame<'u> {
    /// Lends it to the kernel for sending, without metadata; returns what belongs into TX.
    #[inline]
    pub(super) fn lend(self, ring: RingNumber) -> Descriptor {
        let Self {
            umem,
            index,
            start,
            length,
            ..
        } = self;
        mem::forget(self);
        umem.ledger().lend(index, Place::Transmit(ring));
        Descriptor {
            address: umem.layout().address(index, start),
            length,
            options: 0,
        }
    }

    /// Gives the bytes up.
    #[inline]
    pub(super) fn into_spare(self) -> Spare {
        let spare = Spare(self.index);
        mem::forget(self);
        spare
    }

    /// Has the ledger know that there is a token: what [`Found::as_frame`] made is one like all others.
    #[inline]
    pub(super) fn keep(&self) {
        self.umem.ledger().keep(self.index);
    }

    /// The UMEM that it is of.
    pub fn umem(&self) -> &'u Umem {
        self.umem
    }

    /// Bytes ahead of the packet, into which [`grow_front`](Self::grow_front) can grow. A frame that
    /// was received into has at least 256 more than the UMEM's headroom.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Bytes behind the packet, up to the frame's end.
    pub fn tailroom(&self) -> usize {
        (self.umem.layout().frame_size() - self.start - self.length) as usize
    }

    /// Moves the packet's front so many bytes ahead, for a header to be written there; false, and
    /// nothing changes, if the headroom is smaller. What the bytes are is left over from before.
    pub fn grow_front(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.headroom();
        if fits {
            let bytes = narrow(bytes);
            self.start -= bytes;
            self.length += bytes;
            self.offloaded = false;
        }
        fits
    }

    /// Cuts so many bytes off the packet's front; false, and nothing changes, if it has fewer.
    pub fn shrink_front(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.length as usize;
        if fits {
            let bytes = narrow(bytes);
            self.start += bytes;
            self.length -= bytes;
            self.offloaded = false;
        }
        fits
    }

    /// Makes the packet shorter or longer at its end; false, and nothing changes, if the frame has
    /// no room. What new bytes are is left over from before.
    pub fn set_len(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.length as usize + self.tailroom();
        if fits {
            self.length = narrow(bytes);
        }
        fits
    }

    /// Makes these bytes the packet, from where it begins now; false, and nothing changes, if the
    /// frame has no room.
    pub fn write(&mut self, packet: &[u8]) -> bool {
        let fits = self.set_len(packet.len());
        if fits {
            self.copy_from_slice(packet);
        }
        fits
    }

    /// The `bytes` bytes right ahead of the packet: what an XDP program put there by
    /// `bpf_xdp_adjust_meta`. The kernel doesn't say how many they are, so that program and
    /// application have to agree. `None` if there is no such room.
    ///
    /// Read it first: a header that [`grow_front`](Self::grow_front) makes room for goes there, and
    /// so does what is asked of a driver.
    ///
    /// ```
    /// # use libdispatch::xsk::Frame;
    /// /// What the program writes there: when the packet came, and what it hashes to.
    /// fn read(frame: &Frame<'_>) -> Option<(u64, u32)> {
    ///     let (time, rest) = frame.metadata(16)?.split_first_chunk()?;
    ///     let (hash, _padding) = rest.split_first_chunk()?;
    ///     Some((u64::from_ne_bytes(*time), u32::from_ne_bytes(*hash)))
    /// }
    /// ```
    pub fn metadata(&self, bytes: usize) -> Option<&[u8]> {
        let start = self.start.checked_sub(u32::try_from(bytes).ok()?)?;
        Some(self.umem.bytes(self, start, narrow(bytes)))
    }

    /// The frame's number in its UMEM: the same frame has the same number each time it comes.
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.umem.bytes(self, self.start, self.length)
    }
}

impl DerefMut for Frame<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, length) = (self.start, self.length);
        self.umem.bytes_mut(self, start, length)
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        self.umem.put([Spare(self.index)]);
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("index", &self.index)
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A number of bytes that was compared with a frame's size.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a frame is smaller than that")
}
