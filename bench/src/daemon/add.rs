//! How long it takes to add the tenth member, beside libxdp's loader.

use std::env;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use tests::{Daemon, Pair};
use vm::{Exit, Kernel, Series, Vm};

use super::OBJECT;
use super::clock::{milliseconds, run};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 1] = ["add10.speedup"];

const MEMBERS: usize = 10;
const ROUNDS: usize = 5;

/// How long each loader took to add the tenth, in milliseconds.
#[derive(Default, Serialize, Deserialize)]
struct Times {
    dispatchctl: Vec<f64>,
    xdp_loader: Vec<f64>,
}

/// Measures in a virtual machine, where both run their members by freplace.
pub(crate) fn measure(_setup: &Setup) -> Result<Measured> {
    let series = Series::V6_1;
    let bench = env::current_exe()?;
    let mut machine = Vm::new(&Kernel::debian(series)?)
        .binary_at(&bench, "/usr/local/bin/bench")
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
    let times: Times = serde_json::from_slice(&output.stdout)?;
    let ratios = times.xdp_loader.iter().zip(&times.dispatchctl);
    let title = format!(
        "Adding the 10th member, in ms, emulated; kernel {}",
        series.name()
    );
    let mut table = Table::new(&title, ["", "median", "spread"]);
    for (name, values) in [
        ("dispatchctl load", &times.dispatchctl),
        ("xdp-loader load", &times.xdp_loader),
    ] {
        let sample = Sample::of(values.iter().copied());
        table.row([
            name.to_owned(),
            number(sample.median),
            number(sample.spread),
        ]);
    }
    Ok(Measured {
        figures: vec![Figure {
            name: FIGURES[0],
            unit: "times",
            ours: Sample::of(ratios.map(|(theirs, ours)| theirs / ours)),
            peer: "xdp-loader load".to_owned(),
            peer_value: 1.0,
            target: Target::AtLeast(5.0),
        }],
        tables: vec![table],
    })
}

/// What runs in the machine.
pub(crate) fn print() -> Result<()> {
    let daemon = Daemon::start();
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let (ours, theirs) = (Pair::new(), Pair::new());
        let (mut our_last, mut their_last) = (0.0, 0.0);
        for number in 0..MEMBERS {
            our_last = milliseconds(|| {
                run(daemon
                    .ctl_command()
                    .args(["load", &ours.near.name, OBJECT, "--name"])
                    .arg(format!("m{number}"))
                    .args(["--netns", ours.near.netns.name()]))
            })?;
            their_last = theirs.near.netns.run(|| {
                milliseconds(|| {
                    run(Command::new("xdp-loader").args(["load", &theirs.near.name, OBJECT]))
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
    }
    serde_json::to_writer(std::io::stdout(), &times)?;
    Ok(())
}
