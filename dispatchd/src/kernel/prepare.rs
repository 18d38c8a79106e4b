//! The steps that packets don't see: they build beside what runs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use dispatcher_abi::Engine;
use planner::{Build, Call, ChainDir, CodeId, Commit, MemberId, Pin, Plan, Slot};

use super::counters::Layout;
use super::linux::{BuildFds, Linux, Staged, failed};
use super::{KernelError, pins, registry, root, totals};
use crate::bpf;

impl Linux {
    pub(super) fn pin_code(
        &mut self,
        chain: ChainDir,
        member: MemberId,
        code: CodeId,
        staged: Staged,
    ) -> Result<(), KernelError> {
        let dir = self.pins.path(chain, &Pin::Code(member, code));
        let maps = dir.join("maps");
        let subject = dir.display().to_string();
        pins::make_dir(&maps).map_err(failed(Call::Mkdir, &*subject))?;
        bpf::obj_pin(staged.program.as_fd(), &dir.join("program"))
            .map_err(failed(Call::BpfObjPin, &*subject))?;
        for map in staged.maps.iter() {
            bpf::obj_pin(map.fd.as_fd(), &maps.join(pins::escape(&map.name))).map_err(failed(
                Call::BpfObjPin,
                format!("{subject}/maps/{}", map.name),
            ))?;
        }
        let fds = self.chains.entry(chain).or_default();
        let fds = fds.members.entry(member).or_default();
        fds.codes.insert(code, staged);
        if fds.totals_map.is_some() {
            return Ok(());
        }
        self.new_totals(chain, member)
    }

    /// Makes totals for a member that has none, beginning with zero.
    pub(super) fn new_totals(
        &mut self,
        chain: ChainDir,
        member: MemberId,
    ) -> Result<(), KernelError> {
        let subject = format!("the totals of member {member}");
        let map = totals::create().map_err(failed(Call::BpfMapCreate, &*subject))?;
        let pin = self.pins.path(chain, &Pin::Totals(member));
        bpf::obj_pin(map.as_fd(), &pin).map_err(failed(Call::BpfObjPin, subject))?;
        let fds = self.chains.entry(chain).or_default();
        fds.members.entry(member).or_default().totals_map = Some(map);
        Ok(())
    }

    pub(super) fn build_root(
        &mut self,
        chain: ChainDir,
        build: Build,
        wanted: &planner::Root,
    ) -> Result<(), KernelError> {
        let dir = self.pins.path(chain, &Pin::Build(build));
        let subject = dir.display().to_string();
        let built = root::build(wanted)
            .map_err(io::Error::other)
            .map_err(failed(Call::BpfProgLoad, "the root program"))?;
        pins::make_dir(&dir).map_err(failed(Call::Mkdir, &*subject))?;
        // The program array first: it is emptied when its last user reference goes.
        for (fd, name) in [
            (built.jump.as_ref(), "jump"),
            (Some(&built.counters), "counters"),
            (Some(&built.root), "root"),
        ] {
            let Some(fd) = fd else { continue };
            bpf::obj_pin(fd.as_fd(), &dir.join(name))
                .map_err(failed(Call::BpfObjPin, format!("{subject}/{name}")))?;
        }
        let counters = bpf::map_info(built.counters.as_fd())
            .map_err(failed(Call::BpfObjGetInfoByFd, "a build's counters"))?;
        self.chains.entry(chain).or_default().builds.insert(
            build,
            BuildFds {
                links: BTreeMap::new(),
                root: built.root,
                jump: built.jump,
                counters: Arc::new(built.counters),
                layout: Layout::own(&counters.shape),
                registry: None,
                next_registry: None,
                members: Vec::new(),
            },
        );
        Ok(())
    }

    pub(super) fn fill_slot(
        &mut self,
        plan: &Plan,
        build: Build,
        slot: Slot,
        (member, code): (MemberId, CodeId),
        engine: Engine,
    ) -> Result<(), KernelError> {
        let subject = format!("slot {slot} of build {build}");
        let pin = self.pins.path(plan.dir, &Pin::Slot(build, slot));
        let fds = self.chains.entry(plan.dir).or_default();
        let program = Arc::clone(fds.program(member, code));
        let built = fds.builds.get_mut(&build);
        let built = built.expect("a root is built before its slots are filled");
        match engine {
            Engine::Tailcall => {
                let jump = built.jump.as_ref();
                let jump = jump.expect("a root whose members run by tail call has an array");
                bpf::map_update_fd(jump.as_fd(), u32::from(slot.0), program.as_fd())
                    .map_err(failed(Call::BpfMapUpdateElem, subject))?;
            }
            Engine::Freplace => {
                let function = plan
                    .root()
                    .and_then(|wanted| root::slot_type(wanted.program, slot.0))
                    .expect("a plan fills the slots of the root that it builds");
                let link = bpf::freplace(program.as_fd(), built.root.as_fd(), function)
                    .map_err(failed(Call::BpfLinkCreate, &*subject))?;
                bpf::obj_pin(link.as_fd(), &pin).map_err(failed(Call::BpfObjPin, subject))?;
                built.links.insert(slot, link);
            }
        }
        debug_assert_eq!(built.members.len(), usize::from(slot.0), "slots in order");
        built.members.push(member);
        Ok(())
    }

    pub(super) fn write_registry(&mut self, plan: &Plan, build: Build) -> Result<(), KernelError> {
        let chain = plan.next.as_ref();
        let chain = chain.expect("a plan that writes a registry leaves a chain");
        let pin = match plan.commit {
            Commit::Registry { .. } => Pin::NextRegistry(build),
            Commit::Attach { .. }
            | Commit::Swap { .. }
            | Commit::Reattach { .. }
            | Commit::Detach { .. } => Pin::Registry(build),
        };
        let path = self.pins.path(plan.dir, &pin);
        let fds = self.chains.get_mut(&plan.dir);
        let fds = fds.and_then(|fds| fds.builds.get_mut(&build));
        let fds = fds.expect("a build is there before its registry");
        let map = registry::write(chain, fds.layout.counts)
            .map_err(failed(Call::BpfMapCreate, "the registry"))?;
        pins::remove_pin(&path).map_err(failed(Call::Unlink, "an old registry"))?;
        bpf::obj_pin(map.as_fd(), &path).map_err(failed(Call::BpfObjPin, "the registry"))?;
        if pin == Pin::Registry(build) {
            fds.registry = Some(map);
        } else {
            fds.next_registry = Some(map);
        }
        Ok(())
    }
}
