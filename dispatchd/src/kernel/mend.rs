//! Makes the pins of a running chain whole, as the planner says.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use planner::{ChainDir, Mend, Pin};

use super::linux::{Linux, failed, missing};
use super::{KernelError, pins, totals};
use crate::bpf;

impl Linux {
    /// Carries out one step that makes the pins of a chain that was found whole. Repeating it is
    /// harmless.
    pub fn mend(&mut self, dir: ChainDir, step: &Mend) -> Result<(), KernelError> {
        match *step {
            Mend::PlaceLink => {
                let next = self.pins.path(dir, &Pin::NextLink);
                match fs::rename(next, self.pins.path(dir, &Pin::Link)) {
                    // The chain was attached anew since this failed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    renamed => {
                        renamed.map_err(failed("rename", format!("the link of chain {dir}")))?;
                    }
                }
                if let Some(fds) = self.chains.get_mut(&dir) {
                    fds.link = fds.next_link.take().or(fds.link.take());
                }
                Ok(())
            }
            Mend::DropNextLink => {
                self.drop_pin(dir, &Pin::NextLink)?;
                if let Some(fds) = self.chains.get_mut(&dir) {
                    fds.next_link = None;
                }
                Ok(())
            }
            Mend::DropNextRegistry { build } => self.drop_pin(dir, &Pin::NextRegistry(build)),
            Mend::DropNextTotals { member } => self.drop_pin(dir, &Pin::NextTotals(member)),
            Mend::NewTotals { member } => {
                let subject = format!("the totals of member {member}");
                let path = self.pins.path(dir, &Pin::Totals(member));
                if !path.exists() {
                    let map = totals::create().map_err(failed("BPF_MAP_CREATE", &*subject))?;
                    bpf::obj_pin(map.as_fd(), &path).map_err(failed("BPF_OBJ_PIN", &*subject))?;
                }
                let fds = self.look_at_member(dir, member);
                let fds = fds.ok_or_else(|| missing("totals", subject))?;
                self.chains
                    .entry(dir)
                    .or_default()
                    .members
                    .insert(member, fds);
                Ok(())
            }
            Mend::Repin => match self.repin(dir).faults.first() {
                None => Ok(()),
                Some(why) => Err(missing("pin", format!("of chain {dir}: {why:?}"))),
            },
            Mend::FillSlot {
                build,
                slot,
                member,
                code,
            } => {
                let subject = format!("slot {slot} of build {build}");
                let fds = self.chains.get(&dir);
                let program = fds
                    .and_then(|fds| fds.members.get(&member)?.codes.get(&code))
                    .ok_or_else(|| missing("member", member.to_string()))?;
                let jump = self.build(dir, build)?.jump.as_ref();
                let jump = jump.ok_or_else(|| missing("program array", &*subject))?;
                bpf::map_update_fd(jump.as_fd(), u32::from(slot.0), program.program.as_fd())
                    .map_err(failed("BPF_MAP_UPDATE_ELEM", subject))
            }
        }
    }

    fn drop_pin(&self, dir: ChainDir, pin: &Pin) -> Result<(), KernelError> {
        pins::remove_pin(&self.pins.path(dir, pin))
            .map_err(failed("unlink", format!("{pin} of chain {dir}")))
    }
}
