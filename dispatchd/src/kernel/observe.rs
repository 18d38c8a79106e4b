//! Looks at what is pinned, when the daemon starts. It opens and reads; nothing is changed.

mod build;
mod look;
mod member;

use std::os::fd::OwnedFd;

use planner::{Build, Call, ChainDir, Holds, Observed, ObservedChain, ObservedLink, Pin};

use self::build::Parts;
use self::look::Look;
use super::linux::{ChainFds, Linux, failed};
use super::pinned::{Fault, Object};
use super::{KernelError, pins};
use crate::bpf::LinkInfo;

impl Linux {
    /// Opens everything that is pinned. Looking changes nothing.
    pub fn observe(&mut self) -> Result<Observed, KernelError> {
        let root = self.pins.root().to_owned();
        let names =
            pins::names(&root).map_err(failed(Call::Readdir, root.display().to_string()))?;
        let mut observed = Observed::default();
        for dir in names.iter().filter_map(|name| pins::parse_chain(name)) {
            let (chain, fds) = self.look_at(dir);
            observed.chains.push(chain);
            self.chains.insert(dir, fds);
        }
        Ok(observed)
    }

    /// Lets go of a chain that is left alone.
    pub(crate) fn forget(&mut self, chain: ChainDir) {
        self.chains.remove(&chain);
    }

    /// What is pinned of one chain, and the descriptors of what could be opened.
    pub(super) fn look_at(&self, dir: ChainDir) -> (ObservedChain, ChainFds) {
        let mut look = Look::at(&self.pins, dir);
        let mut observed = ObservedChain {
            dir,
            link: None,
            next_link: None,
            builds: Vec::new(),
            members: Vec::new(),
            faults: Vec::new(),
        };
        let mut fds = ChainFds::default();
        let (mut link, mut next_link) = (None, None);
        let mut builds = Vec::new();
        for name in look.names(&Pin::Chain) {
            match pins::parse_entry(&name) {
                Some(Pin::Link) => link = look.open(&Pin::Link, xdp_link),
                Some(Pin::NextLink) => next_link = look.open(&Pin::NextLink, xdp_link),
                Some(Pin::Build(build)) => builds.push(Parts::read(&mut look, build)),
                Some(Pin::Member(member)) => {
                    let (pins, opened) = member::read(&mut look, member);
                    observed.members.push(pins);
                    fds.members.insert(member, opened);
                }
                // Whatever it is, it is none of ours.
                Some(_) | None => {}
            }
        }
        for (_, info) in link.iter().chain(&next_link) {
            build::find_root(&mut builds, info.program_id);
        }
        let held = |info: &LinkInfo| ObservedLink {
            holds: build::with_root(&builds, info.program_id).map_or(
                Holds::Unknown {
                    program_id: info.program_id,
                },
                Holds::Build,
            ),
            is_attached: info.ifindex != 0,
        };
        observed.link = link.as_ref().map(|(_, info)| held(info));
        observed.next_link = next_link.as_ref().map(|(_, info)| held(info));
        fds.link = link.map(|(fd, _)| fd);
        fds.next_link = next_link.map(|(fd, _)| fd);
        for parts in builds {
            let build: Build = parts.build;
            observed.builds.push(parts.observed());
            fds.builds
                .extend(parts.into_fds(&mut look).map(|opened| (build, opened)));
        }
        observed.faults = look.faults;
        (observed, fds)
    }
}

fn xdp_link(found: Object) -> Result<(OwnedFd, LinkInfo), Fault> {
    found.link(libbpf_sys::BPF_LINK_TYPE_XDP)
}
