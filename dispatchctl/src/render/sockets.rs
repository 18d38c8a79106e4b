//! `AF_XDP` sockets in `show`.

use libdispatch::SocketDetail;

use super::owner;
use crate::table::{Align, table};

/// A line for each socket. The last five columns are packets and descriptors that were lost, in the
/// kernel's own words (`XDP_STATISTICS`).
pub(super) fn sockets(sockets: &[SocketDetail]) -> String {
    let columns = [
        ("Queue", Align::Right),
        ("State", Align::Left),
        ("Owner", Align::Left),
        ("Mode", Align::Left),
        ("Pinned", Align::Right),
        ("rx_dropped", Align::Right),
        ("rx_ring_full", Align::Right),
        ("rx_fill_ring_empty", Align::Right),
        ("rx_invalid", Align::Right),
        ("tx_invalid", Align::Right),
    ];
    let rows: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let counts = socket.counts;
            let count = |number: fn(libdispatch::SocketCounts) -> u64| {
                counts.map_or_else(|| "-".to_owned(), |counts| number(counts).to_string())
            };
            let mode = if socket.zero_copy {
                "zero-copy"
            } else {
                "copy"
            };
            vec![
                socket.queue.to_string(),
                socket.state.name().to_owned(),
                owner(&socket.owner),
                counts.map_or("-", |_| mode).to_owned(),
                format!("{} KiB", socket.bytes >> 10),
                count(|counts| counts.rx_dropped),
                count(|counts| counts.rx_ring_full),
                count(|counts| counts.rx_fill_ring_empty_descs),
                count(|counts| counts.rx_invalid_descs),
                count(|counts| counts.tx_invalid_descs),
            ]
        })
        .collect();
    table("    ", &columns, &rows)
}
