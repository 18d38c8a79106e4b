//! What is shown: totals since the start, and rates since the report before.

use std::collections::BTreeMap;
use std::time::Duration;

use libdispatch::{Chain, Count};
use serde::Serialize;
use stats_abi::{Protocol, Traffic};

/// What was counted, by protocol.
pub(crate) type Totals = [Traffic; Protocol::ALL.len()];

/// One interval's report; its JSON is described in docs/stats.md.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The interface.
    pub(crate) interface: String,
    /// The interval's real length, in seconds.
    pub(crate) interval_s: f64,
    /// Every protocol, in the order of [`Protocol::ALL`].
    pub(crate) protocols: Vec<Line>,
    /// Their sum.
    pub(crate) total: Line,
    /// Every member of the chain, in run order; `None` while the daemon can't be reached.
    pub(crate) members: Option<Vec<Member>>,
}

/// One protocol's traffic, or that of all.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) protocol: &'static str,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) packets_per_s: f64,
    pub(crate) bytes_per_s: f64,
}

/// One member's verdicts since it was registered.
#[derive(Debug, Serialize)]
pub(crate) struct Member {
    /// `None` if it doesn't run.
    pub(crate) slot: Option<u16>,
    pub(crate) name: String,
    pub(crate) priority: u32,
    /// By the words of `dispatchctl list --json`.
    pub(crate) packets: BTreeMap<&'static str, u64>,
}

impl Report {
    /// The report on an interval that began with `before` and ended with `now`.
    pub(crate) fn new(
        interface: &str,
        interval: Duration,
        before: &Totals,
        now: &Totals,
        chain: Option<&Chain>,
    ) -> Self {
        let line = |name, before, now| Line::new(name, interval, before, now);
        let protocols = Protocol::ALL
            .into_iter()
            .zip(before.iter().zip(now))
            .map(|(protocol, (before, now))| line(protocol.name(), *before, *now))
            .collect();
        Self {
            interface: interface.to_owned(),
            interval_s: interval.as_secs_f64(),
            protocols,
            total: line("total", sum(before), sum(now)),
            members: chain.map(|chain| chain.members.iter().map(Member::new).collect()),
        }
    }
}

impl Line {
    fn new(protocol: &'static str, interval: Duration, before: Traffic, now: Traffic) -> Self {
        let rate = |before: u64, now: u64| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a rate is shown in a few digits"
            )]
            let more = now.saturating_sub(before) as f64;
            more / interval.as_secs_f64()
        };
        Self {
            protocol,
            packets: now.packets,
            bytes: now.bytes,
            packets_per_s: rate(before.packets, now.packets),
            bytes_per_s: rate(before.bytes, now.bytes),
        }
    }
}

impl Member {
    fn new(member: &libdispatch::Member) -> Self {
        let packets = Count::ALL.map(|count| (count.name(), member.packets.get(count)));
        Self {
            slot: member.slot,
            name: member.name.clone(),
            priority: member.priority,
            packets: packets.into(),
        }
    }
}

fn sum(totals: &Totals) -> Traffic {
    Traffic {
        packets: totals.iter().map(|traffic| traffic.packets).sum(),
        bytes: totals.iter().map(|traffic| traffic.bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_interval_and_totals_of_all_time() {
        let before = [Traffic {
            packets: 10,
            bytes: 640,
        }; Protocol::ALL.len()];
        let mut now = before;
        now[Protocol::Ipv4Udp as usize] = Traffic {
            packets: 30,
            bytes: 1920,
        };
        let report = Report::new("eth0", Duration::from_millis(500), &before, &now, None);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json["protocols"][3],
            serde_json::json!({
                "protocol": "ipv4-udp",
                "packets": 30,
                "bytes": 1920,
                "packets_per_s": 40.0,
                "bytes_per_s": 2560.0,
            })
        );
        assert_eq!(json["total"]["packets"], 120);
        assert_eq!(json["total"]["packets_per_s"], 40.0);
        assert_eq!(json["members"], serde_json::Value::Null);
    }
}
