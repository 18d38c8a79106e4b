//! A kernel in memory, which exists to fail at any step.
//!
//! It models what plans rely on and no more: pins, which root a hook runs, what generations count,
//! members' totals with their stamps, and packets that are still inside a generation after it was
//! swapped. Whatever changes something is an *effect*; any one of them can fail, or be the last
//! before a crash. Before each effect a packet runs through every chain. To free what packets may
//! still meet is a bug in the plan: it panics.
//!
//! Extend it for a bug that was really met, and test on a real kernel what it is taught.

mod pins;

use std::collections::BTreeMap;
use std::io;

use planner::{
    ChainKey, Cleanup, CodeId, Commit, Generation, MemberId, Observed, Plan, Prepare, Root, Slot,
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
    chains: BTreeMap<ChainKey, Pins>,
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
    pub(crate) fn running(&self, chain: ChainKey) -> Option<Vec<(MemberId, CodeId)>> {
        let pins = self.chains.get(&chain)?;
        let built = &pins.generations[&pins.live?];
        Some(built.slots.values().copied().collect())
    }

    /// The root that packets on this interface run.
    pub(crate) fn root(&self, chain: ChainKey) -> Option<&Root> {
        let pins = self.chains.get(&chain)?;
        pins.generations[&pins.live?].root.as_ref()
    }

    /// A member's count, as a listing shows it: its total and what the live generation counted.
    pub(crate) fn count(&self, chain: ChainKey, member: MemberId) -> u64 {
        let pins = &self.chains[&chain];
        let live = pins.live.map(|live| &pins.generations[&live]);
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

    fn pins(&mut self, chain: ChainKey) -> &mut Pins {
        self.chains.entry(chain).or_default()
    }

    fn swap(
        &mut self,
        plan: &Plan,
        from: Option<Generation>,
        to: Option<Generation>,
    ) -> Result<(), KernelError> {
        let pins = self.pins(plan.chain);
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
    fn let_packets_out(&mut self, chain: ChainKey) {
        let Some(pins) = self.chains.get_mut(&chain) else {
            return;
        };
        for generation in std::mem::take(&mut pins.inside) {
            pins.run_packet(generation, &mut self.ran);
        }
    }

    fn fold(
        &mut self,
        chain: ChainKey,
        generation: Generation,
        members: &[(Slot, MemberId)],
    ) -> Result<(), KernelError> {
        for (slot, member) in members {
            self.effect("BPF_MAP_UPDATE_ELEM")?;
            let pins = self.pins(chain);
            pins.assert_unused(generation);
            let Some(built) = pins.generations.get(&generation) else {
                continue;
            };
            let counted = built.counts.get(slot).copied().unwrap_or(0);
            let pinned = pins.members.get_mut(member).expect("a member that stays");
            if pinned.folded < generation.0 {
                pinned.folded = generation.0;
                pinned.total += counted;
            }
        }
        Ok(())
    }

    fn retire(&mut self, chain: ChainKey, generation: Generation) -> Result<(), KernelError> {
        // Two pins, so that a crash may leave one.
        self.effect("unlink the registry")?;
        self.pins(chain).assert_unused(generation);
        if let Some(built) = self.pins(chain).generations.get_mut(&generation) {
            built.registry = None;
        }
        self.effect("unlink the generation")?;
        self.pins(chain).generations.remove(&generation);
        Ok(())
    }

    fn remove_code(
        &mut self,
        chain: ChainKey,
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

    fn remove_member(&mut self, chain: ChainKey, member: MemberId) -> Result<(), KernelError> {
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

    fn remove_chain(&mut self, chain: ChainKey) -> Result<(), KernelError> {
        self.effect("rmdir the chain")?;
        let pins = self.pins(chain);
        assert_eq!(pins.live, None, "a chain that runs is removed");
        if !pins.generations.is_empty() || !pins.members.is_empty() {
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
                self.pins(plan.chain).members.entry(*member).or_default();
                self.effect("pin the code")?;
                let pins = self.pins(plan.chain);
                let pinned = pins.members.get_mut(member).expect("just made");
                assert!(pinned.codes.insert(*code), "code {code} is pinned twice");
            }
            Prepare::BuildRoot { generation, root } => {
                self.effect("mkdir the generation")?;
                let former = self
                    .pins(plan.chain)
                    .generations
                    .insert(*generation, Built::default());
                assert!(former.is_none(), "generation {generation} is built twice");
                self.effect("pin the root")?;
                let built = self.pins(plan.chain).built(*generation);
                built.root = Some(root.clone());
            }
            Prepare::FillSlot {
                generation,
                slot,
                member,
                code,
                engine: _,
            } => {
                self.effect("fill the slot")?;
                let pins = self.pins(plan.chain);
                assert!(pins.members[member].codes.contains(code));
                let former = pins
                    .built(*generation)
                    .slots
                    .insert(*slot, (*member, *code));
                assert!(former.is_none(), "slot {slot} is filled twice");
            }
            Prepare::WriteRegistry { generation } => {
                self.effect("pin the registry")?;
                let pins = self.pins(plan.chain);
                let is_live = pins.live == Some(*generation);
                let built = pins.built(*generation);
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
            Commit::Attach { generation, .. } => {
                self.effect("BPF_LINK_CREATE")?;
                self.swap(plan, None, Some(generation))
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
                        self.pins(plan.chain).live = Some(from);
                    }
                    return Err(error);
                }
                self.swap(plan, None, Some(to))
            }
            Commit::Detach { generation } => {
                self.effect("BPF_LINK_DETACH")?;
                self.swap(plan, Some(generation), None)
            }
            Commit::Registry { generation } => {
                self.effect("rename the registry")?;
                let built = self.pins(plan.chain).built(generation);
                let next = built.next_registry.take();
                built.registry = Some(next.expect("written before"));
                Ok(())
            }
        }
    }

    fn cleanup(&mut self, chain: ChainKey, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => {
                self.effect("membarrier")?;
                self.let_packets_out(chain);
                Ok(())
            }
            Cleanup::FoldCounters {
                generation,
                members,
            } => self.fold(chain, *generation, members),
            Cleanup::RetireGeneration { generation } => self.retire(chain, *generation),
            Cleanup::RemoveCode { member, code } => self.remove_code(chain, *member, *code),
            Cleanup::RemoveMember { member } => self.remove_member(chain, *member),
            Cleanup::RemoveChain => self.remove_chain(chain),
        }
    }

    fn discard(&mut self, plan: &Plan) {
        if self.is_dead {
            return;
        }
        let pins = self.pins(plan.chain);
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
                Prepare::BuildRoot { generation, .. } => {
                    pins.assert_unused(*generation);
                    pins.generations.remove(generation);
                }
                Prepare::WriteRegistry { generation } => {
                    if let Some(built) = pins.generations.get_mut(generation) {
                        built.next_registry = None;
                    }
                }
                Prepare::FillSlot { .. } => {}
            }
        }
        if pins.live.is_none() && pins.generations.is_empty() && pins.members.is_empty() {
            self.chains.remove(&plan.chain);
        }
    }

    /// A registry that was never put in place is nobody's: it goes.
    fn observe(&mut self) -> Result<Observed, KernelError> {
        if self.is_dead {
            return Err(failed("readdir", KernelErrorKind::Failed));
        }
        let chains = self.chains.iter_mut();
        Ok(Observed {
            chains: chains.map(|(key, pins)| pins.observe(*key)).collect(),
        })
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
