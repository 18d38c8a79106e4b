//! A packet: one frame, or several with `XDP_USE_SG`.

use std::ops::{Deref, DerefMut};
use std::{iter, slice};

use super::Frame;

/// A packet. It dereferences to its first frame, which is all of it unless the socket was opened
/// with [`multi_buffer`](super::Options::multi_buffer).
#[derive(Debug)]
pub struct Packet<'u> {
    first: Frame<'u>,
    /// Few packets have more frames, so their place is elsewhere.
    rest: Option<Box<Rest<'u>>>,
}

#[derive(Debug, Default)]
struct Rest<'u> {
    frames: Vec<Frame<'u>>,
}

impl<'u> Packet<'u> {
    /// The most frames of a packet that the kernel takes or makes: `MAX_SKB_FRAGS` and the first.
    pub const FRAMES_MAX: usize = 18;

    /// Bytes in all frames.
    pub fn total_len(&self) -> usize {
        self.frames().map(|frame| frame.len()).sum()
    }

    /// How many frames.
    pub fn frame_count(&self) -> usize {
        1 + self.rest().len()
    }

    /// All frames in order.
    pub fn frames(&self) -> impl Iterator<Item = &Frame<'u>> {
        iter::once(&self.first).chain(self.rest())
    }

    /// All frames in order, to be changed.
    pub fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame<'u>> {
        let rest: &mut [Frame<'u>] = match &mut self.rest {
            Some(rest) => &mut rest.frames,
            None => &mut [],
        };
        iter::once(&mut self.first).chain(rest)
    }

    /// All frames in order, apart.
    pub fn into_frames(self) -> impl Iterator<Item = Frame<'u>> {
        let (first, rest) = self.into_parts();
        iter::once(first).chain(rest.unwrap_or_default())
    }

    /// Adds a frame at the end.
    pub fn append(&mut self, frame: Frame<'u>) {
        let rest = self.rest.get_or_insert_default();
        rest.frames.push(frame);
    }

    /// Its first frame, and the others if there are any.
    #[inline]
    pub(super) fn into_parts(self) -> (Frame<'u>, Option<Vec<Frame<'u>>>) {
        (self.first, self.rest.map(|rest| rest.frames))
    }

    /// Whether it is a single frame.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.rest.is_none()
    }

    fn rest(&self) -> slice::Iter<'_, Frame<'u>> {
        let rest = self.rest.as_deref();
        rest.map_or(&[][..], |rest| &rest.frames).iter()
    }
}

impl<'u> From<Frame<'u>> for Packet<'u> {
    #[inline]
    fn from(first: Frame<'u>) -> Self {
        Self { first, rest: None }
    }
}

impl<'u> Deref for Packet<'u> {
    type Target = Frame<'u>;

    #[inline]
    fn deref(&self) -> &Frame<'u> {
        &self.first
    }
}

impl DerefMut for Packet<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.first
    }
}
