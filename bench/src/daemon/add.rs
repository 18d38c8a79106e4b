//! How long it takes to add the tenth member, beside libxdp's loader.

use std::env;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use tests::{Daemon, Pair, object};
use vm::{Exit, Kernel, Series, Vm};

use super::clock::{milliseconds, run};
use super::{OBJECT, full};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 1] = ["add10.speedup"];

const MEMBERS: usize = 10;
const ROUNDS: usize = 11;

/// Where the machine has the small object: one instruction and a read-only variable.
const SMALL: &str = "/usr/local/lib/verdict.o";

/// How long each loader took to add the tenth, in milliseconds.
#[derive(Default, Serialize, Deserialize)]
struct Times {
    dispatchctl: Vec<f64>,
    xdp_loader: Vec<f64>,
}

/// With each object, and with a full chain.
#[derive(Default, Serialize, Deserialize)]
struct Measurement {
    small: Times,
    large: Times,
    full: full::Times,
}

/// Measures in a virtual machine, where both run their members by freplace.
pub(crate) fn measure(_setup: &Setup) -> Result<Measured> {
    let series = Series::V6_1;
    let bench = env::current_exe()?;
    let mut machine = Vm::new(&Kernel::debian(series)?)
        .binary_at(&bench, "/usr/local/bin/bench")
        .file(&object("verdict"), SMALL)
        .command(["bench", "add"]);
    for name in ["dispatchd", "dispatchctl"] {
        let program = bench.with_file_name(name);
        machine = machine.binary_at(&program, Path::new("/usr/local/bin").join(name));
    }
    let output = machine.output()?;
    if output.exit != Exit::Code(0) {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("in the virtual machine: {errors}").into());
    }
    let Measurement { small, large, full } = serde_json::from_slice(&output.stdout)?;
    let title = format!(
        "Adding the {MEMBERS}th member, in ms, emulated; kernel {}",
        series.name()
    );
    let mut table = Table::new(&title, ["", "median", "spread"]);
    for (name, values) in [
        ("dispatchctl load, small object", &small.dispatchctl),
        ("xdp-loader load, small object", &small.xdp_loader),
        ("dispatchctl load, xdp-filter", &large.dispatchctl),
        ("xdp-loader load, xdp-filter", &large.xdp_loader),
    ] {
        let sample = Sample::of(values.iter().copied());
        table.row([
            name.to_owned(),
            number(sample.median),
            number(sample.spread),
        ]);
    }
    let ratios = small.xdp_loader.iter().zip(&small.dispatchctl);
    Ok(Measured {
        figures: vec![Figure {
            name: FIGURES[0],
            unit: "times",
            ours: Sample::of(ratios.map(|(theirs, ours)| theirs / ours)),
            peer: "xdp-loader load".to_owned(),
            peer_value: 1.0,
            target: Target::AtLeast(5.0),
        }],
        tables: vec![table, full.table(series.name())],
    })
}

/// What runs in the machine.
pub(crate) fn print() -> Result<()> {
    let daemon = Daemon::start();
    let mut measurement = Measurement {
        full: full::Times::measure(SMALL)?,
        ..Measurement::default()
    };
    for _ in 0..ROUNDS {
        add(&daemon, SMALL, &mut measurement.small)?;
        add(&daemon, OBJECT, &mut measurement.large)?;
    }
    serde_json::to_writer(std::io::stdout(), &measurement)?;
    Ok(())
}

/// Fills a chain of each kind, one member here and one there, and times the last.
fn add(daemon: &Daemon, object: &str, times: &mut Times) -> Result<()> {
    let (ours, theirs) = (Pair::new(), Pair::new());
    let (mut our_last, mut their_last) = (0.0, 0.0);
    for number in 0..MEMBERS {
        our_last = milliseconds(|| {
            run(daemon
                .ctl_command()
                .args(["load", &ours.near.name, object, "--name"])
                .arg(format!("m{number}"))
                .args(["--netns", ours.near.netns.name()]))
        })?;
        their_last = theirs.near.netns.run(|| {
            milliseconds(|| {
                run(Command::new("xdp-loader").args(["load", &theirs.near.name, object]))
            })
            .map_err(|error| error.to_string())
        })?;
    }
    times.dispatchctl.push(our_last);
    times.xdp_loader.push(their_last);
    run(daemon
        .ctl_command()
        .args(["unload", &ours.near.name, "--all", "--netns"])
        .arg(ours.near.netns.name()))?;
    theirs.near.netns.run(|| {
        run(Command::new("xdp-loader").args(["unload", &theirs.near.name, "--all"]))
            .map_err(|error| error.to_string())
    })?;
    Ok(())
}
