//! Pins again what the daemon still holds and somebody removed by hand: after the daemon's end only
//! pins keep a chain.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use planner::{Call, ChainDir, Pin, Why};

use super::linux::{ChainFds, Linux};
use super::pinned::{self, Fault, Object};
use super::pins::{self, Pins};
use crate::bpf::{self, ObjectKind};

/// What became of a chain's pins.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repinned {
    /// What was missing, and is pinned again.
    pub pinned: Vec<Pin>,
    /// What is wrong and stays so: something else is pinned there, or a call failed.
    pub faults: Vec<Why>,
}

impl Linux {
    /// Compares every pin of a chain with what the daemon holds, and pins again what isn't there.
    /// What else somebody pinned in its place is left there and told.
    pub fn repin(&self, dir: ChainDir) -> Repinned {
        let mut repinned = Repinned::default();
        let Some(fds) = self.chains.get(&dir) else {
            return repinned;
        };
        for (pin, kind, fd) in held(fds) {
            match ensure(&self.pins, dir, &pin, kind, fd) {
                Ok(false) => {}
                Ok(true) => repinned.pinned.push(pin),
                Err(Fault::Kind(_)) => repinned.faults.push(Why::Replaced { pin }),
                Err(Fault::Failed { call, errno }) => {
                    repinned.faults.push(Why::Failed { pin, call, errno });
                }
            }
        }
        repinned
    }
}

/// What the daemon holds of a chain, and where it belongs.
fn held(fds: &ChainFds) -> Vec<(Pin, ObjectKind, BorrowedFd<'_>)> {
    let mut held = Vec::new();
    // What packets need, first.
    if let Some(link) = &fds.link {
        held.push((Pin::Link, ObjectKind::Link, link.as_fd()));
    }
    for (build, fds) in &fds.builds {
        let build = *build;
        let root = (Pin::Root(build), ObjectKind::Program, fds.root.as_fd());
        held.extend([
            root,
            (Pin::Counters(build), ObjectKind::Map, fds.counters.as_fd()),
        ]);
        let jump = fds.jump.iter();
        held.extend(jump.map(|fd| (Pin::Jump(build), ObjectKind::Map, fd.as_fd())));
        let registry = fds.registry.iter();
        held.extend(registry.map(|fd| (Pin::Registry(build), ObjectKind::Map, fd.as_fd())));
        let links = fds.links.iter();
        held.extend(
            links.map(|(slot, fd)| (Pin::Slot(build, *slot), ObjectKind::Link, fd.as_fd())),
        );
    }
    for (member, fds) in &fds.members {
        let member = *member;
        let totals = fds.totals_map.iter();
        held.extend(totals.map(|fd| (Pin::Totals(member), ObjectKind::Map, fd.as_fd())));
        for (code, staged) in &fds.codes {
            let program = staged.program.as_fd();
            held.push((Pin::Program(member, *code), ObjectKind::Program, program));
            held.extend(staged.maps.iter().map(|map| {
                let file = pins::escape(&map.name);
                (
                    Pin::Map(member, *code, file),
                    ObjectKind::Map,
                    map.fd.as_fd(),
                )
            }));
        }
    }
    held
}

/// Makes sure that this is pinned there; returns whether it wasn't.
fn ensure(
    pins: &Pins,
    dir: ChainDir,
    pin: &Pin,
    kind: ObjectKind,
    fd: BorrowedFd<'_>,
) -> Result<bool, Fault> {
    let path = pins.path(dir, pin);
    if let Some(found) = pinned::open(&path)? {
        let id = id(kind, fd).map_err(Fault::failed(Call::BpfObjGetInfoByFd))?;
        return match (kind, &found) {
            (ObjectKind::Map, Object::Map(_, info)) if info.id == id => Ok(false),
            (ObjectKind::Program, Object::Program(_, info)) if info.id == id => Ok(false),
            (ObjectKind::Link, Object::Link(_, info)) if info.id == id => Ok(false),
            _ => Err(Fault::Kind(found.kind())),
        };
    }
    if let Some(parent) = path.parent() {
        pins::make_dir(parent).map_err(Fault::failed(Call::Mkdir))?;
    }
    bpf::obj_pin(fd, &path).map_err(Fault::failed(Call::BpfObjPin))?;
    Ok(true)
}

fn id(kind: ObjectKind, fd: BorrowedFd<'_>) -> io::Result<u32> {
    match kind {
        ObjectKind::Map => bpf::map_info(fd).map(|info| info.id),
        ObjectKind::Program => bpf::program_id(fd),
        ObjectKind::Link => bpf::link_info(fd).map(|info| info.id),
    }
}
