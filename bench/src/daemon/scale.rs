//! Many interfaces with a few members each.

use std::process::Command;
use std::time::Instant;

use libdispatch::Program;
use tests::{Daemon, End, NetNs, Pair, PairOptions};

use super::clock::{milliseconds, run};
use super::{OBJECT, client};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 3] = ["list300.ms", "restart100.s", "rss.mib"];

const INTERFACES: usize = 100;
const MEMBERS: usize = 3;
const LISTINGS: usize = 21;
const RESTARTS: usize = 7;

/// Measures on the host: adding, listing, restarting, memory.
pub(crate) fn measure(_setup: &Setup) -> Result<Measured> {
    let (mut daemon, mut empty) = (Daemon::start(), Daemon::start());
    let empty_memory = mebibytes(empty.memory());
    let (near, far) = (NetNs::new(), NetNs::new());
    let pairs: Vec<Pair> = (0..INTERFACES)
        .map(|number| {
            let names = [format!("near{number}"), format!("far{number}")];
            Pair::between(&near, &far, [&names[0], &names[1]], &PairOptions::default())
        })
        .collect();
    let added = add(&daemon, pairs.iter().map(|pair| &pair.near))?;
    let memory = mebibytes(daemon.memory());
    let mut listed = Vec::new();
    let mut status = Vec::new();
    for _ in 0..LISTINGS {
        listed.push(milliseconds(|| run(daemon.ctl_command().arg("list")))?);
        status.push(near.run(|| {
            milliseconds(|| run(Command::new("xdp-loader").arg("status")))
                .map_err(|error| error.to_string())
        })?);
    }
    let (mut restarted, mut restarted_empty) = (Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        restarted.push(restart(&mut daemon)?);
        restarted_empty.push(restart(&mut empty)?);
    }
    let title = format!("{INTERFACES} interfaces with {MEMBERS} members each");
    let mut table = Table::new(&title, ["", "median", "spread", "unit"]);
    let rows = [
        ("adding a member", &added, "ms"),
        ("dispatchctl list", &listed, "ms"),
        ("xdp-loader status", &status, "ms"),
        ("restart", &restarted, "s"),
        ("restart without chains", &restarted_empty, "s"),
    ];
    for (name, values, unit) in rows {
        let sample = Sample::of(values.iter().copied());
        table.row([
            name.to_owned(),
            number(sample.median),
            number(sample.spread),
            unit.to_owned(),
        ]);
    }
    let [list, restart, rss] = FIGURES;
    let median = |values: &[f64]| Sample::of(values.iter().copied()).median;
    Ok(Measured {
        figures: vec![
            Figure {
                name: list,
                unit: "ms",
                peer_value: median(&status),
                ours: Sample::of(listed),
                peer: "xdp-loader status of the same interfaces".to_owned(),
                target: Target::AtMost(5.0),
            },
            Figure {
                name: restart,
                unit: "s",
                peer_value: median(&restarted_empty),
                ours: Sample::of(restarted),
                peer: "a restart without chains".to_owned(),
                target: Target::AtMost(1.0),
            },
            Figure {
                name: rss,
                unit: "MiB",
                ours: Sample::of([memory]),
                peer: "the same daemon without chains".to_owned(),
                peer_value: empty_memory,
                target: Target::AtMost(16.0),
            },
        ],
        tables: vec![table],
    })
}

/// Adds the members one by one, and says how long each took.
fn add<'a>(daemon: &Daemon, ends: impl Iterator<Item = &'a End>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for end in ends {
        let client = client(daemon, end)?;
        for number in 0..MEMBERS {
            let program = Program::from_file(OBJECT)?
                .name(format!("m{number}"))
                .kept();
            times.push(milliseconds(|| {
                Ok(client.change(&end.name).register(&program).apply()?)
            })?);
        }
    }
    Ok(times)
}

/// Ends a daemon as a crash does, and starts it again: how long until it answers, in seconds.
fn restart(daemon: &mut Daemon) -> Result<f64> {
    daemon.kill();
    let start = Instant::now();
    daemon.restart();
    run(daemon.ctl_command().arg("status"))?;
    Ok(start.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
