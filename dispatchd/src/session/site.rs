//! The interface that a request names, and the namespace it is in.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use planner::Interface;
use protocol::{RefusalCode, Refused};

use crate::kernel::netns;
use crate::translate;

/// An interface, found. The namespace is kept no longer than the request.
pub(super) struct Site {
    pub(super) interface: Interface,
    pub(super) namespace: Arc<OwnedFd>,
}

impl Site {
    /// Finds an interface in the namespace that came with the request, or in the daemon's own.
    pub(super) fn find(name: &str, namespace: Option<OwnedFd>) -> Result<Self, Refused> {
        let refused = |code, why: String| {
            let message = format!("interface {name}: {why}");
            translate::refused(code, message)
        };
        let namespace = match namespace {
            Some(fd) if netns::is_netns(fd.as_fd()) => fd,
            Some(_) => {
                let why = "the descriptor with the request is not a network namespace";
                return Err(refused(RefusalCode::Descriptor, why.to_owned()));
            }
            None => netns::own().map_err(|error| {
                let why = format!("the daemon's own network namespace can't be opened: {error}");
                refused(RefusalCode::Daemon, why)
            })?,
        };
        match netns::resolve(namespace.as_fd(), name) {
            Ok(Some(interface)) => Ok(Self {
                interface,
                namespace: Arc::new(namespace),
            }),
            Ok(None) => Err(translate::refused(
                RefusalCode::NoSuchInterface,
                format!("no interface {name} in this network namespace"),
            )),
            Err(error) => {
                let why = format!("the network namespace can't be entered: {error}");
                Err(refused(RefusalCode::Daemon, why))
            }
        }
    }
}
