//! How many `AF_XDP` sockets a user may have at once, and how much memory they may pin.

use std::collections::BTreeMap;

use crate::{Lease, QueueKey, Refusal};

/// What one user other than root may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Sockets.
    pub sockets: usize,
    /// Bytes of memory that its sockets pin.
    pub bytes: u64,
}

impl Default for SocketLimits {
    /// A socket for each queue of a large interface, and 16 384 frames of 4 KiB for each of four.
    fn default() -> Self {
        Self {
            sockets: 64,
            bytes: 256 << 20,
        }
    }
}

/// Memory that a socket keeps pinned, and every other one that shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedMemory {
    /// The token of the socket that brought it.
    pub of: [u8; 16],
    /// Its size; 0 if the daemon doesn't pin it.
    pub bytes: u64,
}

/// A socket whose queue was given back. As long as anybody has it open the kernel keeps it, and its
/// memory pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remnant {
    /// Which queue.
    pub(crate) place: QueueKey,
    /// What it was.
    pub(crate) lease: Lease,
}

/// What a user has.
#[derive(Debug, Default)]
pub(crate) struct Share {
    sockets: usize,
    /// How many of them are remnants.
    remnants: usize,
    /// Shared memory is pinned once, until the last socket that has its frames there is closed.
    pinned: BTreeMap<[u8; 16], u64>,
}

impl Share {
    pub(crate) fn add(&mut self, memory: PinnedMemory) {
        self.sockets += 1;
        self.pinned.insert(memory.of, memory.bytes);
    }

    pub(crate) fn add_remnant(&mut self, remnant: &Remnant) {
        self.add(remnant.lease.memory);
        self.remnants += 1;
    }
}

impl SocketLimits {
    /// Whether a user who has this may have another socket, with this memory.
    pub(crate) fn check(
        self,
        uid: u32,
        interface: &str,
        share: &Share,
        memory: PinnedMemory,
    ) -> Result<(), Refusal> {
        if share.sockets >= self.sockets {
            return Err(Refusal::SocketQuota {
                uid,
                interface: interface.to_owned(),
                max: self.sockets,
                still_open: share.remnants,
            });
        }
        // What an earlier daemon wrote down is believed no further than this.
        let used = share.pinned.values().copied();
        let used = used.fold(0, u64::saturating_add);
        let is_new = !share.pinned.contains_key(&memory.of);
        if is_new && memory.bytes > self.bytes.saturating_sub(used) {
            return Err(Refusal::MemoryQuota {
                uid,
                interface: interface.to_owned(),
                bytes: memory.bytes,
                used,
                max: self.bytes,
                still_open: share.remnants,
            });
        }
        Ok(())
    }
}
