//! The real kernel: aya for loading, links and pins for what stays.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use planner::{
    ChainKey, Cleanup, CodeId, Commit, Generation, LoadId, MemberId, Observed, Plan, Prepare, Slot,
};

use super::counters::Totals;
use super::pins::{self, Pins};
use super::{Kernel, KernelError, KernelErrorKind, bpf, counters, grace, hook, registry, root};
use crate::kernel::published::{ChainCounters, GenerationCounters, MemberMap};

/// The chains' descriptors, and what the loader staged for the next plan.
#[derive(Debug)]
pub struct Linux {
    pub(super) pins: Pins,
    pub(super) chains: BTreeMap<ChainKey, ChainFds>,
    staged: BTreeMap<LoadId, Staged>,
    /// The namespace of the request that is being carried out, for attaching: not kept.
    namespace: Option<Arc<OwnedFd>>,
    /// Keeps a second daemon out.
    pub(super) _lock: OwnedFd,
}

/// A program that the loader loaded and no member has yet.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The program.
    pub program: Arc<OwnedFd>,
    /// Its maps.
    pub maps: Arc<Vec<MemberMap>>,
}

#[derive(Debug, Default)]
pub(super) struct ChainFds {
    pub(super) link: Option<OwnedFd>,
    pub(super) generations: BTreeMap<Generation, GenerationFds>,
    pub(super) members: BTreeMap<MemberId, MemberFds>,
}

#[derive(Debug)]
pub(super) struct GenerationFds {
    pub(super) root: OwnedFd,
    pub(super) jump: OwnedFd,
    pub(super) counters: Arc<OwnedFd>,
    /// By slot.
    pub(super) members: Vec<MemberId>,
}

#[derive(Debug)]
pub(super) struct MemberFds {
    pub(super) totals_map: OwnedFd,
    pub(super) totals: Totals,
    pub(super) codes: BTreeMap<CodeId, Staged>,
}

/// Names the call, its subject and what the errno means.
pub(super) fn failed(
    call: &'static str,
    subject: impl Into<String>,
) -> impl FnOnce(io::Error) -> KernelError {
    let subject = subject.into();
    move |source| KernelError {
        call,
        subject,
        kind: KernelErrorKind::Failed,
        source,
    }
}

fn missing(what: &'static str, subject: impl Into<String>) -> KernelError {
    failed(what, subject)(io::ErrorKind::NotFound.into())
}

impl Linux {
    pub(super) fn new(pins: Pins, lock: OwnedFd) -> Self {
        Self {
            pins,
            chains: BTreeMap::new(),
            staged: BTreeMap::new(),
            namespace: None,
            _lock: lock,
        }
    }

    /// Lends what the next plan needs beyond itself: the namespace to attach in, and the loader's
    /// programs. Given back by [`Self::take_back`].
    pub fn lend(&mut self, namespace: Arc<OwnedFd>, staged: BTreeMap<LoadId, Staged>) {
        self.namespace = Some(namespace);
        self.staged = staged;
    }

    /// Drops what was lent: neither a namespace nor an unused program stays.
    pub fn take_back(&mut self) {
        self.namespace = None;
        self.staged.clear();
    }

    /// A chain's counters, to be read by any thread.
    pub fn counters(&self, chain: ChainKey, live: Generation) -> ChainCounters {
        let Some(fds) = self.chains.get(&chain) else {
            return ChainCounters::default();
        };
        ChainCounters {
            generations: fds
                .generations
                .range(..=live)
                .map(|(generation, fds)| GenerationCounters {
                    generation: generation.0,
                    counters: Arc::clone(&fds.counters),
                    members: fds.members.clone(),
                })
                .collect(),
            totals: fds
                .members
                .iter()
                .map(|(member, fds)| (*member, fds.totals))
                .collect(),
        }
    }

    /// A member's maps.
    pub fn maps(&self, chain: ChainKey, member: MemberId, code: CodeId) -> Arc<Vec<MemberMap>> {
        self.chains
            .get(&chain)
            .and_then(|fds| fds.members.get(&member)?.codes.get(&code))
            .map(|code| Arc::clone(&code.maps))
            .unwrap_or_default()
    }

    /// Whether the hook still runs one of the chain's roots: false once the interface is gone or
    /// somebody detached the link.
    pub fn is_attached(&self, chain: ChainKey) -> bool {
        self.chains
            .get(&chain)
            .and_then(|fds| fds.link.as_ref())
            .is_some_and(|link| bpf::link_info(link.as_fd()).is_ok_and(|info| info.ifindex != 0))
    }

    fn generation(
        &self,
        chain: ChainKey,
        generation: Generation,
    ) -> Result<&GenerationFds, KernelError> {
        self.chains
            .get(&chain)
            .and_then(|fds| fds.generations.get(&generation))
            .ok_or_else(|| missing("generation", generation.to_string()))
    }

    fn pin_code(
        &mut self,
        chain: ChainKey,
        member: MemberId,
        code: CodeId,
        load: LoadId,
    ) -> Result<(), KernelError> {
        let staged = self
            .staged
            .get(&load)
            .cloned()
            .ok_or_else(|| missing("staged program", load.to_string()))?;
        let dir = self.pins.code(chain, member, code);
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
        let totals_map =
            counters::totals_create().map_err(failed("BPF_MAP_CREATE", "a member's totals"))?;
        bpf::obj_pin(totals_map.as_fd(), &self.pins.totals(chain, member))
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

    fn build_root(
        &mut self,
        chain: ChainKey,
        generation: Generation,
        wanted: &planner::Root,
    ) -> Result<(), KernelError> {
        let dir = self.pins.generation(chain, generation);
        let subject = dir.display().to_string();
        let built = root::build(wanted)
            .map_err(io::Error::other)
            .map_err(failed("BPF_PROG_LOAD", "the root program"))?;
        pins::make_dir(&dir).map_err(failed("mkdir", &*subject))?;
        // The program array first: it is emptied when its last user reference goes.
        for (fd, name) in [
            (&built.jump, "jump"),
            (&built.counters, "counters"),
            (&built.root, "root"),
        ] {
            bpf::obj_pin(fd.as_fd(), &dir.join(name))
                .map_err(failed("BPF_OBJ_PIN", format!("{subject}/{name}")))?;
        }
        self.chains.entry(chain).or_default().generations.insert(
            generation,
            GenerationFds {
                root: built.root,
                jump: built.jump,
                counters: Arc::new(built.counters),
                members: Vec::new(),
            },
        );
        Ok(())
    }

    fn fill_slot(
        &mut self,
        chain: ChainKey,
        generation: Generation,
        slot: Slot,
        member: MemberId,
        code: CodeId,
    ) -> Result<(), KernelError> {
        let subject = format!("slot {slot} of generation {generation}");
        let fds = self.chains.entry(chain).or_default();
        let program = fds
            .members
            .get(&member)
            .and_then(|fds| fds.codes.get(&code))
            .map(|code| &code.program)
            .ok_or_else(|| missing("member", member.to_string()))?;
        let built = fds
            .generations
            .get_mut(&generation)
            .ok_or_else(|| missing("generation", generation.to_string()))?;
        bpf::map_update_fd(built.jump.as_fd(), u32::from(slot.0), program.as_fd())
            .map_err(failed("BPF_MAP_UPDATE_ELEM", subject))?;
        debug_assert_eq!(built.members.len(), usize::from(slot.0), "slots in order");
        built.members.push(member);
        Ok(())
    }

    fn write_registry(&self, plan: &Plan, generation: Generation) -> Result<(), KernelError> {
        let chain = plan
            .next
            .as_ref()
            .ok_or_else(|| missing("chain", "a registry without a chain"))?;
        let dir = self.pins.generation(plan.chain, generation);
        let map = registry::write(chain).map_err(failed("BPF_MAP_CREATE", "the registry"))?;
        let name = match plan.commit {
            Commit::Registry { .. } => "registry-next",
            Commit::Attach { .. }
            | Commit::Swap { .. }
            | Commit::Reattach { .. }
            | Commit::Detach { .. } => "registry",
        };
        pins::remove_pin(&dir.join(name)).map_err(failed("unlink", "an old registry"))?;
        bpf::obj_pin(map.as_fd(), &dir.join(name)).map_err(failed("BPF_OBJ_PIN", "the registry"))
    }

    /// Attaches a generation's root and pins the link.
    fn attach(
        &mut self,
        plan: &Plan,
        generation: Generation,
        mode: dispatcher_abi::Mode,
    ) -> Result<(), KernelError> {
        let subject = hook_of(plan);
        let namespace = self
            .namespace
            .as_ref()
            .ok_or_else(|| missing("network namespace", &*subject))?;
        let root = &self.generation(plan.chain, generation)?.root;
        let ifindex = plan.chain.ifindex;
        let link =
            hook::attach(namespace.as_fd(), ifindex, root.as_fd(), mode).map_err(|source| {
                let kind = hook::attach_error(&source);
                let subject = match (kind, hook::program_id(namespace.as_fd(), ifindex)) {
                    (KernelErrorKind::Busy, id) if id != 0 => {
                        format!("{subject}, which runs somebody else's program (id {id})")
                    }
                    _ => format!("{subject}, {mode} mode"),
                };
                KernelError {
                    call: "BPF_LINK_CREATE",
                    subject,
                    kind,
                    source,
                }
            })?;
        let pin = self.pins.link(plan.chain);
        pins::remove_pin(&pin)
            .and_then(|()| bpf::obj_pin(link.as_fd(), &pin))
            .map_err(failed("BPF_OBJ_PIN", subject))?;
        self.chains.entry(plan.chain).or_default().link = Some(link);
        Ok(())
    }

    /// Takes the hook off. The link's last reference is the descriptor, so that closing it detaches
    /// before this returns.
    fn detach(&mut self, plan: &Plan) -> Result<(), KernelError> {
        pins::remove_pin(&self.pins.link(plan.chain)).map_err(failed("unlink", hook_of(plan)))?;
        if let Some(fds) = self.chains.get_mut(&plan.chain) {
            drop(fds.link.take());
        }
        Ok(())
    }

    fn swap(&self, plan: &Plan, from: Generation, to: Generation) -> Result<(), KernelError> {
        let old = self.generation(plan.chain, from)?;
        let new = self.generation(plan.chain, to)?;
        let link = self
            .chains
            .get(&plan.chain)
            .and_then(|fds| fds.link.as_ref())
            .ok_or_else(|| missing("link", hook_of(plan)))?;
        hook::swap(link.as_fd(), old.root.as_fd(), new.root.as_fd()).map_err(|source| KernelError {
            call: "BPF_LINK_UPDATE",
            subject: hook_of(plan),
            kind: hook::swap_error(&source),
            source,
        })
    }

    fn reattach(
        &mut self,
        plan: &Plan,
        from: Generation,
        to: Generation,
        old_mode: dispatcher_abi::Mode,
        mode: dispatcher_abi::Mode,
    ) -> Result<(), KernelError> {
        self.detach(plan)?;
        let Err(error) = self.attach(plan, to, mode) else {
            return Ok(());
        };
        self.attach(plan, from, old_mode)?;
        Err(error)
    }

    fn fold(
        &mut self,
        chain: ChainKey,
        generation: Generation,
        members: &[(Slot, MemberId)],
    ) -> Result<(), KernelError> {
        let Some(fds) = self.chains.get_mut(&chain) else {
            return Ok(());
        };
        let Some(built) = fds.generations.get(&generation) else {
            return Ok(());
        };
        let counted = counters::read(built.counters.as_fd())
            .map_err(failed("BPF_MAP_LOOKUP_ELEM", "a generation's counters"))?;
        for (slot, member) in members {
            let (Some(counted), Some(member)) = (
                counted.get(usize::from(slot.0)),
                fds.members.get_mut(member),
            ) else {
                continue;
            };
            member.totals = counters::fold(member.totals_map.as_fd(), generation, counted)
                .map_err(failed("BPF_MAP_UPDATE_ELEM", "a member's totals"))?;
        }
        Ok(())
    }
}

fn hook_of(plan: &Plan) -> String {
    format!("the XDP hook of {}", plan.interface)
}

impl Kernel for Linux {
    fn prepare(&mut self, plan: &Plan, step: &Prepare) -> Result<(), KernelError> {
        match step {
            Prepare::PinCode { member, code, load } => {
                self.pin_code(plan.chain, *member, *code, *load)
            }
            Prepare::BuildRoot { generation, root } => {
                self.build_root(plan.chain, *generation, root)
            }
            Prepare::FillSlot {
                generation,
                slot,
                member,
                code,
                engine: _,
            } => self.fill_slot(plan.chain, *generation, *slot, *member, *code),
            Prepare::WriteRegistry { generation } => self.write_registry(plan, *generation),
        }
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), KernelError> {
        match plan.commit {
            Commit::Attach { generation, mode } => self.attach(plan, generation, mode),
            Commit::Swap { from, to } => self.swap(plan, from, to),
            Commit::Reattach {
                from,
                to,
                old_mode,
                mode,
            } => self.reattach(plan, from, to, old_mode, mode),
            Commit::Detach { .. } => self.detach(plan),
            Commit::Registry { generation } => {
                let dir = self.pins.generation(plan.chain, generation);
                std::fs::rename(dir.join("registry-next"), dir.join("registry"))
                    .map_err(failed("rename", "the registry"))
            }
        }
    }

    fn cleanup(&mut self, chain: ChainKey, step: &Cleanup) -> Result<(), KernelError> {
        match step {
            Cleanup::Grace => grace::wait().map_err(failed("membarrier", "the grace period")),
            Cleanup::FoldCounters {
                generation,
                members,
            } => self.fold(chain, *generation, members),
            Cleanup::RetireGeneration { generation } => {
                pins::remove_dir(&self.pins.generation(chain, *generation))
                    .map_err(failed("rmdir", format!("generation {generation}")))?;
                if let Some(fds) = self.chains.get_mut(&chain) {
                    fds.generations.remove(generation);
                }
                Ok(())
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

    fn discard(&mut self, plan: &Plan) {
        let undone = plan.prepare.iter().map(|step| match step {
            Prepare::PinCode { member, code, .. } => {
                let only_code = self
                    .chains
                    .get(&plan.chain)
                    .and_then(|fds| fds.members.get(member))
                    .is_none_or(|fds| fds.codes.keys().all(|known| known == code));
                if only_code {
                    Cleanup::RemoveMember { member: *member }
                } else {
                    Cleanup::RemoveCode {
                        member: *member,
                        code: *code,
                    }
                }
            }
            Prepare::BuildRoot { generation, .. }
            | Prepare::FillSlot { generation, .. }
            | Prepare::WriteRegistry { generation } => Cleanup::RetireGeneration {
                generation: *generation,
            },
        });
        let live = match plan.commit {
            Commit::Registry { generation } | Commit::Detach { generation } => Some(generation),
            Commit::Swap { from, .. } | Commit::Reattach { from, .. } => Some(from),
            Commit::Attach { .. } => None,
        };
        let mut undone: Vec<Cleanup> = undone
            .filter(|step| {
                live.is_none_or(|generation| *step != Cleanup::RetireGeneration { generation })
            })
            .collect();
        undone.dedup();
        if live.is_none() && !plan.prepare.is_empty() {
            undone.push(Cleanup::RemoveChain);
        }
        if matches!(plan.commit, Commit::Registry { .. }) {
            let dir = self.pins.generation(plan.chain, plan.generation);
            let _ = pins::remove_pin(&dir.join("registry-next"));
        }
        for step in undone {
            if let Err(error) = self.cleanup(plan.chain, &step) {
                tracing::warn!(%error, source = %error.source, "not everything was discarded; the next start finishes it");
            }
        }
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.read_pins()
    }
}
