//! A frame's metadata for the driver: what is asked for it when it is sent, and what was answered.

use std::num::NonZeroU64;

use super::super::ledger::RingNumber;
use super::super::offload::{self, Checksum, Requests};
use super::super::ring::Descriptor;
use super::super::stamps::{Awaited, Sent};
use super::super::{RequestError, UnsentReason};
use super::Frame;

impl Frame<'_> {
    /// Asks the driver to put the Internet checksum of all bytes from `start` on at `start + offset`,
    /// where the sum of what else it has to cover (the pseudo header) is already.
    ///
    /// Requests add up, and are for this packet where it begins now: ask last, since moving the
    /// packet's front takes them back. Of a packet of several frames, only the first can have any.
    ///
    /// If the kernel copies packets, it sees to the checksum where the interface can't, and at once
    /// with [`software_checksum`](crate::xsk::UmemBuilder::software_checksum). If it doesn't, a driver that
    /// can't sends the packet as it is; which drivers can, netlink says (`xsk-features` of `dev-get`, in
    /// `Documentation/netlink/specs/netdev.yaml`).
    ///
    /// # Errors
    ///
    /// Without [`tx_metadata`](crate::xsk::UmemBuilder::tx_metadata) of 16 bytes at least, or if the
    /// checksum's place is outside of the packet; see [`RequestError`].
    ///
    /// # Minimum kernel version
    ///
    /// 6.11, as [`tx_metadata`](crate::xsk::UmemBuilder::tx_metadata).
    pub fn offload_checksum(&mut self, start: u16, offset: u16) -> Result<(), RequestError> {
        let checksum = Checksum { start, offset };
        checksum.check(self.length)?;
        self.request(Requests::CHECKSUM, offload::BYTES)?;
        self.write_metadata(offload::STAMP, checksum.to_bytes());
        Ok(())
    }

    /// Asks for the time at which the packet is sent, which
    /// [`Sender::reap_with`](crate::xsk::Sender::reap_with) then has. The frame is not free before that
    /// was called. Otherwise as [`offload_checksum`](Self::offload_checksum).
    ///
    /// # Errors
    ///
    /// Without [`tx_metadata`](crate::xsk::UmemBuilder::tx_metadata) of 16 bytes at least; see
    /// [`RequestError`].
    ///
    /// # Minimum kernel version
    ///
    /// 6.11, as [`tx_metadata`](crate::xsk::UmemBuilder::tx_metadata).
    pub fn request_timestamp(&mut self) -> Result<(), RequestError> {
        self.request(Requests::TIMESTAMP, offload::BYTES)
    }

    /// Asks the driver to send the packet not before this time, in nanoseconds of the device's clock
    /// (its PTP hardware clock). Packets behind it in the queue wait as well. The device has to be set
    /// up for that, for instance by the queueing discipline `etf` with `offload`; where it isn't, and
    /// wherever the kernel copies packets, the packet is sent at once. Otherwise as
    /// [`offload_checksum`](Self::offload_checksum).
    ///
    /// # Errors
    ///
    /// Without [`tx_metadata`](crate::xsk::UmemBuilder::tx_metadata) of 24 bytes at least, or before Linux
    /// 6.15; see [`RequestError`].
    ///
    /// # Minimum kernel version
    ///
    /// 6.15.
    pub fn set_launch_time(&mut self, nanoseconds: u64) -> Result<(), RequestError> {
        if !offload::has_launch_times() {
            return Err(RequestError::NoLaunchTimes);
        }
        self.request_launch_time(nanoseconds)
    }

    /// The same, whatever the kernel.
    pub(in super::super) fn request_launch_time(
        &mut self,
        nanoseconds: u64,
    ) -> Result<(), RequestError> {
        self.request(Requests::LAUNCH_TIME, offload::BYTES_WITH_LAUNCH_TIME)?;
        self.write_metadata(offload::LAUNCH_TIME, nanoseconds.to_ne_bytes());
        Ok(())
    }

    /// Lends it to the kernel for sending, with its metadata; returns what belongs into TX.
    pub(in super::super) fn lend_with_metadata(self, ring: RingNumber) -> Descriptor {
        if self.umem.layout().tx_metadata() == 0 {
            return self.lend(ring);
        }
        let awaited = self.requests().contains(Requests::TIMESTAMP);
        let awaited = awaited.then(|| self.metadata_word(self.start, offload::STAMP));
        let awaited = awaited.flatten().map(|[a, b, c, d, ..]| Awaited {
            start: self.start,
            unwritten: u32::from_ne_bytes([a, b, c, d]),
        });
        self.umem.stamps().lend(self.index, awaited);
        let options = if self.offloaded { offload::OPTION } else { 0 };
        Descriptor {
            options,
            ..self.lend(ring)
        }
    }

    /// What the kernel would find wrong with the frame's metadata, if it is a packet's first. It would
    /// pass over one without room, and never get past one with a checksum outside of it.
    pub(in super::super) fn check_metadata(&self) -> Result<(), UnsentReason> {
        if self.start < self.umem.layout().tx_metadata() {
            return Err(UnsentReason::NoMetadata);
        }
        if !self.requests().contains(Requests::CHECKSUM) {
            return Ok(());
        }
        let checksum = self.metadata_word(self.start, offload::STAMP);
        let checked = checksum.map(|bytes| Checksum::from_bytes(bytes).check(self.length));
        match checked {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(UnsentReason::Checksum),
        }
    }

    /// Whether a driver is asked for something.
    pub(in super::super) fn has_requests(&self) -> bool {
        self.offloaded
    }

    /// What became of a frame's timestamp when it was sent, if it was asked for.
    pub(super) fn sent(&self) -> Option<Sent> {
        let awaited = self.umem.stamps().awaited(self.index)?;
        Some(Sent {
            index: self.index,
            timestamp: self.timestamp(awaited),
        })
    }

    fn timestamp(&self, Awaited { start, unwritten }: Awaited) -> Option<NonZeroU64> {
        let stamp = self.metadata_word(start, offload::STAMP)?;
        let [a, b, c, d] = unwritten.to_ne_bytes();
        let written = stamp != [a, b, c, d, 0, 0, 0, 0];
        NonZeroU64::new(u64::from_ne_bytes(stamp)).filter(|_| written)
    }

    /// What the metadata ahead of the packet asks for. Nobody but the frame's holder writes there.
    fn requests(&self) -> Requests {
        let flags = self
            .offloaded
            .then(|| self.metadata_word(self.start, offload::FLAGS));
        flags.flatten().map_or(Requests::NONE, Requests::from_bytes)
    }

    /// Adds a request to the metadata ahead of the packet.
    fn request(&mut self, request: Requests, needed: u32) -> Result<(), RequestError> {
        let bytes = self.umem.layout().tx_metadata();
        if bytes < needed {
            return Err(RequestError::Metadata { bytes, needed });
        }
        if self.start < bytes {
            return Err(RequestError::NoRoom);
        }
        if !self.offloaded {
            // What is left over there would otherwise be taken for a timestamp.
            self.write_metadata(offload::STAMP, [0; 8]);
        }
        let requests = self.requests() | request;
        self.write_metadata(offload::FLAGS, requests.to_bytes());
        self.offloaded = true;
        Ok(())
    }

    /// Writes a word of the metadata, for which there is room.
    fn write_metadata(&mut self, word: u32, bytes: [u8; 8]) {
        let metadata = self.start - self.umem.layout().tx_metadata();
        let place = self.umem.bytes_mut(self, metadata + word, 8);
        place.copy_from_slice(&bytes);
    }

    /// A word of the metadata of a packet that begins here; `None` if there is no room for it.
    fn metadata_word(&self, start: u32, word: u32) -> Option<[u8; 8]> {
        let room = self.umem.layout().tx_metadata();
        let metadata = start.checked_sub(room).filter(|_| room >= word + 8)?;
        let bytes = self.umem.bytes(self, metadata + word, 8);
        bytes.try_into().ok()
    }
}
