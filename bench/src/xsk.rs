//! `AF_XDP` on this machine: `xsk-echo`'s own loop beside the same in C on libxdp's rings.
//!
//! Both are processes of their own on the last CPU, with the same redirect program on the
//! interface, and the same numbers of frames and entries; the packets are made, and cross a virtual
//! cable, on the first.
//!
//! The table has `xsk-echo` itself as well, whose packets come through the daemon's chain.

mod chains;
#[expect(unsafe_code, reason = "the time stamp counter")]
mod ours;
mod peer;
mod race;

use std::fmt;

use clap::ValueEnum;

use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

use chains::{Chains, MEMBERS};
pub(crate) use ours::print;
use race::{Outcome, Race};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 3] = ["xsk.rxdrop_ratio", "xsk.l2fwd_ratio", "xsk.user_cycles"];

const ROUNDS: usize = 301;
/// In one of so many rounds the daemon's chains are measured, too: seconds each.
const CHAINS_EVERY: usize = 60;

/// What is done with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// They are received and dropped.
    Rxdrop,
    /// They are sent back, with their Ethernet addresses exchanged.
    L2fwd,
}

/// What became of each round's runs.
#[derive(Default)]
struct Runs {
    ours: Vec<Outcome>,
    peers: Vec<Outcome>,
}

/// Measures on this machine.
pub(crate) fn measure(_: &Setup) -> Result<Measured> {
    let race = Race::prepare()?;
    let chains = Chains::prepare()?;
    let mut chained = Vec::new();
    let mut drops = Runs::default();
    let mut forwards = Runs::default();
    for round in 0..ROUNDS {
        for (mode, runs) in [(Mode::Rxdrop, &mut drops), (Mode::L2fwd, &mut forwards)] {
            // Neither is always the first on a machine that is warm, or not yet.
            if round % 2 == 0 {
                runs.ours.push(race.ours(mode)?);
                runs.peers.push(race.peer(mode)?);
            } else {
                runs.peers.push(race.peer(mode)?);
                runs.ours.push(race.ours(mode)?);
            }
        }
        if round % CHAINS_EVERY == 0 {
            chained.push(chains.rates()?);
        }
    }
    let [drop_ratio, forward_ratio, user_cycles] = FIGURES;
    let cycles = |runs: &[Outcome]| Sample::of(runs.iter().map(|run| run.cycles));
    Ok(Measured {
        figures: vec![
            drops.ratio(drop_ratio),
            forwards.ratio(forward_ratio),
            Figure {
                name: user_cycles,
                unit: "cycles",
                ours: cycles(&drops.ours),
                peer: PEER.to_owned(),
                peer_value: cycles(&drops.peers).median,
                target: Target::AtMost(10.0),
            },
        ],
        tables: vec![table(&drops, &forwards, &chained)],
    })
}

const PEER: &str = "the same loop in C on libxdp";

impl Runs {
    /// Our rate by the peer's in the same round: a round is shorter than a machine stays fast, or slow.
    fn ratio(&self, name: &'static str) -> Figure {
        let pairs = self.ours.iter().zip(&self.peers);
        Figure {
            name,
            unit: "× C",
            ours: Sample::of(pairs.map(|(ours, peer)| ours.rate() / peer.rate())),
            peer: PEER.to_owned(),
            peer_value: 1.0,
            target: Target::AtLeast(1.0),
        }
    }
}

fn table(drops: &Runs, forwards: &Runs, chained: &[[f64; 2]]) -> Table {
    let headings = ["", "Mpps", "spread", "best", "user cycles", "batch"];
    let mut table = Table::new("AF_XDP, one queue, 64 bytes, packets copied", headings);
    for (mode, runs) in [(Mode::Rxdrop, drops), (Mode::L2fwd, forwards)] {
        for (who, runs) in [("xsk-echo", &runs.ours), ("C, libxdp", &runs.peers)] {
            let rates = || runs.iter().map(|run| run.rate() / 1e6);
            let rate = Sample::of(rates());
            let of = |field: fn(&Outcome) -> f64| Sample::of(runs.iter().map(field)).median;
            table.row([
                format!("{mode}, {who}"),
                number(rate.median),
                number(rate.spread),
                number(rates().fold(0.0, f64::max)),
                number(of(|run| run.cycles)),
                number(of(|run| run.batch)),
            ]);
        }
    }
    for (place, members) in MEMBERS.into_iter().enumerate() {
        let rates = || chained.iter().map(|rates| rates[place] / 1e6);
        let rate = Sample::of(rates());
        table.row([
            format!("rxdrop, chain: {members}"),
            number(rate.median),
            number(rate.spread),
            number(rates().fold(0.0, f64::max)),
            "-".to_owned(),
            "-".to_owned(),
        ]);
    }
    table
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rxdrop => "rxdrop",
            Self::L2fwd => "l2fwd",
        })
    }
}
