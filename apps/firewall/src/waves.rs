//! Entries in the order in which they can be put while packets flow.
//!
//! Of the entries that match a packet the most specific decides. Therefore entries are put most
//! specific first, and removed the other way round: then at every moment each packet is decided
//! as the old rules say, or as the new ones. Those that can't match the same packet make a wave and
//! go at once; between two waves, every packet that began to be judged before must be through.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::rules::{Prefix, Service};

/// Entries of which no two match the same packet.
pub(crate) type Wave = Vec<(Prefix, Service)>;

/// The waves, most specific first.
pub(crate) fn waves(entries: impl IntoIterator<Item = (Prefix, Service)>) -> Vec<Wave> {
    let mut entries: Wave = entries.into_iter().collect();
    entries.sort_by_key(|entry| Reverse(specificity(entry)));
    let mut waves = Vec::new();
    let mut wave = Wave::new();
    let mut narrowness = BTreeMap::new();
    for entry in entries {
        if overlaps(&narrowness, entry) {
            waves.push(std::mem::take(&mut wave));
            narrowness.clear();
        }
        narrowness.insert(entry.0, entry.1.narrowness());
        wave.push(entry);
    }
    if !wave.is_empty() {
        waves.push(wave);
    }
    waves
}

/// Of two entries that match a packet, the one with the higher decides.
pub(crate) fn specificity((prefix, service): &(Prefix, Service)) -> (u8, u8) {
    (prefix.length(), service.narrowness())
}

/// Whether any of these prefixes, which are all at least as long, has an entry that may match a
/// packet that this entry matches. Services are looked at only as far as that's cheap.
fn overlaps(narrowness: &BTreeMap<Prefix, u8>, (prefix, service): (Prefix, Service)) -> bool {
    narrowness
        .range(prefix..=prefix.last())
        .any(|(within, its)| *within != prefix || *its != service.narrowness())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str, length: u8) -> Prefix {
        Prefix::around(address.parse().unwrap(), length)
    }

    #[test]
    fn only_what_may_match_the_same_packet_waits() {
        let port = |port| Service::Port { protocol: 6, port };
        let wide = prefix("10.0.0.0", 8);
        let narrow = prefix("10.1.0.0", 16);
        let elsewhere = prefix("192.0.2.0", 24);
        let waves = waves([
            (wide, Service::Everything),
            (narrow, port(1)),
            (narrow, port(2)),
            (narrow, Service::Everything),
            (elsewhere, Service::Everything),
        ]);
        assert_eq!(
            waves,
            [
                vec![
                    (elsewhere, Service::Everything),
                    (narrow, port(1)),
                    (narrow, port(2))
                ],
                vec![(narrow, Service::Everything)],
                vec![(wide, Service::Everything)],
            ]
        );
    }
}
