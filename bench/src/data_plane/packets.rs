//! Time that a packet takes on this machine, with every slot by tail call.

use super::cost::Costs;
use crate::Result;
use crate::bpf::{Kind, Settings};
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 2] = ["tailcall.ns_ratio_10", "tailcall.ns_counters"];

const KINDS: [Kind; 4] = [
    Kind::Bare,
    Kind::Calls,
    Kind::TailCalls(Settings::PLAIN),
    Kind::TailCalls(Settings::COUNTED),
];
const SLOTS: [usize; 5] = [1, 4, 10, 16, 32];
const ROUNDS: usize = 101;
/// Some 5 ms a round and chain, most of which nothing interrupts.
const PACKETS: i32 = 50_000;

/// Measures on this machine.
pub(crate) fn measure(_: &Setup) -> Result<Measured> {
    let costs = Costs::measure(&KINDS, &SLOTS, ROUNDS, PACKETS)?;
    let [ratio, counters] = FIGURES;
    let [plain, counted] = [Settings::PLAIN, Settings::COUNTED].map(Kind::TailCalls);
    let rounds = |kind| costs.of(kind, 10).iter();
    let ratios = rounds(plain).zip(rounds(Kind::Calls));
    let differences = rounds(counted).zip(rounds(plain));
    Ok(Measured {
        figures: vec![
            Figure {
                name: ratio,
                unit: "× plain calls",
                ours: Sample::of(ratios.map(|(ours, calls)| ours / calls)),
                peer: Kind::Calls.to_string(),
                peer_value: 1.0,
                target: Target::AtMost(1.25),
            },
            Figure {
                name: counters,
                unit: "ns a slot",
                ours: Sample::of(differences.map(|(on, off)| (on - off) / 10.0)),
                peer: format!("{plain}, counters off"),
                peer_value: costs.per_slot(plain, 4, 10).median,
                target: Target::AtMost(0.5),
            },
        ],
        tables: vec![costs.table(
            "Nanoseconds for one packet on this machine, by number of slots",
            &KINDS,
            &SLOTS,
        )],
    })
}
