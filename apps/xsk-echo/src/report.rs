//! What is shown: totals since the start, and rates since the report before.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use libdispatch::escape;
use serde::Serialize;
use xsk_echo::{Counts, Reason, Sent};

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// What came, and what became of it.
    pub(crate) counts: Counts,
    /// What was for us and didn't come.
    pub(crate) lost: Lost,
}

/// Packets of the queues that the kernel had no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// No frame was free to receive into, or the packet is longer than one.
    pub(crate) no_frame: u64,
    /// RX was full: it was read too slowly.
    pub(crate) ring_full: u64,
}

/// One interval's report; its JSON is described in docs/xsk-echo.md.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The interface.
    interface: String,
    /// Its receive queues.
    queues: Vec<u32>,
    /// The interval's real length, in seconds.
    interval_s: f64,
    received: Received,
    /// Packets that were sent, by what they were sent as.
    sent: BTreeMap<&'static str, Line>,
    /// Packets that were dropped, by why.
    dropped: BTreeMap<&'static str, Line>,
    /// Packets that didn't come, by why.
    lost: BTreeMap<&'static str, Line>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Received {
    packets: u64,
    bytes: u64,
    packets_per_s: f64,
    bytes_per_s: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Line {
    packets: u64,
    packets_per_s: f64,
}

impl Lost {
    /// What others lost, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.no_frame += other.no_frame;
        self.ring_full += other.ring_full;
    }

    fn by_name(&self) -> [(&'static str, u64); 2] {
        [("no-frame", self.no_frame), ("ring-full", self.ring_full)]
    }
}

impl Report {
    /// The report on an interval that began with `before` and ended with `now`.
    pub(crate) fn new(
        interface: &str,
        queues: &[u32],
        interval: Duration,
        before: &Totals,
        now: &Totals,
    ) -> Self {
        let rate = |before: u64, now: u64| rate(before, now, interval);
        let line = |before, now| Line {
            packets: now,
            packets_per_s: rate(before, now),
        };
        let (was, is) = (&before.counts, &now.counts);
        let lost = before.lost.by_name().into_iter().zip(now.lost.by_name());
        Self {
            interface: interface.to_owned(),
            queues: queues.to_vec(),
            interval_s: interval.as_secs_f64(),
            received: Received {
                packets: is.packets,
                bytes: is.bytes,
                packets_per_s: rate(was.packets, is.packets),
                bytes_per_s: rate(was.bytes, is.bytes),
            },
            sent: Sent::ALL
                .map(|sent| (sent.name(), line(was.sent(sent), is.sent(sent))))
                .into(),
            dropped: Reason::ALL
                .map(|why| (why.name(), line(was.dropped(why), is.dropped(why))))
                .into(),
            lost: lost
                .map(|((name, was), (_, is))| (name, line(was, is)))
                .collect(),
        }
    }

    /// What came, and of the rest what there was.
    fn rows(&self) -> Vec<(String, Line)> {
        let received = Line {
            packets: self.received.packets,
            packets_per_s: self.received.packets_per_s,
        };
        let mut rows = vec![("received".to_owned(), received)];
        let kinds = [
            ("sent", &self.sent),
            ("dropped", &self.dropped),
            ("lost", &self.lost),
        ];
        for (what, lines) in kinds {
            let seen = lines.iter().filter(|(_, line)| line.packets > 0);
            rows.extend(seen.map(|(name, line)| (format!("{what} {name}"), *line)));
        }
        rows
    }
}

fn rate(before: u64, now: u64, interval: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown in a few digits"
    )]
    let more = now.saturating_sub(before) as f64;
    more / interval.as_secs_f64()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues: Vec<String> = self.queues.iter().map(u32::to_string).collect();
        writeln!(
            f,
            "{}, queue {}, {:.1} s, {:.0} bytes/s",
            escape(&self.interface),
            queues.join(" "),
            self.interval_s,
            self.received.bytes_per_s
        )?;
        writeln!(f)?;
        writeln!(f, "{:<18}  {:>12}  {:>10}", "", "packets", "packets/s")?;
        for (what, line) in self.rows() {
            let Line {
                packets,
                packets_per_s,
            } = line;
            writeln!(f, "{what:<18}  {packets:>12}  {packets_per_s:>10.0}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xsk_echo::Action;

    use super::*;

    fn report() -> Report {
        let mut before = Totals::default();
        let sent = Action::Send {
            sent: Sent::Ping4,
            length: 98,
        };
        before.counts.add(98, sent);
        let mut now = before;
        now.counts.add(98, sent);
        now.counts.add(98, sent);
        now.counts.add(60, Action::Drop(Reason::Port));
        now.lost.ring_full = 5;
        Report::new("eth0", &[0, 1], Duration::from_millis(500), &before, &now)
    }

    #[test]
    fn what_never_happened_takes_no_room() {
        assert_eq!(
            report().to_string(),
            "\
eth0, queue 0 1, 0.5 s, 512 bytes/s

                         packets   packets/s
received                       4           6
sent ping4                     3           4
dropped port                   1           2
lost ring-full                 5          10
"
        );
    }

    #[test]
    fn programs_get_everything() {
        let json = serde_json::to_value(report()).unwrap();
        let received = serde_json::json!({
            "packets": 4, "bytes": 354, "packets_per_s": 6.0, "bytes_per_s": 512.0,
        });
        assert_eq!(json["received"], received);
        let line = serde_json::json!({ "packets": 3, "packets_per_s": 4.0 });
        assert_eq!(json["sent"]["ping4"], line);
        let none = serde_json::json!({ "packets": 0, "packets_per_s": 0.0 });
        assert_eq!(json["sent"]["udp6"], none);
        assert_eq!(json["lost"].as_object().unwrap().len(), 2);
    }
}
