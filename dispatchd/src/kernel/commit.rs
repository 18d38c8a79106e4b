//! The step that packets see.

use std::os::fd::{AsFd, BorrowedFd};

use dispatcher_abi::Mode;
use planner::{Build, Call, ChainDir, FailureKind, Pin, Plan};

use super::linux::{Linux, failed};
use super::{KernelError, hook, pins};
use crate::bpf;

impl Linux {
    /// Attaches a build's root and pins the link.
    pub(super) fn attach(
        &mut self,
        plan: &Plan,
        namespace: Option<BorrowedFd<'_>>,
        build: Build,
        mode: Mode,
    ) -> Result<(), KernelError> {
        let subject = hook_of(plan);
        let namespace = namespace.expect("a plan that attaches comes with a namespace");
        let root = &self.build(plan.dir, build).root;
        let ifindex = plan.site.ifindex;
        let link = hook::attach(namespace, ifindex, root.as_fd(), mode).map_err(|source| {
            let kind = hook::attach_error(&source);
            let subject = match (kind, hook::program_id(namespace, ifindex)) {
                (FailureKind::Busy, id) if id != 0 => {
                    format!("{subject}, which runs somebody else's program (id {id})")
                }
                _ => format!("{subject}, {mode} mode"),
            };
            KernelError {
                call: Call::BpfLinkCreate,
                subject,
                kind,
                source,
            }
        })?;
        // Beside the old pin and then over it: whenever this stops, one of them is there.
        let next = self.pins.path(plan.dir, &Pin::NextLink);
        pins::remove_pin(&next)
            .and_then(|()| bpf::obj_pin(link.as_fd(), &next))
            .and_then(|()| std::fs::rename(&next, self.pins.path(plan.dir, &Pin::Link)))
            .inspect_err(|_| {
                // Or the pin would keep on the hook what this change reports as not attached.
                let _ = pins::remove_pin(&next);
            })
            .map_err(failed(Call::BpfObjPin, subject))?;
        self.chains.entry(plan.dir).or_default().link = Some(link);
        Ok(())
    }

    /// Puts the registry that was written in the place of the present one.
    pub(super) fn place_registry(
        &mut self,
        chain: ChainDir,
        build: Build,
    ) -> Result<(), KernelError> {
        let next = self.pins.path(chain, &Pin::NextRegistry(build));
        std::fs::rename(next, self.pins.path(chain, &Pin::Registry(build)))
            .map_err(failed(Call::Rename, "the registry"))?;
        let fds = self.chains.get_mut(&chain);
        if let Some(fds) = fds.and_then(|fds| fds.builds.get_mut(&build)) {
            fds.registry = fds.next_registry.take();
        }
        Ok(())
    }

    /// Takes the chain off its hook for good. The pin goes first: with it the next daemon would put
    /// the chain back, if this one ended in between. Without it the link goes with its last descriptor.
    pub(super) fn detach(&mut self, plan: &Plan) -> Result<(), KernelError> {
        let pin = self.pins.path(plan.dir, &Pin::Link);
        pins::remove_pin(&pin).map_err(failed(Call::Unlink, hook_of(plan)))?;
        let detached = self.take_off(plan);
        let Some(fds) = self.chains.get_mut(&plan.dir) else {
            return detached;
        };
        if detached.is_ok() {
            fds.link = None;
        } else if let Some(link) = &fds.link {
            // If this fails too, the next look pins it.
            let _ = bpf::obj_pin(link.as_fd(), &pin);
        }
        detached
    }

    /// Takes the link off the hook and keeps its pin, which says what ran.
    pub(super) fn take_off(&self, plan: &Plan) -> Result<(), KernelError> {
        let link = self.chains.get(&plan.dir).and_then(|fds| fds.link.as_ref());
        link.map_or(Ok(()), |link| hook::detach(link.as_fd()))
            .map_err(failed(Call::BpfLinkDetach, hook_of(plan)))
    }

    pub(super) fn swap(&self, plan: &Plan, from: Build, to: Build) -> Result<(), KernelError> {
        let old = self.build(plan.dir, from);
        let new = self.build(plan.dir, to);
        let link = self.chains.get(&plan.dir).and_then(|fds| fds.link.as_ref());
        let link = link.expect("a chain has a link, whether or not it holds a hook");
        hook::swap(link.as_fd(), old.root.as_fd(), new.root.as_fd()).map_err(|source| KernelError {
            call: Call::BpfLinkUpdate,
            subject: hook_of(plan),
            kind: hook::swap_error(&source),
            source,
        })
    }
}

fn hook_of(plan: &Plan) -> String {
    format!("the XDP hook of {}", plan.interface)
}
