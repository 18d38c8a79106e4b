//! An `AF_XDP` socket in `show`.

use libdispatch::{SocketCounts, SocketDetail};
use serde::Serialize;

use super::OwnerView;

#[derive(Serialize)]
pub(super) struct SocketView<'a> {
    queue: u32,
    owner: OwnerView<'a>,
    state: &'static str,
    zero_copy: bool,
    bytes: u64,
    counts: Option<CountsView>,
}

#[derive(Serialize)]
struct CountsView {
    rx_dropped: u64,
    rx_invalid_descs: u64,
    tx_invalid_descs: u64,
    rx_ring_full: u64,
    rx_fill_ring_empty_descs: u64,
    tx_ring_empty_descs: u64,
}

impl<'a> From<&'a SocketDetail> for SocketView<'a> {
    fn from(socket: &'a SocketDetail) -> Self {
        Self {
            queue: socket.queue,
            owner: (&socket.owner).into(),
            state: socket.state.name(),
            zero_copy: socket.zero_copy,
            bytes: socket.bytes,
            counts: socket.counts.map(CountsView::from),
        }
    }
}

impl From<SocketCounts> for CountsView {
    fn from(counts: SocketCounts) -> Self {
        Self {
            rx_dropped: counts.rx_dropped,
            rx_invalid_descs: counts.rx_invalid_descs,
            tx_invalid_descs: counts.tx_invalid_descs,
            rx_ring_full: counts.rx_ring_full,
            rx_fill_ring_empty_descs: counts.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: counts.tx_ring_empty_descs,
        }
    }
}
