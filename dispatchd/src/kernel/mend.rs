//! Makes the pins of a running chain whole, as the planner says.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use planner::{Call, ChainDir, Mend, Pin, Why};

use super::linux::{Linux, failed};
use super::{KernelError, pins};
use crate::{bpf, translate};

/// Why the pins of a chain could not be made whole.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// A call failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A pin is not what it should be, or that can't be told.
    #[error("{}", translate::why(.0))]
    Pin(Why),
}

impl Linux {
    /// Carries out one step that makes the pins of a chain that was found whole. Repeating it is
    /// harmless.
    pub fn mend(&mut self, dir: ChainDir, step: &Mend) -> Result<(), MendError> {
        match *step {
            Mend::PlaceLink => {
                let next = self.pins.path(dir, &Pin::NextLink);
                match fs::rename(next, self.pins.path(dir, &Pin::Link)) {
                    // The chain was attached anew since this failed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    renamed => {
                        renamed
                            .map_err(failed(Call::Rename, format!("the link of chain {dir}")))?;
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
            Mend::DropNextRegistry { build } => Ok(self.drop_pin(dir, &Pin::NextRegistry(build))?),
            Mend::DropNextTotals { member } => Ok(self.drop_pin(dir, &Pin::NextTotals(member))?),
            Mend::NewTotals { member } => Ok(self.new_totals(dir, member)?),
            Mend::Repin => match self.repin(dir).faults.into_iter().next() {
                None => Ok(()),
                Some(why) => Err(MendError::Pin(why)),
            },
            Mend::FillSlot {
                build,
                slot,
                member,
                code,
            } => {
                let subject = format!("slot {slot} of build {build}");
                let program = self.chains[&dir].program(member, code);
                let jump = self.build(dir, build).jump.as_ref();
                let jump = jump.expect("the array was found that is to be filled");
                bpf::map_update_fd(jump.as_fd(), u32::from(slot.0), program.as_fd())
                    .map_err(failed(Call::BpfMapUpdateElem, subject))?;
                Ok(())
            }
        }
    }

    fn drop_pin(&self, dir: ChainDir, pin: &Pin) -> Result<(), KernelError> {
        pins::remove_pin(&self.pins.path(dir, pin))
            .map_err(failed(Call::Unlink, format!("{pin} of chain {dir}")))
    }
}
