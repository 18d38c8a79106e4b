//! How long a reorder takes beyond what the kernel takes.

use libdispatch::Position;
use tests::{Daemon, Pair};

use super::clock::milliseconds;
use super::hook::{Hook, grace_period};
use super::{OBJECT, client, fill};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 1] = ["reorder10.ms_over_link_update"];

const MEMBERS: usize = 10;
const ROUNDS: usize = 31;

/// Measures on the host: a reorder by a connected client, a bare update of a link, and a grace
/// period, in turns.
pub(crate) fn measure(_setup: &Setup) -> Result<Measured> {
    let (daemon, pair) = (Daemon::start(), Pair::new());
    let interface = pair.near.name.as_str();
    let client = client(&daemon, &pair.near)?;
    fill(&client, interface, OBJECT, MEMBERS)?;
    let mut hook = Hook::attach()?;
    let mut rounds: Vec<[f64; 4]> = Vec::new();
    for round in 0..ROUNDS {
        let moved = format!("m{}", round * 7 % MEMBERS);
        let reorder = milliseconds(|| {
            let to = if round % 2 == 0 {
                Position::First
            } else {
                Position::Last
            };
            Ok(client.change(interface).reorder(&moved, to).apply()?)
        })?;
        let update = milliseconds(|| Ok(hook.update()?))?;
        let grace = milliseconds(|| {
            grace_period();
            Ok(())
        })?;
        rounds.push([reorder, update, grace, reorder - 1.5 * update - grace]);
    }
    let column = |index: usize| Sample::of(rounds.iter().map(|round| round[index]));
    let programs = xdp_programs()?;
    let mut table = Table::new(
        &format!("A reorder of {MEMBERS} members, in ms; {programs} XDP programs on the host"),
        ["", "median", "spread"],
    );
    for (index, name) in [
        "reorder",
        "bare link update",
        "grace period",
        "reorder - 1.5 updates - grace",
    ]
    .into_iter()
    .enumerate()
    {
        let sample = column(index);
        table.row([
            name.to_owned(),
            number(sample.median),
            number(sample.spread),
        ]);
    }
    Ok(Measured {
        figures: vec![Figure {
            name: FIGURES[0],
            unit: "ms",
            ours: column(3),
            peer: format!("one bare link update, {programs} XDP programs on the host"),
            peer_value: column(1).median,
            target: Target::AtMost(1.0),
        }],
        tables: vec![table],
    })
}

/// XDP programs on the host: a link update waits for the kernel's dispatcher if they are few.
fn xdp_programs() -> Result<usize> {
    let loaded = aya::programs::loaded_programs().collect::<std::result::Result<Vec<_>, _>>()?;
    let kinds = loaded.iter().map(|program| program.program_type() as u32);
    Ok(kinds
        .filter(|kind| *kind == libbpf_sys::BPF_PROG_TYPE_XDP)
        .count())
}
