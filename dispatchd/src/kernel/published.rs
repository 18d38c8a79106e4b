//! What other threads may read of the kernel's side: counters and maps, by shared descriptors.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use dispatcher_abi::SlotCounters;
use planner::{Build, CodeId, MemberId};

use super::counters::{self, Layout};
use super::totals::Totals;
use crate::bpf::MapInfo;

/// A map of a member.
#[derive(Clone, Debug)]
pub struct MemberMap {
    /// Its name in the object.
    pub name: String,
    /// The map.
    pub fd: Arc<OwnedFd>,
    /// Its id and shape.
    pub(crate) info: MapInfo,
}

/// What may be read of one chain's descriptors.
#[derive(Clone, Debug, Default)]
pub struct ChainView {
    pub(super) builds: Vec<BuildCounters>,
    pub(super) totals: BTreeMap<MemberId, Totals>,
    pub(super) maps: BTreeMap<(MemberId, CodeId), Arc<Vec<MemberMap>>>,
}

impl ChainView {
    /// Where the counts are found of the build that runs, and of those before it that aren't retired.
    pub fn counters(&self, live: Build) -> ChainCounters {
        let builds = self.builds.iter().filter(|build| build.build <= live.0);
        ChainCounters {
            builds: builds.cloned().collect(),
            totals: self.totals.clone(),
        }
    }

    /// A member's maps.
    pub fn maps(&self, member: MemberId, code: CodeId) -> Arc<Vec<MemberMap>> {
        self.maps.get(&(member, code)).cloned().unwrap_or_default()
    }
}

/// Where a chain's counts are found.
#[derive(Clone, Debug, Default)]
pub struct ChainCounters {
    pub(super) builds: Vec<BuildCounters>,
    pub(super) totals: BTreeMap<MemberId, Totals>,
}

#[derive(Clone, Debug)]
pub(super) struct BuildCounters {
    pub(super) build: u64,
    pub(super) counters: Arc<OwnedFd>,
    pub(super) layout: Layout,
    /// By slot.
    pub(super) members: Vec<MemberId>,
}

impl ChainCounters {
    /// Every member's counts: its total, and what the builds that aren't in it yet counted.
    pub fn read(&self) -> io::Result<BTreeMap<MemberId, SlotCounters>> {
        let mut counts: BTreeMap<MemberId, SlotCounters> = self
            .totals
            .iter()
            .map(|(member, totals)| (*member, totals.counts.known()))
            .collect();
        for build in &self.builds {
            let slots = counters::read(build.counters.as_fd(), build.layout)?;
            for (member, slot) in build.members.iter().zip(&slots) {
                let folded = self.totals.get(member).map_or(0, |totals| totals.folded);
                if folded < build.build
                    && let Some(count) = counts.get_mut(member)
                {
                    count.add(&slot.known());
                }
            }
        }
        Ok(counts)
    }
}
