//! A kernel in memory, which exists to fail at any step.
//!
//! It models what plans rely on and no more: interfaces and their hooks, pins, which root a hook runs,
//! what builds count, members' totals with their stamps, packets that are still inside a build after
//! its hook changed, and the redirect program's maps. Jobs are carried out effect by effect
//! ([`World::step`]): any effect can fail, or be the last before a crash, and between two effects of one
//! job those of others happen. Before each effect a packet runs through every interface. To free what
//! packets may still meet, to fill a slot twice, to build a number twice, to lose counts, to put
//! something over what runs: each is a bug in a plan or in the order of jobs, and panics.
//!
//! Extend it for a bug that was really met, and test on a real kernel what it is taught.

mod commit;
mod effect;
mod free;
mod pins;
mod prepare;
mod readers;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    Build, ChainDir, ChainKey, Cleanup, CodeId, Digest, LoadId, Member, MemberId, Mend, Observed,
    Root, Slot, State,
};

pub(super) use effect::{Fate, Running};
use pins::Pins;
pub(super) use readers::Shown;
pub(super) use sockets::Socket;

use crate::RequestId;

/// Whether a step fails whenever it is tried.
pub(super) type Stuck = fn(&Cleanup) -> bool;

/// What failed.
pub(super) type Error = &'static str;

/// An interface of the machine.
#[derive(Clone, Debug)]
pub(super) struct Nic {
    pub(super) hook: Hook,
    /// It runs XDP in native mode.
    pub(super) native: bool,
    /// In native mode its packets have several buffers.
    pub(super) large: bool,
}

/// What an interface's hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Empty,
    /// One of the daemon's links. While it is not pinned it goes with the daemon.
    Link {
        dir: ChainDir,
        build: Build,
        is_pinned: bool,
    },
    /// Somebody else's program, of this id.
    Other(u32),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) nics: BTreeMap<ChainKey, Nic>,
    chains: BTreeMap<ChainDir, Pins>,
    /// What each root counted, by slot; freed roots' too, for readers that have them open.
    counted: Vec<Vec<u64>>,
    /// What was added to totals, by root and slot.
    folded: BTreeSet<(usize, Slot)>,
    /// The packets that each member really ran for and that were to be counted.
    ran: BTreeMap<MemberId, u64>,
    /// What the loader holds, and for which request.
    pub(super) loads: BTreeMap<LoadId, RequestId>,
    /// The objects that are kept.
    pub(super) objects: BTreeSet<Digest>,
    /// `AF_XDP` sockets, by token.
    pub(super) sockets: BTreeMap<[u8; 16], Socket>,
    /// What can't be freed, whenever it is tried.
    pub(super) stuck: Option<Stuck>,
    /// Effects so far.
    pub(super) effects: u64,
}

impl World {
    /// One packet on every interface.
    fn traffic(&mut self) {
        let hooks: Vec<_> = self
            .nics
            .iter()
            .map(|(key, nic)| (*key, nic.hook))
            .collect();
        for (key, hook) in hooks {
            if let Hook::Link { dir, build, .. } = hook {
                assert_eq!(dir.key, key, "a chain runs on another's interface");
                self.run_packet(dir, build);
            }
        }
    }

    /// A packet runs through a build: each member counts it.
    fn run_packet(&mut self, dir: ChainDir, build: Build) {
        let built = &self.chains[&dir].builds[&build];
        if !built.root.as_ref().expect("a root").counters {
            return;
        }
        let counted = &mut self.counted[built.number];
        counted.resize(built.slots.len(), 0);
        for (count, (member, _)) in counted.iter_mut().zip(built.slots.values()) {
            *count += 1;
            *self.ran.entry(*member).or_default() += 1;
        }
    }

    /// What packets on this interface run; `None` if the hook is not ours.
    pub(super) fn running(&self, key: ChainKey) -> Option<(&Root, Vec<(MemberId, CodeId)>)> {
        let Hook::Link { dir, build, .. } = self.nics.get(&key)?.hook else {
            return None;
        };
        let built = &self.chains[&dir].builds[&build];
        let slots = built.slots.values().copied().collect();
        Some((built.root.as_ref().expect("a root"), slots))
    }

    /// Whether the hook's link is pinned in its place: it stays, whatever fails.
    pub(super) fn is_settled(&self, key: ChainKey) -> bool {
        let Hook::Link {
            dir,
            build,
            is_pinned,
        } = self.nics[&key].hook
        else {
            return false;
        };
        let pins = &self.chains[&dir];
        is_pinned && pins.next_link.is_none() && pins.link == Some(build)
    }

    /// Takes a hook from its link: packets that are inside are so for a while.
    fn take_off(&mut self, key: ChainKey) {
        let Some(nic) = self.nics.get_mut(&key) else {
            return;
        };
        if let Hook::Link { dir, build, .. } = nic.hook {
            nic.hook = Hook::Empty;
            self.pins(dir).inside.push(build);
        }
    }

    /// The packets that were inside when these builds left their hooks come out, and are counted
    /// where they were.
    fn let_packets_out(&mut self, dir: ChainDir, packets: usize) {
        let Some(pins) = self.chains.get_mut(&dir) else {
            return;
        };
        let rest = pins.inside.split_off(packets.min(pins.inside.len()));
        for build in std::mem::replace(&mut pins.inside, rest) {
            self.run_packet(dir, build);
        }
    }

    /// Whether anything is pinned in a chain's directory.
    pub(super) fn has_pins(&self, dir: ChainDir) -> bool {
        self.chains.contains_key(&dir)
    }

    fn pins(&mut self, dir: ChainDir) -> &mut Pins {
        self.chains.entry(dir).or_default()
    }

    /// Somebody takes a link off its interface.
    pub(super) fn foreign_detach(&mut self, key: ChainKey) {
        self.take_off(key);
    }

    /// Somebody puts a program on a hook, if it is empty.
    pub(super) fn foreign_attach(&mut self, key: ChainKey, program: u32) {
        if let Some(nic) = self.nics.get_mut(&key)
            && nic.hook == Hook::Empty
        {
            nic.hook = Hook::Other(program);
        }
    }

    /// Somebody takes that program off again.
    pub(super) fn foreign_leave(&mut self, key: ChainKey) {
        if let Some(nic) = self.nics.get_mut(&key)
            && matches!(nic.hook, Hook::Other(_))
        {
            nic.hook = Hook::Empty;
        }
    }

    /// An interface goes, and what its hook ran.
    pub(super) fn remove_nic(&mut self, key: ChainKey) {
        self.take_off(key);
        self.nics.remove(&key);
    }

    /// The daemon dies: what it held open goes, what is pinned stays.
    pub(super) fn crash(&mut self) {
        let keys: Vec<ChainKey> = self.nics.keys().copied().collect();
        for key in keys {
            if let Hook::Link {
                is_pinned: false, ..
            } = self.nics[&key].hook
            {
                self.take_off(key);
            }
        }
        let unborn: Vec<_> = self
            .chains
            .iter()
            .flat_map(|(dir, pins)| {
                let newest = pins.link.max(pins.next_link).unwrap_or(Build(0));
                let builds = pins.builds.keys().filter(move |build| **build > newest);
                builds.map(|build| (*dir, *build))
            })
            .collect();
        for (dir, build) in unborn {
            self.forget_counts(dir, build);
        }
        self.loads.clear();
        for socket in self.sockets.values_mut() {
            socket.is_held = false;
        }
        self.close();
    }

    /// What a link that was never pinned ran has run for nobody: nothing of it is kept, and a packet
    /// that is inside is not counted either.
    fn forget_counts(&mut self, dir: ChainDir, build: Build) {
        let built = self.pins(dir).built(build);
        if let Some(root) = &mut built.root {
            root.counters = false;
        }
        let (number, slots) = (built.number, built.slots.clone());
        let counted = std::mem::take(&mut self.counted[number]);
        for (count, (member, _)) in counted.iter().zip(slots.values()) {
            *self.ran.entry(*member).or_default() -= count;
        }
    }

    /// The build of a chain that its hook runs.
    fn runs(&self, of: ChainDir) -> Option<Build> {
        match self.nics.get(&of.key)?.hook {
            Hook::Link { dir, build, .. } if dir == of => Some(build),
            Hook::Link { .. } | Hook::Empty | Hook::Other(_) => None,
        }
    }

    /// What a starting daemon finds.
    pub(super) fn observe(&self) -> Observed {
        let is_hooked = |of: &ChainDir| {
            let mut hooks = self.nics.values().map(|nic| nic.hook);
            hooks.any(|hook| matches!(hook, Hook::Link { dir, .. } if dir == *of))
        };
        let chains = self.chains.iter();
        let chains = chains.map(|(dir, pins)| pins.observe(*dir, is_hooked(dir)));
        Observed {
            chains: chains.collect(),
        }
    }

    /// Makes the pins of the chains that run whole.
    pub(super) fn mend(&mut self, mends: &[(ChainDir, Mend)]) {
        for (dir, step) in mends {
            self.pins(*dir).mend(*step);
        }
    }

    /// Everything that is pinned is what the state says.
    pub(super) fn assert_is(&self, state: &State) {
        let dirs: BTreeSet<ChainDir> = state.chains.values().map(|chain| chain.dir).collect();
        let pinned: BTreeSet<ChainDir> = self.chains.keys().copied().collect();
        assert_eq!(pinned, dirs, "chains' directories");
        for chain in state.chains.values() {
            self.chains[&chain.dir].assert_is(chain);
            for member in &chain.members {
                self.assert_counted(chain.dir, member);
            }
        }
    }

    /// Every packet that the member ran for is in its total or in a build's counters.
    fn assert_counted(&self, dir: ChainDir, member: &Member) {
        let ran = self.ran.get(&member.id).copied().unwrap_or(0);
        let counted = self.count(dir, member.id, None);
        assert_eq!(counted, ran, "member {} ({})", member.name, member.id);
    }
}
