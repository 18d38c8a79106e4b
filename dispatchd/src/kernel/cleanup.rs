//! The steps that free what packets no longer see.

use std::os::fd::AsFd;

use planner::{Build, ChainDir, Cleanup, MemberId, Pin, Slot};

use super::linux::{Linux, failed};
use super::{KernelError, counters, grace, pins, totals};

impl Linux {
    /// Carries out one step that frees what packets no longer see. Repeating it is harmless, and so
    /// is a step whose subject is gone.
    pub fn free(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => grace::wait().map_err(failed("membarrier", "the grace period")),
            Cleanup::FoldCounters { build, members } => self.fold(chain, *build, members),
            Cleanup::RetireBuild { build } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Build(*build)))
                    .map_err(failed("rmdir", format!("build {build}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.builds.remove(build);
                }
                Ok(())
            }
            Cleanup::RemoveDraft { build } => {
                pins::remove_pin(&self.pins.path(chain, &Pin::NextRegistry(*build))).map_err(
                    failed("unlink", format!("the new registry of build {build}")),
                )
            }
            Cleanup::RemoveCode { member, code } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Code(*member, *code)))
                    .map_err(failed("rmdir", format!("code {code} of member {member}")))?;
                if let Some(fds) = self.chains.get_mut(&chain)
                    && let Some(member) = fds.members.get_mut(member)
                {
                    member.codes.remove(code);
                }
                Ok(())
            }
            Cleanup::RemoveMember { member } => {
                pins::remove_dir(&self.pins.path(chain, &Pin::Member(*member)))
                    .map_err(failed("rmdir", format!("member {member}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.members.remove(member);
                }
                Ok(())
            }
            Cleanup::RemoveChain => {
                pins::remove_dir(&self.pins.chain(chain))
                    .map_err(failed("rmdir", format!("chain {chain}")))?;
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
        let Some(fds) = self.chains.get_mut(&chain) else {
            return Ok(());
        };
        let Some(built) = fds.builds.get(&build) else {
            return Ok(());
        };
        let counted = counters::read(built.counters.as_fd(), built.layout)
            .map_err(failed("BPF_MAP_LOOKUP_ELEM", "a build's counters"))?;
        for (slot, member) in members {
            let (Some(counted), Some(fds)) = (
                counted.get(usize::from(slot.0)),
                fds.members.get_mut(member),
            ) else {
                continue;
            };
            let pin = self.pins.path(chain, &Pin::Totals(*member));
            let next = self.pins.path(chain, &Pin::NextTotals(*member));
            fds.totals = totals::fold(&mut fds.totals_map, (&pin, &next), build, counted)
                .map_err(failed("BPF_MAP_UPDATE_ELEM", "a member's totals"))?;
        }
        Ok(())
    }
}
