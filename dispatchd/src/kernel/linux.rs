//! The real kernel: aya for loading, links and pins for what stays.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use planner::{
    Build, ChainDir, Cleanup, CodeId, Commit, LoadId, MemberId, Mend, Observed, Plan, Prepare, Slot,
};

use super::counters::Layout;
use super::pins::Pins;
use super::totals::Totals;
use super::{Kernel, KernelError, KernelErrorKind};
use crate::bpf;
use crate::kernel::published::{BuildCounters, ChainCounters, MemberMap};

/// The chains' descriptors, and what the loader staged for the next plan.
#[derive(Debug)]
pub struct Linux {
    pub(super) pins: Pins,
    pub(super) chains: BTreeMap<ChainDir, ChainFds>,
    pub(super) staged: BTreeMap<LoadId, Staged>,
    /// The namespace of the request that is being carried out, for attaching: not kept.
    pub(super) namespace: Option<Arc<OwnedFd>>,
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
    /// One that was found beside it, and not yet put in its place or removed.
    pub(super) next_link: Option<OwnedFd>,
    pub(super) builds: BTreeMap<Build, BuildFds>,
    pub(super) members: BTreeMap<MemberId, MemberFds>,
}

#[derive(Debug)]
pub(super) struct BuildFds {
    /// Of the freplaced slots. Each keeps the root alive, so they go before it.
    pub(super) links: BTreeMap<Slot, OwnedFd>,
    pub(super) root: OwnedFd,
    /// None in a root that can't tail-call.
    pub(super) jump: Option<OwnedFd>,
    pub(super) counters: Arc<OwnedFd>,
    /// How its counters lie in their map.
    pub(super) layout: Layout,
    /// None while it is being built.
    pub(super) registry: Option<OwnedFd>,
    /// What takes the registry's place when a change of metadata is committed.
    pub(super) next_registry: Option<OwnedFd>,
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

pub(super) fn missing(what: &'static str, subject: impl Into<String>) -> KernelError {
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
    pub fn counters(&self, chain: ChainDir, live: Build) -> ChainCounters {
        let Some(fds) = self.chains.get(&chain) else {
            return ChainCounters::default();
        };
        ChainCounters {
            builds: fds
                .builds
                .range(..=live)
                .map(|(build, fds)| BuildCounters {
                    build: build.0,
                    counters: Arc::clone(&fds.counters),
                    layout: fds.layout,
                    members: fds.members.clone(),
                })
                .collect(),
            totals: fds
                .members
                .iter()
                .map(|(member, fds)| (*member, fds.totals.clone()))
                .collect(),
        }
    }

    /// A member's maps.
    pub fn maps(&self, chain: ChainDir, member: MemberId, code: CodeId) -> Arc<Vec<MemberMap>> {
        self.chains
            .get(&chain)
            .and_then(|fds| fds.members.get(&member)?.codes.get(&code))
            .map(|code| Arc::clone(&code.maps))
            .unwrap_or_default()
    }

    /// Whether the hook still runs one of the chain's roots: false once the interface is gone or
    /// somebody detached the link.
    pub fn is_attached(&self, chain: ChainDir) -> Result<bool, KernelError> {
        let link = self.chains.get(&chain).and_then(|fds| fds.link.as_ref());
        let Some(link) = link else {
            return Ok(false);
        };
        let info = bpf::link_info(link.as_fd()).map_err(failed(
            "BPF_OBJ_GET_INFO_BY_FD",
            format!("the link of chain {chain}"),
        ))?;
        Ok(info.ifindex != 0)
    }

    pub(super) fn build(&self, chain: ChainDir, build: Build) -> Result<&BuildFds, KernelError> {
        self.chains
            .get(&chain)
            .and_then(|fds| fds.builds.get(&build))
            .ok_or_else(|| missing("build", build.to_string()))
    }
}

impl Kernel for Linux {
    fn prepare(&mut self, plan: &Plan, step: &Prepare) -> Result<(), KernelError> {
        match step {
            Prepare::PinCode { member, code, load } => {
                self.pin_code(plan.dir, *member, *code, *load)
            }
            Prepare::BuildRoot { build, root } => self.build_root(plan.dir, *build, root),
            Prepare::FillSlot {
                build,
                slot,
                member,
                code,
                engine,
            } => self.fill_slot(plan, *build, *slot, (*member, *code), *engine),
            Prepare::WriteRegistry { build } => self.write_registry(plan, *build),
        }
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), KernelError> {
        match plan.commit {
            Commit::Attach { build, mode } => self.attach(plan, build, mode),
            Commit::Swap { from, to } => self.swap(plan, from, to),
            Commit::Reattach {
                from,
                to,
                old_mode,
                mode,
            } => self.reattach(plan, from, to, old_mode, mode),
            Commit::Detach { .. } => self.detach(plan),
            Commit::Registry { build } => self.place_registry(plan.dir, build),
        }
    }

    fn cleanup(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError> {
        self.free(chain, step)
    }

    fn discard(&mut self, plan: &Plan) {
        self.undo(plan);
    }

    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.read_pins()
    }

    fn mend(&mut self, chain: ChainDir, step: &Mend) -> Result<(), KernelError> {
        self.make_whole(chain, step)
    }
}
