//! Who has each frame: the one thing that what is read from shared memory is held against.

use super::atomic::{AtomicU16, Ordering};

/// One queue's rings among all that a UMEM serves. Sockets on one queue have it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingNumber(u16);

impl RingNumber {
    /// The largest number; each has two states.
    pub(super) const MAX: u16 = (u16::MAX >> 1) - 1;

    /// The ring of this number.
    pub(super) fn new(number: u16) -> Option<Self> {
        (number <= Self::MAX).then_some(Self(number))
    }
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// With the application: in the pool, or a token.
    Ours,
    /// The kernel may write to it: it is in FILL, or received and not yet taken.
    Fill(RingNumber),
    /// The kernel may read it: it is in TX, or sent and its completion not yet taken.
    Transmit(RingNumber),
}

impl Place {
    #[inline]
    fn code(self) -> u16 {
        match self {
            Self::Ours => 0,
            Self::Fill(RingNumber(number)) => 2 * number + 2,
            Self::Transmit(RingNumber(number)) => 2 * number + 3,
        }
    }
}

/// The place of each frame.
///
/// A frame's place is only changed by who has it: the holder of its token, or, while it is the
/// kernel's, the one half of a socket that reads the ring where it comes back. So loads and stores
/// suffice. Where two sockets read what comes back from one FILL ring, they compare and swap; and
/// should one be told of a frame before the kernel had it, lending it is a release, so that what was
/// done to its bytes has been done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ledger<'p> {
    places: &'p Places,
}

/// What a ledger is kept in.
pub(super) type Places = [AtomicU16];

impl<'p> Ledger<'p> {
    /// Places for so many frames, all ours.
    pub(super) fn places(frames: u32) -> Box<Places> {
        let ours = Place::Ours.code();
        (0..frames).map(|_| AtomicU16::new(ours)).collect()
    }

    /// A ledger that is kept here.
    #[inline]
    pub(super) fn new(places: &'p Places) -> Self {
        Self { places }
    }

    /// Notes that a frame of ours goes to the kernel.
    #[inline]
    pub(super) fn lend(self, frame: u32, to: Place) {
        self.places[frame as usize].store(to.code(), Ordering::Release);
    }

    /// The number of a frame that is at this place; `None` if it isn't, or there is no such frame.
    #[inline]
    pub(super) fn find(self, frame: u64, at: Place) -> Option<u32> {
        let place = self.places.get(usize::try_from(frame).ok()?)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are no more frames than that"
        )]
        let frame = frame as u32;
        // Whoever lent it, perhaps another thread, is done with its bytes.
        (place.load(Ordering::Acquire) == at.code()).then_some(frame)
    }

    /// Notes that a frame that was found is ours again.
    #[inline]
    pub(super) fn keep(self, frame: u32) {
        self.places[frame as usize].store(Place::Ours.code(), Ordering::Relaxed);
    }

    /// The same where another thread may have found the same frame: false, and nothing changes, if that
    /// was faster.
    pub(super) fn keep_first(self, frame: u32, from: Place) -> bool {
        let (from, ours) = (from.code(), Place::Ours.code());
        self.places[frame as usize]
            .compare_exchange(from, ours, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// How many frames are ours, in FILL rings, and in TX rings.
    pub(super) fn count(self) -> [u32; 3] {
        let mut counts = [0; 3];
        for place in self.places {
            let code = place.load(Ordering::Relaxed);
            let kind = if code == 0 { 0 } else { 1 + code % 2 };
            counts[usize::from(kind)] += 1;
        }
        counts
    }
}
