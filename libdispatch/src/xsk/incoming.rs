//! A packet while it is handed over.

use std::mem;
use std::ops::{Deref, DerefMut};

use super::frame::Found;
use super::{Packet, Umem};

/// A packet that [`Receiver::receive_each`](super::Receiver::receive_each) hands over, for as long as
/// that takes. What is not taken meanwhile is received into again. It dereferences to the bytes of its
/// first frame, which is all of it unless the socket was opened with
/// [`multi_buffer`](super::Options::multi_buffer).
#[derive(Debug)]
pub struct Incoming<'c, 'u> {
    /// Always there, until it is taken.
    packet: Option<Packet<'u>>,
    /// Whose frame the ledger still has where it was, and who wants to know whether it was taken.
    lent: Option<&'c mut bool>,
}

impl<'u> Incoming<'_, 'u> {
    /// Hands a frame over that stays in the ledger where it is, unless it is taken; returns whether it
    /// was.
    #[inline]
    pub(super) fn lend(
        umem: &'u Umem,
        found: Found,
        treat: &mut impl FnMut(Incoming<'_, 'u>),
    ) -> bool {
        let mut taken = false;
        treat(Incoming {
            packet: Some(found.as_frame(umem).into()),
            lent: Some(&mut taken),
        });
        taken
    }

    /// A packet all of whose frames are ours.
    pub(super) fn whole(packet: Packet<'u>) -> Self {
        Self {
            packet: Some(packet),
            lent: None,
        }
    }

    /// Takes the packet: to send it, or to keep it for as long as the UMEM lives.
    #[inline]
    pub fn take(mut self) -> Packet<'u> {
        let packet = self.packet.take().expect(THERE);
        if let Some(taken) = self.lent.take() {
            packet.keep();
            *taken = true;
        }
        packet
    }

    /// The packet, with all its frames.
    #[inline]
    pub fn packet(&self) -> &Packet<'u> {
        self.packet.as_ref().expect(THERE)
    }
}

const THERE: &str = "it was not taken";

impl Deref for Incoming<'_, '_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.packet()
    }
}

impl DerefMut for Incoming<'_, '_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.packet.as_mut().expect(THERE)
    }
}

impl Drop for Incoming<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        // It was never in the pool's books as ours.
        if self.lent.is_some() {
            mem::forget(self.packet.take());
        }
    }
}
