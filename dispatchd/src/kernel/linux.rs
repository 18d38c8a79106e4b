//! The real kernel: aya for loading, links and pins for what stays.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use controller::HookLeft;
use planner::{
    Build, Call, ChainDir, CodeId, Commit, FailureKind, LoadId, MemberId, Plan, Prepare, Slot,
};

use super::KernelError;
use super::counters::Layout;
use super::pins::Pins;
use super::totals::Totals;
use crate::bpf;
use crate::kernel::published::{BuildCounters, ChainView, MemberMap};

/// The chains' descriptors.
#[derive(Debug)]
pub struct Linux {
    pub(super) pins: Pins,
    pub(super) chains: BTreeMap<ChainDir, ChainFds>,
    /// Keeps a second daemon out.
    pub(super) _lock: OwnedFd,
}

/// A commit that failed.
#[derive(Debug)]
pub struct CommitError {
    /// The call that failed.
    pub error: KernelError,
    /// What the hook runs now.
    pub left: HookLeft,
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

#[derive(Debug, Default)]
pub(super) struct MemberFds {
    /// None where it has gone, or is not made yet.
    pub(super) totals_map: Option<OwnedFd>,
    pub(super) totals: Totals,
    pub(super) codes: BTreeMap<CodeId, Staged>,
}

impl ChainFds {
    /// The program of a member's code that a plan or a mend names.
    pub(super) fn program(&self, member: MemberId, code: CodeId) -> &Arc<OwnedFd> {
        let codes = self.members.get(&member).map(|fds| &fds.codes);
        let staged = codes.and_then(|codes| codes.get(&code));
        &staged
            .expect("the code was pinned here, or found pinned at the start")
            .program
    }
}

/// Names the call, its subject and what the errno means.
pub(super) fn failed(
    call: Call,
    subject: impl Into<String>,
) -> impl FnOnce(io::Error) -> KernelError {
    let subject = subject.into();
    move |source| KernelError {
        call,
        subject,
        kind: FailureKind::Failed,
        source,
    }
}

impl Linux {
    pub(super) fn new(pins: Pins, lock: OwnedFd) -> Self {
        Self {
            pins,
            chains: BTreeMap::new(),
            _lock: lock,
        }
    }

    /// What other threads may read of a chain; `None` if nothing is known of it.
    pub fn view(&self, chain: ChainDir) -> Option<ChainView> {
        let fds = self.chains.get(&chain)?;
        let builds = fds.builds.iter().map(|(build, fds)| BuildCounters {
            build: build.0,
            counters: Arc::clone(&fds.counters),
            layout: fds.layout,
            members: fds.members.clone(),
        });
        let totals = fds
            .members
            .iter()
            .map(|(member, fds)| (*member, fds.totals.clone()));
        let maps = fds.members.iter().flat_map(|(member, fds)| {
            let codes = fds.codes.iter();
            codes.map(move |(code, staged)| ((*member, *code), Arc::clone(&staged.maps)))
        });
        Some(ChainView {
            builds: builds.collect(),
            totals: totals.collect(),
            maps: maps.collect(),
        })
    }

    /// Where everything is pinned.
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The directories of the chains that have descriptors here.
    pub fn dirs(&self) -> Vec<ChainDir> {
        self.chains.keys().copied().collect()
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
        let fds = self.chains.get(&chain);
        // One that could not be put in its place holds the hook as well.
        let links = fds.map(|fds| [&fds.link, &fds.next_link]);
        for link in links.into_iter().flatten().flatten() {
            let info = bpf::link_info(link.as_fd()).map_err(failed(
                Call::BpfObjGetInfoByFd,
                format!("the link of chain {chain}"),
            ))?;
            if info.ifindex != 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A build that a plan or a mend names.
    pub(super) fn build(&self, chain: ChainDir, build: Build) -> &BuildFds {
        let fds = self.chains.get(&chain);
        let fds = fds.and_then(|fds| fds.builds.get(&build));
        fds.expect("the build was built here, or found whole at the start")
    }
}

impl Linux {
    /// Carries out one step that packets don't see. `staged`: what was loaded for the plan.
    pub fn prepare(
        &mut self,
        plan: &Plan,
        step: &Prepare,
        staged: &BTreeMap<LoadId, Staged>,
    ) -> Result<(), KernelError> {
        match step {
            Prepare::PinCode { member, code, load } => {
                let staged = staged.get(load).cloned();
                let staged = staged.expect("a plan's programs stay staged until it is done");
                self.pin_code(plan.dir, *member, *code, staged)
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

    /// Carries out the plan's commit: after it, packets see the plan's build. `namespace`: where the
    /// interface is; every plan that attaches comes with it.
    pub fn commit(
        &mut self,
        plan: &Plan,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<(), CommitError> {
        let unchanged = |error| CommitError {
            error,
            left: HookLeft::AsItWas,
        };
        let emptied = |error| CommitError {
            error,
            left: HookLeft::Empty,
        };
        match plan.commit {
            Commit::Attach { build, mode } => self.attach(plan, namespace, build, mode),
            Commit::Swap { from, to } => self.swap(plan, from, to),
            Commit::Reattach { to, mode, .. } => {
                self.take_off(plan).map_err(unchanged)?;
                return self.attach(plan, namespace, to, mode).map_err(emptied);
            }
            Commit::Detach { .. } => self.detach(plan),
            Commit::Registry { build } => self.place_registry(plan.dir, build),
        }
        .map_err(unchanged)
    }
}
