//! What a driver is asked to do with a packet that it sends, and what it answers: `struct
//! xsk_tx_metadata` (`include/uapi/linux/if_xdp.h`, `Documentation/networking/xsk-tx-metadata.rst`).
//!
//! | bytes | asked | answered |
//! | --- | --- | --- |
//! | 0 to 8 | which requests there are | |
//! | 8 to 16 | where a checksum begins and where it goes, 2 bytes each | when the packet was sent |
//! | 16 to 24 | when to send the packet | |

use std::ops::BitOr;
use std::sync::OnceLock;

/// `XDP_TX_METADATA`, of a descriptor: the metadata is ahead of the packet.
pub(super) const OPTION: u32 = 1 << 1;
/// `XDP_UMEM_TX_SW_CSUM`: where the kernel copies packets, it computes their checksums.
pub(super) const UMEM_SOFTWARE_CHECKSUM: u32 = 1 << 1;
/// `XDP_UMEM_TX_METADATA_LEN`: the metadata's length is meant (Linux 6.11; before, it always was).
pub(super) const UMEM_METADATA: u32 = 1 << 2;

/// Bytes of metadata for a checksum or a timestamp.
pub(super) const BYTES: u32 = 16;
/// Bytes of metadata for a launch time too.
pub(super) const BYTES_WITH_LAUNCH_TIME: u32 = 24;

/// The word of the metadata that has the requests.
pub(super) const FLAGS: u32 = 0;
/// The one that has the checksum's place, and later the timestamp.
pub(super) const STAMP: u32 = 8;
/// The one that has the launch time.
pub(super) const LAUNCH_TIME: u32 = 16;

/// What is asked for one packet, as `xsk_tx_metadata::flags` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requests(u64);

impl Requests {
    pub(super) const NONE: Self = Self(0);
    /// `XDP_TXMD_FLAGS_TIMESTAMP`.
    pub(super) const TIMESTAMP: Self = Self(1 << 0);
    /// `XDP_TXMD_FLAGS_CHECKSUM`.
    pub(super) const CHECKSUM: Self = Self(1 << 1);
    /// `XDP_TXMD_FLAGS_LAUNCH_TIME`.
    pub(super) const LAUNCH_TIME: Self = Self(1 << 2);

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The metadata that says so.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }

    /// What that metadata says.
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_ne_bytes(bytes))
    }
}

impl BitOr for Requests {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why a driver can't be asked for something. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The UMEM has too little [`tx_metadata`](super::UmemBuilder::tx_metadata).
    #[error("the UMEM has {bytes} bytes of TX metadata, and {needed} are needed")]
    Metadata {
        /// What it has.
        bytes: u32,
        /// What is needed.
        needed: u32,
    },
    /// The frame's bytes begin where the metadata should be.
    #[error("the frame has no room for metadata ahead of its bytes")]
    NoRoom,
    /// The checksum's place is not in the frame's bytes.
    #[error("a checksum at byte {place} of a frame of {length}")]
    Outside {
        /// Where it would go.
        place: u32,
        /// How many bytes the frame has.
        length: u32,
    },
    /// The kernel knows no launch times. It would refuse the packet, and leave it at the head of TX
    /// for good.
    #[error("this kernel has no launch times: Linux 6.15 has")]
    NoLaunchTimes,
}

/// The place of a checksum: where it begins, and where behind that it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) start: u16,
    pub(super) offset: u16,
}

impl Checksum {
    /// The metadata that says so. Its second half is unused, and zero.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.start.to_ne_bytes());
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes
    }

    /// What that metadata says.
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, ..] = bytes;
        Self {
            start: u16::from_ne_bytes([a, b]),
            offset: u16::from_ne_bytes([c, d]),
        }
    }

    /// Whether it is within so many bytes: the kernel refuses a packet for which it isn't, and leaves
    /// it at the head of TX for good.
    pub(super) fn check(self, length: u32) -> Result<(), RequestError> {
        let place = u32::from(self.start) + u32::from(self.offset);
        if place + 2 > length {
            return Err(RequestError::Outside { place, length });
        }
        Ok(())
    }
}

/// Whether the kernel knows `XDP_TXMD_FLAGS_LAUNCH_TIME`. It doesn't say so, other than by refusing a
/// packet, with which the socket is lost: hence its version.
pub(super) fn has_launch_times() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| is_since(rustix::system::uname().release().to_bytes(), (6, 15)))
}

/// Whether a release (`6.12.95-cloud`) is of this version or a later one.
fn is_since(release: &[u8], version: (u32, u32)) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let digits = str::from_utf8(digits).ok()?;
        digits.parse::<u32>().ok()
    });
    let mut next = || numbers.next().flatten();
    (next(), next()) >= (Some(version.0), Some(version.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_its_numbers() {
        for release in ["6.15.0", "6.18.44-fc-v669", "7.0", "10.1-rc1"] {
            assert!(is_since(release.as_bytes(), (6, 15)), "{release}");
        }
        for release in ["6.1.0-51-cloud-amd64", "6.14.11", "5.19.2", "6", "", "x"] {
            assert!(!is_since(release.as_bytes(), (6, 15)), "{release}");
        }
    }

    #[test]
    fn a_checksum_is_within_the_bytes() {
        let checksum = Checksum {
            start: 34,
            offset: 6,
        };
        assert_eq!(Checksum::from_bytes(checksum.to_bytes()), checksum);
        assert_eq!(checksum.check(42), Ok(()));
        let outside = RequestError::Outside {
            place: 40,
            length: 41,
        };
        assert_eq!(checksum.check(41), Err(outside));
        let far = Checksum {
            start: u16::MAX,
            offset: u16::MAX,
        };
        assert!(far.check(4096).is_err());
    }
}
