//! What can't be.

/// What the other side of a half's rings did that can't be: each such entry was passed over. A
/// kernel does nothing of the kind; another process that has the rings mapped may.
///
/// A frame that was named in a false entry is not lost, it stays where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Looks at an index that was further from the own one than the ring is long.
    pub indices: u64,
    /// Entries that name no frame, or one that the kernel didn't have from this ring, or bytes
    /// outside of it.
    pub entries: u64,
    /// Packets of more than [`Packet::FRAMES_MAX`](super::Packet::FRAMES_MAX) frames.
    pub long_packets: u64,
}
