//! One build's pins, and what the kernel has of it without a pin.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use dispatcher_abi::COUNTS;
use planner::{
    Build, Call, MemberId, ObservedBuild, Pin, Presence, Registry, RegistryFault, Slot, Why,
};

use super::look::Look;
use crate::bpf::{self, MapInfo, Shape};
use crate::kernel::counters::{self, Layout};
use crate::kernel::linux::BuildFds;
use crate::kernel::pinned::map_kind;
use crate::kernel::pins;
use crate::kernel::registry::{self, Kept};

/// What was found of a build.
pub(super) struct Parts {
    pub(super) build: Build,
    root: Option<Found<(OwnedFd, u32)>>,
    jump: Option<Found<OwnedFd>>,
    counters: Option<Found<(OwnedFd, MapInfo)>>,
    registry: Option<OwnedFd>,
    kept: Option<Result<Kept, RegistryFault>>,
    has_next_registry: bool,
    links: BTreeMap<Slot, OwnedFd>,
}

/// Something that is there.
struct Found<T> {
    what: T,
    is_pinned: bool,
}

impl<T> Found<T> {
    fn pinned(what: T) -> Self {
        Self {
            what,
            is_pinned: true,
        }
    }

    fn unpinned(what: T) -> Self {
        Self {
            what,
            is_pinned: false,
        }
    }

    fn presence(found: Option<&Self>) -> Presence {
        match found {
            Some(found) if found.is_pinned => Presence::Pinned,
            Some(_) => Presence::Found,
            None => Presence::Missing,
        }
    }
}

impl Parts {
    pub(super) fn read(look: &mut Look<'_>, build: Build) -> Self {
        // Before the pins: whoever looks for what is wrong meets it first.
        let names = look.names(&Pin::Build(build));
        let root = look.open(&Pin::Root(build), |found| {
            found.program(&[libbpf_sys::BPF_PROG_TYPE_XDP])
        });
        let jump = look.open(&Pin::Jump(build), |found| found.map(is_program_array));
        let counters = look.open(&Pin::Counters(build), |found| found.map(counters::is_shape));
        let registry = look.open(&Pin::Registry(build), |found| found.map(registry::is_shape));
        let next = look.open(&Pin::NextRegistry(build), |found| found.map(|_| true));
        let kept = registry.as_ref().and_then(|(map, _)| {
            let read = registry::read(map.as_fd());
            look.said(&Pin::Registry(build), Call::BpfMapLookupElem, read)
        });
        let mut links = BTreeMap::new();
        for name in &names {
            let Some(slot) = pins::parse_slot(name) else {
                continue;
            };
            let link = look.open(&Pin::Slot(build, slot), |found| {
                found.link(libbpf_sys::BPF_LINK_TYPE_TRACING)
            });
            links.extend(link.map(|(link, _)| (slot, link)));
        }
        Self {
            build,
            root: root.map(|(fd, info)| Found::pinned((fd, info.id))),
            jump: jump.map(|(fd, _)| Found::pinned(fd)),
            counters: counters.map(Found::pinned),
            registry: registry.map(|(fd, _)| fd),
            kept,
            has_next_registry: next.is_some(),
            links,
        }
    }

    pub(super) fn observed(&self) -> ObservedBuild {
        ObservedBuild {
            build: self.build,
            registry: self
                .kept
                .as_ref()
                .map_or(Registry::Missing, registry::observed),
            has_next_registry: self.has_next_registry,
            root: Found::presence(self.root.as_ref()),
            jump: Found::presence(self.jump.as_ref()),
            counters: Found::presence(self.counters.as_ref()),
        }
    }

    /// Its descriptors; `None` if it isn't whole: it was being built, or being freed. Counters that
    /// the registry doesn't fit are a fault.
    pub(super) fn into_fds(self, look: &mut Look<'_>) -> Option<BuildFds> {
        let (counts, members) = match &self.kept {
            Some(Ok(kept)) => {
                let members = kept.chain.members.iter().map(|member| member.id);
                (kept.counts, members.collect())
            }
            Some(Err(_)) | None => (COUNTS, Vec::<MemberId>::new()),
        };
        let ((root, _), (counters, info)) = (self.root?.what, self.counters?.what);
        let Some(layout) = Layout::of(&info.shape, counts, members.len()) else {
            look.faults.push(Why::WrongKind {
                pin: Pin::Counters(self.build),
                found: map_kind(&info.shape),
            });
            return None;
        };
        Some(BuildFds {
            links: self.links,
            root,
            jump: self.jump.map(|found| found.what),
            counters: Arc::new(counters),
            layout,
            registry: self.registry,
            next_registry: None,
            members,
        })
    }

    fn has_root(&self, program_id: u32) -> bool {
        self.root
            .as_ref()
            .is_some_and(|found| found.what.1 == program_id)
    }

    /// Finds by the root that runs what isn't pinned: it uses both maps.
    fn find_maps(&mut self) {
        let Some(root) = &self.root else { return };
        if self.jump.is_none() {
            let found = map_of(root.what.0.as_fd(), is_program_array);
            self.jump = found.map(|(fd, _)| Found::unpinned(fd));
        }
        if self.counters.is_none() {
            let found = map_of(root.what.0.as_fd(), counters::is_shape);
            self.counters = found.map(Found::unpinned);
        }
    }
}

/// The build that has this program for its root.
pub(super) fn with_root(builds: &[Parts], program_id: u32) -> Option<Build> {
    let mut builds = builds.iter();
    builds
        .find(|parts| parts.has_root(program_id))
        .map(|parts| parts.build)
}

/// Finds what isn't pinned of the build whose root a link holds. A root that isn't pinned itself is
/// known by its counters.
pub(super) fn find_root(builds: &mut [Parts], program_id: u32) {
    if let Some(parts) = builds.iter_mut().find(|parts| parts.has_root(program_id)) {
        parts.find_maps();
        return;
    }
    let Ok(root) = bpf::program_by_id(program_id) else {
        return;
    };
    let Ok(maps) = bpf::program_map_ids(root.as_fd()) else {
        return;
    };
    let is_its = |parts: &&mut Parts| {
        let counters = parts.counters.as_ref();
        parts.root.is_none() && counters.is_some_and(|found| maps.contains(&found.what.1.id))
    };
    if let Some(parts) = builds.iter_mut().find(is_its) {
        parts.root = Some(Found::unpinned((root, program_id)));
        parts.find_maps();
    }
}

/// The map of this shape that a program uses.
fn map_of(program: BorrowedFd<'_>, fits: impl Fn(&Shape) -> bool) -> Option<(OwnedFd, MapInfo)> {
    let ids = bpf::program_map_ids(program).ok()?;
    ids.into_iter().find_map(|id| {
        let map = bpf::map_by_id(id).ok()?;
        let info = bpf::map_info(map.as_fd()).ok()?;
        fits(&info.shape).then_some((map, info))
    })
}

fn is_program_array(shape: &Shape) -> bool {
    shape.map_type == libbpf_sys::BPF_MAP_TYPE_PROG_ARRAY
}
