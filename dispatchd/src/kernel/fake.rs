//! A kernel in memory, which exists to fail at any step.
//!
//! It models what plans rely on and no more: pins, which root a hook runs, what builds count,
//! members' totals with their stamps, and packets that are still inside a build after it was
//! swapped. Whatever changes something is an *effect*; any one of them can fail, or be the last
//! before a crash. Before each effect a packet runs through every chain. To free what packets may
//! still meet is a bug in the plan: it panics.
//!
//! Extend it for a bug that was really met, and test on a real kernel what it is taught.

mod pins;

use std::collections::BTreeMap;
use std::io;

use planner::{
    Build, ChainDir, Cleanup, CodeId, Commit, MemberId, Mend, Observed, Plan, Prepare, Root, Slot,
};

use self::pins::{Built, Pins};
use super::{Kernel, KernelError, KernelErrorKind};

/// What goes wrong, by the effect's number: 0 is the first after [`FakeKernel::plan_fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This effect fails; the rest works.
    Error(usize),
    /// Instead of this effect, the daemon dies: nothing works until [`FakeKernel::restart`].
    Crash(usize),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeKernel {
    chains: BTreeMap<ChainDir, Pins>,
    /// The packets that each member really ran for and that were to be counted.
    ran: BTreeMap<MemberId, u64>,
    effects: usize,
    fault: Option<Fault>,
    is_dead: bool,
}

impl FakeKernel {
    /// Counts effects from here on, and lets one of them fail.
    pub(crate) fn plan_fault(&mut self, fault: Fault) {
        self.effects = 0;
        self.fault = Some(fault);
    }

    /// Whether the fault happened.
    pub(crate) fn is_faulted(&self) -> bool {
        match self.fault {
            Some(Fault::Error(at) | Fault::Crash(at)) => self.effects > at,
            None => false,
        }
    }

    /// A new daemon starts, and nothing fails any more.
    pub(crate) fn restart(&mut self) {
        self.fault = None;
        self.is_dead = false;
    }

    /// What packets on this interface run, first to last; `None` if the hook is empty.
    pub(crate) fn running(&self, chain: ChainDir) -> Option<Vec<(MemberId, CodeId)>> {
        let pins = self.chains.get(&chain)?;
        let built = &pins.builds[&pins.live?];
        Some(built.slots.values().copied().collect())
    }

    /// The root that packets on this interface run.
    pub(crate) fn root(&self, chain: ChainDir) -> Option<&Root> {
        let pins = self.chains.get(&chain)?;
        pins.builds[&pins.live?].root.as_ref()
    }

    /// A member's count, as a listing shows it: its total and what the live build counted.
    pub(crate) fn count(&self, chain: ChainDir, member: MemberId) -> u64 {
        let pins = &self.chains[&chain];
        let live = pins.live.map(|live| &pins.builds[&live]);
        let slots = live.into_iter().flat_map(|built| &built.slots);
        let counted = slots
            .filter(|(_, (occupant, _))| *occupant == member)
            .filter_map(|(slot, _)| live.and_then(|built| built.counts.get(slot)))
            .sum::<u64>();
        pins.members[&member].total + counted
    }

    /// The packets that a member ran for, as they happened.
    pub(crate) fn ran(&self, member: MemberId) -> u64 {
        self.ran.get(&member).copied().unwrap_or(0)
    }

    /// One packet on every interface.
    fn traffic(&mut self) {
        for pins in self.chains.values_mut() {
            if let Some(live) = pins.live {
                pins.run_packet(live, &mut self.ran);
            }
        }
    }

    /// To be called before anything changes.
    fn effect(&mut self, call: &'static str) -> Result<(), KernelError> {
        if self.is_dead {
            return Err(failed(call, KernelErrorKind::Failed));
        }
        self.traffic();
        let number = self.effects;
        self.effects += 1;
        match self.fault {
            Some(Fault::Error(at)) if at == number => Err(failed(call, KernelErrorKind::Failed)),
            Some(Fault::Crash(at)) if at == number => {
                self.is_dead = true;
                Err(failed(call, KernelErrorKind::Failed))
            }
            Some(Fault::Error(_) | Fault::Crash(_)) | None => Ok(()),
        }
    }

    fn pins(&mut self, chain: ChainDir) -> &mut Pins {
        self.chains.entry(chain).or_default()
    }

    fn swap(
        &mut self,
        plan: &Plan,
        from: Option<Build>,
        to: Option<Build>,
    ) -> Result<(), KernelError> {
        let pins = self.pins(plan.dir);
        if pins.live != from {
            return Err(failed("BPF_LINK_UPDATE", KernelErrorKind::Busy));
        }
        if let Some(to) = to {
            pins.assert_whole(to);
        }
        pins.inside.extend(from);
        pins.live = to;
        Ok(())
    }

    /// The packets that were inside when the hook changed come out, and are counted where they
    /// were.
    fn let_packets_out(&mut self, chain: ChainDir) {
        let Some(pins) = self.chains.get_mut(&chain) else {
            return;
        };
        for build in std::mem::take(&mut pins.inside) {
            pins.run_packet(build, &mut self.ran);
        }
    }

    fn fold(
        &mut self,
        chain: ChainDir,
        build: Build,
        members: &[(Slot, MemberId)],
    ) -> Result<(), KernelError> {
        for (slot, member) in members {
            self.effect("BPF_MAP_UPDATE_ELEM")?;
            let pins = self.pins(chain);
            pins.assert_unused(build);
            let Some(built) = pins.builds.get(&build) else {
                continue;
            };
            let counted = built.counts.get(slot).copied().unwrap_or(0);
            let pinned = pins.members.get_mut(member).expect("a member that stays");
            if pinned.folded < build.0 {
                pinned.folded = build.0;
                pinned.total += counted;
            }
        }
        Ok(())
    }

    fn retire(&mut self, chain: ChainDir, build: Build) -> Result<(), KernelError> {
        // Two pins, so that a crash may leave one.
        self.effect("unlink the registry")?;
        self.pins(chain).assert_unused(build);
        if let Some(built) = self.pins(chain).builds.get_mut(&build) {
            built.registry = None;
        }
        self.effect("unlink the build")?;
        self.pins(chain).builds.remove(&build);
        Ok(())
    }

    fn remove_code(
        &mut self,
        chain: ChainDir,
        member: MemberId,
        code: CodeId,
    ) -> Result<(), KernelError> {
        self.effect("unlink the code")?;
        let pins = self.pins(chain);
        pins.assert_unreachable(|(id, of)| (id, of) == (member, code));
        if let Some(pinned) = pins.members.get_mut(&member) {
            pinned.codes.remove(&code);
        }
        Ok(())
    }

    fn remove_member(&mut self, chain: ChainDir, member: MemberId) -> Result<(), KernelError> {
        self.effect("unlink the member's code")?;
        let pins = self.pins(chain);
        pins.assert_unreachable(|(id, _)| id == member);
        if let Some(pinned) = pins.members.get_mut(&member) {
            pinned.codes.clear();
        }
        self.effect("unlink the member")?;
        self.pins(chain).members.remove(&member);
        Ok(())
    }

    fn remove_chain(&mut self, chain: ChainDir) -> Result<(), KernelError> {
        self.effect("rmdir the chain")?;
        let pins = self.pins(chain);
        assert_eq!(pins.live, None, "a chain that runs is removed");
        if !pins.builds.is_empty() || !pins.members.is_empty() {
            return Err(failed("rmdir the chain", KernelErrorKind::Failed));
        }
        self.chains.remove(&chain);
        Ok(())
    }
}

impl Kernel for FakeKernel {
    fn prepare(&mut self, plan: &Plan, step: &Prepare) -> Result<(), KernelError> {
        match step {
            Prepare::PinCode { member, code, .. } => {
                self.effect("mkdir the member")?;
                self.pins(plan.dir).members.entry(*member).or_default();
                self.effect("pin the code")?;
                let pins = self.pins(plan.dir);
                let pinned = pins.members.get_mut(member).expect("just made");
                assert!(pinned.codes.insert(*code), "code {code} is pinned twice");
            }
            Prepare::BuildRoot { build, root } => {
                self.effect("mkdir the build")?;
                let former = self.pins(plan.dir).builds.insert(*build, Built::default());
                assert!(former.is_none(), "build {build} is built twice");
                self.effect("pin the root")?;
                let built = self.pins(plan.dir).built(*build);
                built.root = Some(root.clone());
            }
            Prepare::FillSlot {
                build,
                slot,
                member,
                code,
                engine: _,
            } => {
                self.effect("fill the slot")?;
                let pins = self.pins(plan.dir);
                assert!(pins.members[member].codes.contains(code));
                let former = pins.built(*build).slots.insert(*slot, (*member, *code));
                assert!(former.is_none(), "slot {slot} is filled twice");
            }
            Prepare::WriteRegistry { build } => {
                self.effect("pin the registry")?;
                let pins = self.pins(plan.dir);
                let is_live = pins.live == Some(*build);
                let built = pins.built(*build);
                let registry = if is_live {
                    &mut built.next_registry
                } else {
                    &mut built.registry
                };
                registry.clone_from(&plan.next);
            }
        }
        Ok(())
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), KernelError> {
        match plan.commit {
            Commit::Attach { build, .. } => {
                self.effect("BPF_LINK_CREATE")?;
                self.swap(plan, None, Some(build))
            }
            Commit::Swap { from, to } => {
                self.effect("BPF_LINK_UPDATE")?;
                self.swap(plan, Some(from), Some(to))
            }
            Commit::Reattach { from, to, .. } => {
                self.effect("BPF_LINK_DETACH")?;
                self.swap(plan, Some(from), None)?;
                if let Err(error) = self.effect("BPF_LINK_CREATE") {
                    // A daemon that lives puts back what was there.
                    if !self.is_dead {
                        self.pins(plan.dir).live = Some(from);
                    }
                    return Err(error);
                }
                self.swap(plan, None, Some(to))
            }
            Commit::Detach { build } => {
                self.effect("BPF_LINK_DETACH")?;
                self.swap(plan, Some(build), None)
            }
            Commit::Registry { build } => {
                self.effect("rename the registry")?;
                let built = self.pins(plan.dir).built(build);
                let next = built.next_registry.take();
                built.registry = Some(next.expect("written before"));
                Ok(())
            }
        }
    }

    fn cleanup(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => {
                self.effect("membarrier")?;
                self.let_packets_out(chain);
                Ok(())
            }
            Cleanup::FoldCounters { build, members } => self.fold(chain, *build, members),
            Cleanup::RetireBuild { build } => self.retire(chain, *build),
            Cleanup::RemoveCode { member, code } => self.remove_code(chain, *member, *code),
            Cleanup::RemoveMember { member } => self.remove_member(chain, *member),
            Cleanup::RemoveChain => self.remove_chain(chain),
        }
    }

    fn discard(&mut self, plan: &Plan) {
        if self.is_dead {
            return;
        }
        let pins = self.pins(plan.dir);
        for step in &plan.prepare {
            match step {
                Prepare::PinCode { member, code, .. } => {
                    if let Some(pinned) = pins.members.get_mut(member) {
                        pinned.codes.remove(code);
                        if pinned.codes.is_empty() {
                            pins.members.remove(member);
                        }
                    }
                }
                Prepare::BuildRoot { build, .. } => {
                    pins.assert_unused(*build);
                    pins.builds.remove(build);
                }
                Prepare::WriteRegistry { build } => {
                    if let Some(built) = pins.builds.get_mut(build) {
                        built.next_registry = None;
                    }
                }
                Prepare::FillSlot { .. } => {}
            }
        }
        if pins.live.is_none() && pins.builds.is_empty() && pins.members.is_empty() {
            self.chains.remove(&plan.dir);
        }
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        if self.is_dead {
            return Err(failed("readdir", KernelErrorKind::Failed));
        }
        let chains = self.chains.iter();
        Ok(Observed {
            chains: chains.map(|(key, pins)| pins.observe(*key)).collect(),
        })
    }

    /// Of what is mended, only a registry that was never put in its place is modelled.
    fn mend(&mut self, chain: ChainDir, step: &Mend) -> Result<(), KernelError> {
        let Mend::DropNextRegistry { build } = step else {
            panic!("{step:?} of pins that were whole");
        };
        self.effect("unlink the next registry")?;
        self.pins(chain).built(*build).next_registry = None;
        Ok(())
    }
}

fn failed(call: &'static str, kind: KernelErrorKind) -> KernelError {
    KernelError {
        call,
        subject: "a kernel in memory".into(),
        kind,
        source: io::Error::other("the fault that was planned"),
    }
}
