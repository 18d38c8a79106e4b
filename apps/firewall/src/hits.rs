//! How many packets each rule decided.

use std::collections::BTreeMap;

use aya::maps::{MapData, MapError, PerCpuArray};
use firewall_abi::{HITS_MAP, HITS_PER_ELEMENT, HitsElement, OUTCOMES_MAP, Outcome, Room};
use libdispatch::Registration;
use shell::Failure;

/// The program's counts.
pub(crate) struct Hits {
    by_id: PerCpuArray<MapData, HitsElement>,
    outcomes: PerCpuArray<MapData, u64>,
    room: Room,
    /// What ids that are used again were counted before.
    before: BTreeMap<u32, u64>,
}

/// The counts of one moment, by id.
pub(crate) struct Counted(Vec<u64>);

impl Hits {
    /// A registered program's.
    pub(crate) fn of(registration: &Registration, room: Room) -> Result<Self, Failure> {
        let map = |name| {
            let map = registration.aya_map(name);
            map.map_err(Failure::on(registration.interface()))
        };
        let by_id = map(HITS_MAP)?.try_into();
        let outcomes = map(OUTCOMES_MAP)?.try_into();
        Ok(Self {
            by_id: by_id.map_err(Failure::map(HITS_MAP))?,
            outcomes: outcomes.map_err(Failure::map(OUTCOMES_MAP))?,
            room,
            before: BTreeMap::new(),
        })
    }

    /// What every id was counted so far.
    pub(crate) fn count(&self) -> Result<Counted, Failure> {
        let mut counted = self.read().map_err(Failure::map(HITS_MAP))?;
        for (id, before) in &self.before {
            counted.0[*id as usize] -= before;
        }
        Ok(counted)
    }

    /// Counts these from 0 again. No packet is judged by them.
    pub(crate) fn forget(&mut self, ids: &[u32]) -> Result<(), Failure> {
        let counted = self.read().map_err(Failure::map(HITS_MAP))?;
        let before = ids.iter().map(|id| (*id, counted.0[*id as usize]));
        self.before.extend(before);
        Ok(())
    }

    /// What became of packets so far.
    pub(crate) fn outcomes(&self) -> Result<[(Outcome, u64); Outcome::ALL.len()], Failure> {
        let mut outcomes = Outcome::ALL.map(|outcome| (outcome, 0));
        for (outcome, packets) in &mut outcomes {
            let shares = self
                .outcomes
                .get(&(*outcome as u32), 0)
                .map_err(Failure::map(OUTCOMES_MAP))?;
            *packets = shares.iter().sum();
        }
        Ok(outcomes)
    }

    fn read(&self) -> Result<Counted, MapError> {
        let mut counts = Vec::with_capacity((self.room.hits() * HITS_PER_ELEMENT) as usize);
        for element in 0..self.room.hits() {
            let shares = self.by_id.get(&element, 0)?;
            for at in 0..HITS_PER_ELEMENT as usize {
                counts.push(shares.iter().map(|share| share[at]).sum());
            }
        }
        Ok(Counted(counts))
    }
}

impl Counted {
    /// Of all these ids together.
    pub(crate) fn of(&self, ids: impl IntoIterator<Item = u32>) -> u64 {
        ids.into_iter()
            .filter_map(|id| self.0.get(id as usize))
            .sum()
    }
}
