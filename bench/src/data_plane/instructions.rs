//! Instructions that a slot takes.
//!
//! A machine that counts instructions gives the same figure on every host: its clock advances by
//! one nanosecond an instruction, so the kernel's time for a packet is the number of instructions.

use std::env;
use std::path::Path;

use vm::{Exit, Kernel, Series, Vm};

use super::cost::Costs;
use crate::Result;
use crate::bpf::{CURRENT_LIBXDP, Kind, Settings};
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 3] = [
    "freplace.insns_per_slot",
    "freplace.insns_per_slot_counters",
    "freplace.insns_per_slot_mixed_counters",
];

const SLOTS: [usize; 3] = [1, 4, 10];
const ROUNDS: usize = 7;
/// Few: each instruction is emulated.
const PACKETS: i32 = 1000;

/// Measures in a virtual machine with the oldest kernel that is supported.
pub(crate) fn measure(setup: &Setup) -> Result<Measured> {
    let series = Series::V6_1;
    let program = env::current_exe()?;
    let mut machine = Vm::new(&Kernel::debian(series)?)
        .count_instructions()
        .binary_at(&program, "/usr/local/bin/bench")
        .command(["bench", "instructions"]);
    if let Some(object) = &setup.libxdp {
        machine = machine.file(object, CURRENT_LIBXDP);
    }
    let output = machine.output()?;
    if output.exit != Exit::Code(0) {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("in the virtual machine: {errors}").into());
    }
    let costs: Costs = serde_json::from_slice(&output.stdout)?;
    let title = format!(
        "Guest instructions for one packet, by number of slots; kernel {}",
        series.name()
    );
    let kinds = kinds(setup.libxdp.is_some());
    Ok(Measured {
        figures: figures(&costs),
        tables: vec![costs.table(&title, &kinds, &SLOTS)],
    })
}

/// What runs in the machine.
pub(crate) fn print() -> Result<()> {
    let kinds = kinds(Path::new(CURRENT_LIBXDP).exists());
    let costs = Costs::measure(&kinds, &SLOTS, ROUNDS, PACKETS)?;
    serde_json::to_writer(std::io::stdout(), &costs)?;
    Ok(())
}

fn figures(costs: &Costs) -> Vec<Figure> {
    let per_slot = |kind| costs.per_slot(kind, 4, 10);
    let figure = |name, settings, limit| Figure {
        name,
        unit: "instructions",
        ours: per_slot(Kind::Extensions(settings)),
        peer: format!("{}, which counts nothing", Kind::DebianLibxdp),
        peer_value: per_slot(Kind::DebianLibxdp).median,
        target: Target::AtMost(limit),
    };
    let [plain, counted, mixed] = FIGURES;
    vec![
        figure(plain, Settings::PLAIN, 18.0),
        figure(counted, Settings::COUNTED, 22.0),
        figure(mixed, Settings::MIXED_COUNTED, 26.0),
    ]
}

fn kinds(current_libxdp: bool) -> Vec<Kind> {
    let ours = [Kind::Extensions, Kind::Replaced, Kind::TailCalls];
    let settings = [Settings::PLAIN, Settings::COUNTED, Settings::MIXED_COUNTED];
    let mut kinds = vec![Kind::Bare, Kind::Calls];
    kinds.extend(ours.iter().flat_map(|kind| settings.map(kind)));
    kinds.push(Kind::DebianLibxdp);
    if current_libxdp {
        kinds.push(Kind::CurrentLibxdp);
    }
    kinds
}
