//! A packet while it is handed over.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use super::frame::Found;
use super::{Frame, Packet, Umem};

/// A packet that [`Receiver::receive_each`](super::Receiver::receive_each) hands over, for as long as
/// that takes. What is not taken meanwhile is received into again.
///
/// It dereferences to the bytes of its first frame, which is all of it unless the socket was opened with
/// [`multi_buffer`](super::Options::multi_buffer).
#[derive(Debug)]
pub struct Incoming<'c, 'u> {
    hold: Hold<'c, 'u>,
}

/// Neither has anything to be dropped, so that all of it can stay in registers.
#[derive(Debug)]
enum Hold<'c, 'u> {
    /// A packet of one frame, which the ledger still has where it was.
    Lent {
        frame: ManuallyDrop<Frame<'u>>,
        taken: &'c mut bool,
    },
    /// Another one. It is there until it is taken.
    Whole(&'c mut Option<Packet<'u>>),
}

impl<'u> Incoming<'_, 'u> {
    /// Hands a frame over that stays in the ledger where it is, unless it is taken; returns whether it
    /// was.
    #[inline]
    pub(super) fn lend(
        umem: &'u Umem,
        found: &Found,
        treat: &mut impl FnMut(Incoming<'_, 'u>),
    ) -> bool {
        let mut taken = false;
        let hold = Hold::Lent {
            frame: ManuallyDrop::new(found.as_frame(umem)),
            taken: &mut taken,
        };
        treat(Incoming { hold });
        taken
    }

    /// Hands a packet over all of whose frames are ours; returns it unless it was taken.
    pub(super) fn give(
        packet: Packet<'u>,
        treat: &mut impl FnMut(Incoming<'_, 'u>),
    ) -> Option<Packet<'u>> {
        let mut packet = Some(packet);
        let hold = Hold::Whole(&mut packet);
        treat(Incoming { hold });
        packet
    }

    /// Takes the packet if it is one frame that `lend` takes. Otherwise it comes back.
    #[inline]
    pub(super) fn pass(
        self,
        lend: impl FnOnce(ManuallyDrop<Frame<'u>>) -> Result<(), ManuallyDrop<Frame<'u>>>,
    ) -> Result<(), Self> {
        let hold = match self.hold {
            Hold::Lent { frame, taken } => match lend(frame) {
                Ok(()) => {
                    *taken = true;
                    return Ok(());
                }
                Err(frame) => Hold::Lent { frame, taken },
            },
            whole @ Hold::Whole(_) => whole,
        };
        Err(Self { hold })
    }

    /// Makes the packet shorter or longer at its end, in its first frame; false, and nothing changes, if
    /// that has no room. See [`Frame::set_len`].
    #[inline]
    pub fn set_len(&mut self, bytes: usize) -> bool {
        self.first_mut().set_len(bytes)
    }

    /// Takes the packet: to send it, or to keep it for as long as the UMEM lives.
    #[inline]
    pub fn take(self) -> Packet<'u> {
        match self.hold {
            Hold::Lent { frame, taken } => {
                frame.keep();
                *taken = true;
                ManuallyDrop::into_inner(frame).into()
            }
            Hold::Whole(packet) => packet.take().expect(THERE),
        }
    }

    /// Its first frame.
    #[inline]
    pub fn first(&self) -> &Frame<'u> {
        match &self.hold {
            Hold::Lent { frame, .. } => frame,
            Hold::Whole(packet) => packet.as_ref().expect(THERE),
        }
    }

    /// The same, to be changed. It must stay the same frame, so this is nobody else's.
    #[inline]
    fn first_mut(&mut self) -> &mut Frame<'u> {
        match &mut self.hold {
            Hold::Lent { frame, .. } => frame,
            Hold::Whole(packet) => packet.as_mut().expect(THERE),
        }
    }

    /// Bytes in all frames.
    #[inline]
    pub fn total_len(&self) -> usize {
        match &self.hold {
            Hold::Lent { frame, .. } => frame.len(),
            Hold::Whole(packet) => packet.as_ref().expect(THERE).total_len(),
        }
    }
}

const THERE: &str = "it was not taken";

impl Deref for Incoming<'_, '_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.first()
    }
}

impl DerefMut for Incoming<'_, '_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.first_mut()
    }
}
