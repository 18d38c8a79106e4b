//! Takes chains off their interfaces without asking what they are: the way out where nothing else
//! helps. No daemon runs then.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use planner::{ChainDir, Pin, Registry};

use super::linux::Linux;
use super::pinned::{self, Object};
use super::{grace, hook, netns, pins};
use crate::bpf;

impl Linux {
    /// Removes the pins of every chain, or of one interface's in the calling thread's network
    /// namespace; returns of how many. What nothing else holds goes with its pins.
    pub fn flush(&self, interface: Option<&str>) -> io::Result<usize> {
        let only = interface
            .map(|name| {
                netns::resolve(netns::own()?.as_fd(), name)?
                    .ok_or_else(|| io::Error::other(format!("no interface {name}")))
            })
            .transpose()?;
        let mut flushed = 0;
        for name in pins::names(self.pins.root())? {
            let Some(dir) = pins::parse_chain(&name) else {
                continue;
            };
            let is_meant = only
                .as_ref()
                .is_none_or(|only| only.key == dir.key || self.is_of(dir, only.key));
            if is_meant {
                self.flush_chain(dir).map_err(|error| {
                    io::Error::new(error.kind(), format!("chain {dir}: {error}"))
                })?;
                flushed += 1;
            }
        }
        Ok(flushed)
    }

    /// Whether a registry says that the chain in this directory is of this interface.
    fn is_of(&self, dir: ChainDir, key: planner::ChainKey) -> bool {
        let found = self.look_at(dir).0;
        found.builds.iter().any(|pins| match &pins.registry {
            Registry::Chain(chain) => chain.interface.key == key,
            Registry::Missing | Registry::Unreadable(_) => false,
        })
    }

    /// The hook first, then, once no packet can be inside, what it ran.
    fn flush_chain(&self, dir: ChainDir) -> io::Result<()> {
        for pin in [Pin::Link, Pin::NextLink] {
            let path = self.pins.path(dir, &pin);
            // Whatever else it is goes with the directory.
            if let Ok(Some(Object::Link(link, info))) = pinned::open(&path) {
                // First: a daemon that finds a link off its hook puts its chain back.
                pins::remove_pin(&path)?;
                if info.link_type == libbpf_sys::BPF_LINK_TYPE_XDP {
                    hook::detach(link.as_fd()).inspect_err(|_| {
                        // Or it would go as soon as this process ends, and the rest stay.
                        let _ = bpf::obj_pin(link.as_fd(), &path);
                    })?;
                }
            }
        }
        grace::wait()?;
        remove(&self.pins.chain(dir))
    }
}

/// Removes a directory with all that is in it, or what is there in its place.
fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_dir() => pins::remove_pin(path),
        Ok(_) | Err(_) => pins::remove_dir(path),
    }
}
