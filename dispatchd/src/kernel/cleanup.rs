//! The steps that free what packets no longer see.

use std::os::fd::AsFd;

use planner::{Build, ChainDir, Cleanup, MemberId, Slot};

use super::linux::{Linux, failed};
use super::{KernelError, counters, grace, pins};

impl Linux {
    /// Carries out one step that frees what packets no longer see. Repeating it is harmless, and so
    /// is a step whose subject is gone.
    pub fn free(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => grace::wait().map_err(failed("membarrier", "the grace period")),
            Cleanup::FoldCounters { build, members } => self.fold(chain, *build, members),
            Cleanup::RetireBuild { build } => {
                pins::remove_dir(&self.pins.build(chain, *build))
                    .map_err(failed("rmdir", format!("build {build}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.builds.remove(build);
                }
                Ok(())
            }
            Cleanup::RemoveDraft { build } => {
                pins::remove_pin(&self.pins.build(chain, *build).join("registry-next")).map_err(
                    failed("unlink", format!("the new registry of build {build}")),
                )
            }
            Cleanup::RemoveCode { member, code } => {
                pins::remove_dir(&self.pins.code(chain, *member, *code))
                    .map_err(failed("rmdir", format!("code {code} of member {member}")))?;
                if let Some(fds) = self.chains.get_mut(&chain)
                    && let Some(member) = fds.members.get_mut(member)
                {
                    member.codes.remove(code);
                }
                Ok(())
            }
            Cleanup::RemoveMember { member } => {
                pins::remove_dir(&self.pins.member(chain, *member))
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
        let counted = counters::read(built.counters.as_fd())
            .map_err(failed("BPF_MAP_LOOKUP_ELEM", "a build's counters"))?;
        for (slot, member) in members {
            let (Some(counted), Some(member)) = (
                counted.get(usize::from(slot.0)),
                fds.members.get_mut(member),
            ) else {
                continue;
            };
            member.totals = counters::fold(member.totals_map.as_fd(), build, counted)
                .map_err(failed("BPF_MAP_UPDATE_ELEM", "a member's totals"))?;
        }
        Ok(())
    }
}
