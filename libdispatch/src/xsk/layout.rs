//! How a UMEM is divided, and what an address in it means.

use std::num::{NonZeroU32, NonZeroU64};

use super::{Error, offload};

/// The kernel's smallest frame (`XDP_UMEM_MIN_CHUNK_SIZE`), in bytes.
const FRAME_BYTES_MIN: u32 = 2048;
/// What the kernel keeps for itself at the front of each frame that it receives into
/// (`XDP_PACKET_HEADROOM`), in bytes.
const KERNEL_HEADROOM: u32 = 256;
/// What the kernel can store of the metadata's length, in bytes, and a multiple of eight.
const TX_METADATA_BYTES_MAX: u32 = 248;
/// In an address of unaligned mode, the lower bits are the frame and the upper ones an offset
/// (`XSK_UNALIGNED_BUF_OFFSET_SHIFT`).
const OFFSET_SHIFT: u32 = 48;
/// Huge pages' size, in bytes.
const HUGE_PAGE: u64 = 2 << 20;

/// How a [`Umem`](super::Umem) is divided into frames. Has the numbers that a registration
/// (`struct xdp_umem_reg` in `include/uapi/linux/if_xdp.h`) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    frames: u32,
    frame_size: NonZeroU32,
    /// The base-2 logarithm of the frame size, unless frames are unaligned.
    shift: Option<u32>,
    headroom: u32,
    unaligned: bool,
    tx_metadata: u32,
    software_checksum: bool,
    huge_pages: bool,
}

impl Layout {
    /// Checks what the kernel would check.
    pub(super) fn new(wanted: &super::UmemBuilder) -> Result<Self, Error> {
        let super::UmemBuilder {
            frames,
            frame_size,
            headroom,
            unaligned,
            tx_metadata,
            software_checksum,
            huge_pages,
        } = *wanted;
        let page = rustix::param::page_size();
        let sizes = FRAME_BYTES_MIN as usize..=page;
        let fits = |bytes: &NonZeroU32| {
            sizes.contains(&(frame_size as usize)) && (unaligned || bytes.is_power_of_two())
        };
        let Some(size) = NonZeroU32::new(frame_size).filter(fits) else {
            return Err(Error::FrameSize {
                bytes: frame_size,
                page,
            });
        };
        let count = u64::from(frames);
        if frames == 0 || (count * u64::from(frame_size)) >> OFFSET_SHIFT != 0 {
            return Err(Error::Frames { frames: count });
        }
        if headroom >= frame_size - KERNEL_HEADROOM {
            return Err(Error::Headroom {
                bytes: headroom,
                frame: frame_size,
            });
        }
        if tx_metadata % 8 != 0 || tx_metadata > TX_METADATA_BYTES_MAX.min(headroom) {
            return Err(Error::TxMetadata { bytes: tx_metadata });
        }
        if software_checksum && tx_metadata < offload::BYTES {
            return Err(Error::SoftwareChecksum { bytes: tx_metadata });
        }
        Ok(Self {
            frames,
            frame_size: size,
            shift: (!unaligned).then(|| frame_size.trailing_zeros()),
            headroom,
            unaligned,
            tx_metadata,
            software_checksum,
            huge_pages,
        })
    }

    /// How many frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The size of each, in bytes.
    pub fn frame_size(&self) -> u32 {
        self.frame_size.get()
    }

    /// Bytes that are left free ahead of each packet, besides the kernel's own 256 in frames that
    /// it received into.
    pub fn headroom(&self) -> u32 {
        self.headroom
    }

    /// Whether frames need not be at multiples of a power of two
    /// (`XDP_UMEM_UNALIGNED_CHUNK_FLAG`, Linux 5.4).
    pub fn unaligned(&self) -> bool {
        self.unaligned
    }

    /// Bytes ahead of a packet to send that are for the driver (Linux 6.11); 0 for none.
    pub fn tx_metadata(&self) -> u32 {
        self.tx_metadata
    }

    /// Whether the kernel computes checksums that it is asked for (`XDP_UMEM_TX_SW_CSUM`, Linux 6.11).
    pub fn software_checksum(&self) -> bool {
        self.software_checksum
    }

    /// Whether the memory is of huge pages.
    pub fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// The UMEM's length in bytes: all frames, rounded up to whole pages.
    pub fn length(&self) -> usize {
        let page = if self.huge_pages {
            HUGE_PAGE
        } else {
            rustix::param::page_size() as u64
        };
        let bytes = u64::from(self.frames) * u64::from(self.frame_size());
        usize::try_from(bytes.next_multiple_of(page)).expect("addresses have 64 bits")
    }

    /// The address of this byte of a frame.
    #[inline]
    pub(super) fn address(&self, frame: u32, start: u32) -> u64 {
        u64::from(frame) * u64::from(self.frame_size()) + u64::from(start)
    }

    /// The number of the frame that an address would be in, and how far in. Whether there is such a
    /// frame, the ledger says.
    #[inline]
    pub(super) fn locate(&self, address: u64) -> (u64, u32) {
        let (frame, start) = if let Some(shift) = self.shift {
            let start = address & u64::from(self.frame_size() - 1);
            (address >> shift, start)
        } else {
            let base = address & ((1 << OFFSET_SHIFT) - 1);
            let address = base + (address >> OFFSET_SHIFT);
            let size = NonZeroU64::from(self.frame_size);
            (address / size, address % size)
        };
        let start = u32::try_from(start).expect("it is less than the frame's size");
        (frame, start)
    }
}

#[cfg(test)]
mod tests {
    use super::super::UmemBuilder;
    use super::*;

    fn layout(change: impl FnOnce(&mut UmemBuilder)) -> Result<Layout, Error> {
        let mut builder = UmemBuilder::default();
        change(&mut builder);
        Layout::new(&builder)
    }

    #[test]
    fn every_byte_of_every_frame_is_found_and_no_other() {
        for (size, unaligned) in [(2048, false), (4096, false), (2048, true), (3000, true)] {
            let layout = layout(|umem| {
                (umem.frames, umem.frame_size, umem.unaligned) = (5, size, unaligned);
            })
            .expect("the kernel takes it");
            for frame in 0..5 {
                for start in [0, 1, 256, size - 1] {
                    let address = layout.address(frame, start);
                    assert_eq!(layout.locate(address), (u64::from(frame), start));
                }
            }
            for address in [layout.address(5, 0), u64::MAX, 1 << 47] {
                assert!(layout.locate(address).0 >= 5);
            }
        }
    }

    #[test]
    fn an_unaligned_address_has_its_offset_in_the_upper_bits() {
        let layout = layout(|umem| {
            (umem.frames, umem.frame_size, umem.unaligned) = (5, 3000, true);
        })
        .expect("the kernel takes it");
        assert_eq!(layout.locate(6000 + (256 << 48)), (2, 256));
        assert_eq!(layout.locate(12_000 + (3000 << 48)), (5, 0));
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_by_name() {
        let refused = |change: fn(&mut UmemBuilder)| layout(change).expect_err("it makes no sense");
        for bytes in [0, 1, 1024, 2047, 3000, 8192] {
            let error = layout(|umem| umem.frame_size = bytes).expect_err("not a size");
            assert!(matches!(error, Error::FrameSize { bytes: b, .. } if b == bytes));
        }
        assert!(matches!(
            refused(|umem| umem.frames = 0),
            Error::Frames { .. }
        ));
        let error = refused(|umem| (umem.frame_size, umem.headroom) = (2048, 1792));
        assert!(matches!(error, Error::Headroom { bytes: 1792, .. }));
        for bytes in [4, 256] {
            let error = layout(|umem| (umem.headroom, umem.tx_metadata) = (512, bytes));
            assert!(matches!(error, Err(Error::TxMetadata { .. })));
        }
        assert!(matches!(
            refused(|umem| umem.tx_metadata = 24),
            Error::TxMetadata { bytes: 24 }
        ));
        for bytes in [0, 8] {
            let error = layout(|umem| {
                (umem.headroom, umem.tx_metadata, umem.software_checksum) = (64, bytes, true);
            });
            assert!(matches!(error, Err(Error::SoftwareChecksum { bytes: b }) if b == bytes));
        }
    }
}
