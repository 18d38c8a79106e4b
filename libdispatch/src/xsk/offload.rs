//! What a driver is asked to do with a packet that it sends: `struct xsk_tx_metadata`.

/// `XDP_TX_METADATA`: the metadata is ahead of the packet.
pub(super) const OPTION: u32 = 1 << 1;

/// `XDP_TXMD_FLAGS_CHECKSUM`.
const CHECKSUM: u64 = 1 << 1;

/// The metadata that asks for a checksum: flags, where it begins, where it goes.
pub(super) fn checksum(start: u16, offset: u16) -> [u8; 16] {
    let mut metadata = [0; 16];
    metadata[..8].copy_from_slice(&CHECKSUM.to_ne_bytes());
    metadata[8..10].copy_from_slice(&start.to_ne_bytes());
    metadata[10..12].copy_from_slice(&offset.to_ne_bytes());
    metadata
}
