//! The steps that packets don't see: they build beside what runs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use dispatcher_abi::Engine;
use planner::{Build, ChainDir, CodeId, Commit, MemberId, Pin, Plan, Slot};

use super::counters::Layout;
use super::linux::{BuildFds, Linux, MemberFds, Staged, failed, missing};
use super::totals::{self, Totals};
use super::{KernelError, pins, registry, root};
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
        pins::make_dir(&maps).map_err(failed("mkdir", &*subject))?;
        bpf::obj_pin(staged.program.as_fd(), &dir.join("program"))
            .map_err(failed("BPF_OBJ_PIN", &*subject))?;
        for map in staged.maps.iter() {
            bpf::obj_pin(map.fd.as_fd(), &maps.join(pins::escape(&map.name))).map_err(failed(
                "BPF_OBJ_PIN",
                format!("{subject}/maps/{}", map.name),
            ))?;
        }
        let fds = self.chains.entry(chain).or_default();
        if let Some(known) = fds.members.get_mut(&member) {
            known.codes.insert(code, staged);
            return Ok(());
        }
        let totals_map = totals::create().map_err(failed("BPF_MAP_CREATE", "a member's totals"))?;
        bpf::obj_pin(
            totals_map.as_fd(),
            &self.pins.path(chain, &Pin::Totals(member)),
        )
        .map_err(failed("BPF_OBJ_PIN", "a member's totals"))?;
        fds.members.insert(
            member,
            MemberFds {
                totals_map,
                totals: Totals::default(),
                codes: BTreeMap::from([(code, staged)]),
            },
        );
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
            .map_err(failed("BPF_PROG_LOAD", "the root program"))?;
        pins::make_dir(&dir).map_err(failed("mkdir", &*subject))?;
        // The program array first: it is emptied when its last user reference goes.
        for (fd, name) in [
            (built.jump.as_ref(), "jump"),
            (Some(&built.counters), "counters"),
            (Some(&built.root), "root"),
        ] {
            let Some(fd) = fd else { continue };
            bpf::obj_pin(fd.as_fd(), &dir.join(name))
                .map_err(failed("BPF_OBJ_PIN", format!("{subject}/{name}")))?;
        }
        let counters = bpf::map_info(built.counters.as_fd())
            .map_err(failed("BPF_OBJ_GET_INFO_BY_FD", "a build's counters"))?;
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
        let program = fds
            .members
            .get(&member)
            .and_then(|fds| fds.codes.get(&code))
            .map(|code| &code.program)
            .ok_or_else(|| missing("member", member.to_string()))?;
        let built = fds
            .builds
            .get_mut(&build)
            .ok_or_else(|| missing("build", build.to_string()))?;
        match engine {
            Engine::Tailcall => {
                let jump = built.jump.as_ref();
                let jump = jump.ok_or_else(|| missing("program array", &*subject))?;
                bpf::map_update_fd(jump.as_fd(), u32::from(slot.0), program.as_fd())
                    .map_err(failed("BPF_MAP_UPDATE_ELEM", subject))?;
            }
            Engine::Freplace => {
                let function = plan
                    .root()
                    .and_then(|wanted| root::slot_type(wanted.program, slot.0))
                    .ok_or_else(|| missing("function", &*subject))?;
                let link = bpf::freplace(program.as_fd(), built.root.as_fd(), function)
                    .map_err(failed("BPF_LINK_CREATE", &*subject))?;
                bpf::obj_pin(link.as_fd(), &pin).map_err(failed("BPF_OBJ_PIN", subject))?;
                built.links.insert(slot, link);
            }
        }
        debug_assert_eq!(built.members.len(), usize::from(slot.0), "slots in order");
        built.members.push(member);
        Ok(())
    }

    pub(super) fn write_registry(&mut self, plan: &Plan, build: Build) -> Result<(), KernelError> {
        let chain = plan
            .next
            .as_ref()
            .ok_or_else(|| missing("chain", "a registry without a chain"))?;
        let pin = match plan.commit {
            Commit::Registry { .. } => Pin::NextRegistry(build),
            Commit::Attach { .. }
            | Commit::Swap { .. }
            | Commit::Reattach { .. }
            | Commit::Detach { .. } => Pin::Registry(build),
        };
        let path = self.pins.path(plan.dir, &pin);
        let fds = self.chains.get_mut(&plan.dir);
        let fds = fds
            .and_then(|fds| fds.builds.get_mut(&build))
            .ok_or_else(|| missing("build", build.to_string()))?;
        let map = registry::write(chain, fds.layout.counts)
            .map_err(failed("BPF_MAP_CREATE", "the registry"))?;
        pins::remove_pin(&path).map_err(failed("unlink", "an old registry"))?;
        bpf::obj_pin(map.as_fd(), &path).map_err(failed("BPF_OBJ_PIN", "the registry"))?;
        if pin == Pin::Registry(build) {
            fds.registry = Some(map);
        } else {
            fds.next_registry = Some(map);
        }
        Ok(())
    }
}
