//! A report as text.

use std::fmt;

use libdispatch::{Count, escape};

use crate::report::{Line, Member, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {:.1} s", escape(&self.interface), self.interval_s)?;
        writeln!(f)?;
        write_table(f, &self.traffic())?;
        writeln!(f)?;
        match &self.members {
            Some(members) => write_table(f, &members_table(members)),
            None => writeln!(f, "the slots are not known: dispatchd can't be reached"),
        }
    }
}

impl Report {
    /// The protocols that were seen, and their sum.
    fn traffic(&self) -> Vec<Vec<String>> {
        let titles = ["protocol", "packets", "bytes", "packets/s", "bytes/s"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        let seen = self.protocols.iter().filter(|line| line.packets > 0);
        rows.extend(seen.chain([&self.total]).map(traffic_row));
        rows
    }
}

fn traffic_row(line: &Line) -> Vec<String> {
    vec![
        line.protocol.to_owned(),
        line.packets.to_string(),
        line.bytes.to_string(),
        format!("{:.0}", line.packets_per_s),
        format!("{:.0}", line.bytes_per_s),
    ]
}

/// Every member, with pass, drop, and whatever else happened to any packet.
fn members_table(members: &[Member]) -> Vec<Vec<String>> {
    let shown: Vec<&str> = [Count::Pass, Count::Drop]
        .into_iter()
        .chain(Count::ALL)
        .map(Count::name)
        .enumerate()
        .filter(|(index, name)| {
            let happened = members.iter().any(|member| member.packets[name] > 0);
            *index < 2 || happened && !["pass", "drop"].contains(name)
        })
        .map(|(_, name)| name)
        .collect();
    let mut titles = vec![
        "member".to_owned(),
        "slot".to_owned(),
        "priority".to_owned(),
    ];
    titles.extend(shown.iter().map(|name| (*name).to_owned()));
    let mut rows = vec![titles];
    for member in members {
        let slot = member.slot.map_or("-".to_owned(), |slot| slot.to_string());
        let mut row = vec![member.name.clone(), slot, member.priority.to_string()];
        row.extend(shown.iter().map(|name| member.packets[name].to_string()));
        rows.push(row);
    }
    rows
}

/// Columns as wide as their widest cell: the first to the left, numbers to the right.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(|it| width(it).unwrap_or(0)).collect();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                write!(f, "{cell:<width$}")?;
            } else {
                write!(f, "  {cell:>width$}")?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_takes_no_room() {
        let line = |protocol, packets| Line {
            protocol,
            packets,
            bytes: packets * 100,
            packets_per_s: 12.6,
            bytes_per_s: 1260.0,
        };
        let member = |slot: u16, name: &str, pass, drop, overruled| Member {
            slot: Some(slot),
            name: name.to_owned(),
            priority: 10,
            packets: Count::ALL
                .map(|count| (count.name(), 0))
                .into_iter()
                .chain([("pass", pass), ("drop", drop), ("overruled", overruled)])
                .collect(),
        };
        let report = Report {
            interface: "eth0".to_owned(),
            interval_s: 1.0,
            protocols: vec![line("arp", 0), line("ipv4-udp", 1000)],
            total: line("total", 1000),
            members: Some(vec![
                member(0, "stats", 1000, 0, 0),
                member(1, "firewall", 990, 3, 7),
            ]),
        };
        assert_eq!(
            report.to_string(),
            "\
eth0, 1.0 s

protocol  packets   bytes  packets/s  bytes/s
ipv4-udp     1000  100000         13     1260
total        1000  100000         13     1260

member    slot  priority  pass  drop  overruled
stats        0        10  1000     0          0
firewall     1        10   990     3          7
"
        );
    }
}
