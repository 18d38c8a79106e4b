//! What is freed.

use planner::{Build, ChainDir, Cleanup, CodeId, MemberId, Slot};

use super::World;

impl World {
    /// One effect of a step, 0 the first; returns whether it was the last. `inside`: how many packets
    /// were inside builds of the chain when the step was begun.
    pub(super) fn free(
        &mut self,
        dir: ChainDir,
        step: &Cleanup,
        effect: usize,
        inside: usize,
    ) -> bool {
        match step {
            Cleanup::Grace => {
                if effect == 1 {
                    self.let_packets_out(dir, inside);
                }
                effect == 1
            }
            Cleanup::FoldCounters { build, members } => {
                if let Some((slot, member)) = members.get(effect) {
                    self.fold(dir, *build, *slot, *member);
                }
                effect + 1 >= members.len()
            }
            Cleanup::RetireBuild { build } => {
                self.retire(dir, *build, effect);
                effect == 1
            }
            Cleanup::RemoveDraft { build } => {
                if let Some(built) = self.pins(dir).builds.get_mut(build) {
                    built.draft = None;
                }
                true
            }
            Cleanup::RemoveCode { member, code } => {
                self.remove_code(dir, *member, *code);
                true
            }
            Cleanup::RemoveMember { member } => {
                self.remove_member(dir, *member, effect);
                effect == 1
            }
            Cleanup::RemoveChain => {
                self.remove_chain(dir);
                true
            }
        }
    }

    /// How many packets are inside builds of a chain that their hook doesn't run any more.
    pub(super) fn inside(&self, dir: ChainDir) -> usize {
        self.chains.get(&dir).map_or(0, |pins| pins.inside.len())
    }

    fn fold(&mut self, dir: ChainDir, build: Build, slot: Slot, member: MemberId) {
        let runs = self.runs(dir);
        let pins = self.pins(dir);
        pins.assert_unused(build, runs);
        let Some(built) = pins.builds.get(&build) else {
            return;
        };
        let number = built.number;
        let counted = self.counted[number].get(usize::from(slot.0)).copied();
        let counted = counted.unwrap_or(0);
        let pins = self.pins(dir);
        let pinned = pins.members.get_mut(&member).expect("a member that stays");
        if pinned.folded < build.0 {
            pinned.folded = build.0;
            pinned.total += counted;
            let is_first = self.folded.insert((number, slot));
            assert!(is_first, "build {build} is added twice");
        } else {
            let is_in = counted == 0 || self.folded.contains(&(number, slot));
            assert!(
                is_in,
                "build {build} comes after newer ones: its counts are lost"
            );
        }
    }

    /// Two pins, so that a crash may leave one.
    fn retire(&mut self, dir: ChainDir, build: Build, effect: usize) {
        let runs = self.runs(dir);
        let pins = self.pins(dir);
        pins.assert_unused(build, runs);
        if effect == 1 {
            pins.builds.remove(&build);
        } else if let Some(built) = pins.builds.get_mut(&build) {
            built.registry = None;
        }
    }

    fn remove_code(&mut self, dir: ChainDir, member: MemberId, code: CodeId) {
        let runs = self.runs(dir);
        let pins = self.pins(dir);
        pins.assert_unreachable(runs, |it| it == (member, code));
        if let Some(pinned) = pins.members.get_mut(&member) {
            pinned.codes.remove(&code);
        }
    }

    fn remove_member(&mut self, dir: ChainDir, member: MemberId, effect: usize) {
        let runs = self.runs(dir);
        let pins = self.pins(dir);
        pins.assert_unreachable(runs, |(id, _)| id == member);
        if effect == 1 {
            pins.members.remove(&member);
            self.ran.remove(&member);
        } else if let Some(pinned) = pins.members.get_mut(&member) {
            pinned.codes.clear();
        }
    }

    fn remove_chain(&mut self, dir: ChainDir) {
        assert_eq!(self.runs(dir), None, "a chain that runs is removed");
        let pins = self.pins(dir);
        assert_eq!(pins.link, None, "a link goes with its chain");
        assert!(
            pins.builds.is_empty() && pins.members.is_empty(),
            "{pins:?}"
        );
        self.chains.remove(&dir);
    }
}
