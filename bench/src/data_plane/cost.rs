//! What a packet costs in a chain.

use std::io;

use serde::{Deserialize, Serialize};

use crate::bpf::{Chain, Kind};
use crate::sample::Sample;
use crate::table::{Table, number};

/// What one packet takes in one chain: once for each round.
#[derive(Serialize, Deserialize)]
pub(super) struct Cost {
    kind: Kind,
    slots: usize,
    rounds: Vec<f64>,
}

/// Costs that were measured in turns.
#[derive(Serialize, Deserialize)]
pub(super) struct Costs(Vec<Cost>);

impl Costs {
    /// Measures every kind with every number of slots, one after the other, so many rounds long.
    pub(super) fn measure(
        kinds: &[Kind],
        slots: &[usize],
        rounds: usize,
        packets: i32,
    ) -> io::Result<Self> {
        let mut subjects = Vec::new();
        for kind in kinds {
            let fitting = slots.iter().filter(|slots| **slots <= kind.slots_max());
            for slots in fitting {
                let cost = Cost {
                    kind: *kind,
                    slots: *slots,
                    rounds: Vec::new(),
                };
                let chain = Chain::load(*kind, *slots)
                    .map_err(|error| io::Error::new(error.kind(), format!("{kind}: {error}")))?;
                subjects.push((chain, cost));
            }
        }
        for _ in 0..rounds {
            for (chain, cost) in &mut subjects {
                cost.rounds.push(chain.packet_cost(packets)?);
            }
        }
        Ok(Self(subjects.into_iter().map(|(_, cost)| cost).collect()))
    }

    /// What a packet took in each round.
    pub(super) fn of(&self, kind: Kind, slots: usize) -> &[f64] {
        let cost = self
            .0
            .iter()
            .find(|cost| cost.kind == kind && cost.slots == slots);
        cost.map_or(&[], |cost| cost.rounds.as_slice())
    }

    /// What one more slot takes: the difference between so many and so many.
    pub(super) fn per_slot(&self, kind: Kind, few: usize, many: usize) -> Sample {
        #[expect(clippy::cast_precision_loss, reason = "chains are short")]
        let slots = (many - few) as f64;
        let costs = self.of(kind, few).iter().zip(self.of(kind, many));
        Sample::of(costs.map(|(few, many)| (many - few) / slots))
    }

    /// All of them: a row for each kind, a column for each number of slots, and one for each slot
    /// more between 4 and 10.
    pub(super) fn table(&self, title: &str, kinds: &[Kind], slots: &[usize]) -> Table {
        let headings = slots.iter().map(usize::to_string);
        let mut table = Table::new(
            title,
            std::iter::once(String::new())
                .chain(headings)
                .chain(["a slot more".to_owned()]),
        );
        for kind in kinds {
            let costs = slots.iter().map(|slots| {
                let rounds = self.of(*kind, *slots);
                if rounds.is_empty() {
                    return "-".to_owned();
                }
                number(Sample::of(rounds.iter().copied()).median)
            });
            let per_slot = number(self.per_slot(*kind, 4, 10).median);
            table.row(
                std::iter::once(kind.to_string())
                    .chain(costs)
                    .chain([per_slot]),
            );
        }
        table
    }
}
