//! The firewall application with many rules, beside nftables with a set of as many.

mod application;
mod nft;
mod packets;
#[expect(unsafe_code, reason = "calls of libbpf")]
mod program;
mod rules;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 3] = [
    "firewall.load160k_s",
    "firewall.change_us",
    "firewall.packet_ratio",
];

/// How many rules are many.
const MANY: usize = 160_000;
/// How many are few.
const FEW: usize = 10;

/// Measures all of it.
pub(crate) fn measure(_: &Setup) -> Result<Measured> {
    let [load, change, ratio] = FIGURES;
    let application = application::measure()?;
    let packets = packets::measure()?;
    Ok(Measured {
        figures: vec![
            Figure {
                name: load,
                unit: "s",
                ours: Sample::of(application.load),
                peer: "nft -f, a set of as many prefixes".to_owned(),
                peer_value: Sample::of(application.nft_load).median,
                target: Target::AtMost(1.0),
            },
            Figure {
                name: change,
                unit: "µs",
                ours: Sample::of(application.change),
                peer: "nft add element, its whole process".to_owned(),
                peer_value: Sample::of(application.nft_change).median,
                target: Target::AtMost(100.0),
            },
            Figure {
                name: ratio,
                unit: "× ten rules",
                ours: Sample::of(packets.ratios.clone()),
                peer: "nftables' set at the ingress hook".to_owned(),
                peer_value: packets.nft_ratio,
                target: Target::AtMost(1.5),
            },
        ],
        tables: vec![application.table, packets.table],
    })
}

/// A command's time, which has to succeed.
fn timed(command: &mut Command) -> Result<f64> {
    let start = std::time::Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = start.elapsed().as_secs_f64();
    if output.status.success() {
        Ok(took)
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command:?} failed: {errors}").into())
    }
}

/// A file's path as an argument.
fn text(path: &std::path::Path) -> Result<String> {
    let path: PathBuf = path.to_owned();
    let text = path.into_os_string().into_string();
    text.map_err(|path| format!("{} is no text", path.display()).into())
}
