//! The steps that free what packets no longer see.

use std::os::fd::AsFd;

use planner::{Build, Call, ChainDir, Cleanup, MemberId, Pin, Slot};

use super::counters::Counts;
use super::linux::{Linux, MemberFds, failed};
use super::{KernelError, counters, grace, pins, totals};

impl Linux {
    /// Carries out one step that frees what packets no longer see. Repeating it is harmless, and so
    /// is a step whose subject is gone.
    pub fn free(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => grace::wait().map_err(failed(Call::Membarrier, "the grace period")),
            Cleanup::FoldCounters { build, members } => self.fold(chain, *build, members),
            Cleanup::RetireBuild { build } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Build(*build)))
                    .map_err(failed(Call::Rmdir, format!("build {build}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.builds.remove(build);
                }
                Ok(())
            }
            Cleanup::RemoveDraft { build } => {
                pins::remove_pin(&self.pins.path(chain, &Pin::NextRegistry(*build))).map_err(
                    failed(Call::Unlink, format!("the new registry of build {build}")),
                )
            }
            Cleanup::RemoveCode { member, code } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Code(*member, *code))).map_err(
                    failed(Call::Rmdir, format!("code {code} of member {member}")),
                )?;
                if let Some(fds) = self.chains.get_mut(&chain)
                    && let Some(member) = fds.members.get_mut(member)
                {
                    member.codes.remove(code);
                }
                Ok(())
            }
            Cleanup::RemoveMember { member } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Member(*member)))
                    .map_err(failed(Call::Rmdir, format!("member {member}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.members.remove(member);
                }
                Ok(())
            }
            Cleanup::RemoveChain => {
                pins::remove_dir(&self.pins.chain(chain))
                    .map_err(failed(Call::Rmdir, format!("chain {chain}")))?;
                self.chains.remove(&chain);
                Ok(())
            }
        }
    }

    fn fold(
        &mut self,
        chain: ChainDir,
        build: Build,
        members: &[(Slot, MemberId)],
    ) -> Result<(), KernelError> {
        let fds = self.chains.get(&chain);
        let Some(built) = fds.and_then(|fds| fds.builds.get(&build)) else {
            return Ok(());
        };
        let counted = counters::read(built.counters.as_fd(), built.layout)
            .map_err(failed(Call::BpfMapLookupElem, "a build's counters"))?;
        for (slot, member) in members {
            if let Some(counted) = counted.get(usize::from(slot.0)) {
                self.add_to_totals(chain, *member, (build, counted))?;
            }
        }
        Ok(())
    }

    /// Adds what a build counted to the totals of a member, unless it is gone.
    fn add_to_totals(
        &mut self,
        chain: ChainDir,
        member: MemberId,
        (build, counted): (Build, &Counts),
    ) -> Result<(), KernelError> {
        let pin = self.pins.path(chain, &Pin::Totals(member));
        let next = self.pins.path(chain, &Pin::NextTotals(member));
        let lacks_totals = |fds: &mut MemberFds| fds.totals_map.is_none();
        // A start that missed them could not make them.
        if self.member_mut(chain, member).is_some_and(lacks_totals) {
            self.new_totals(chain, member)?;
        }
        if let Some(fds) = self.member_mut(chain, member)
            && let Some(map) = &mut fds.totals_map
        {
            fds.totals = totals::fold(map, (&pin, &next), build, counted)
                .map_err(failed(Call::BpfMapUpdateElem, "a member's totals"))?;
        }
        Ok(())
    }

    fn member_mut(&mut self, chain: ChainDir, member: MemberId) -> Option<&mut MemberFds> {
        self.chains.get_mut(&chain)?.members.get_mut(&member)
    }
}
