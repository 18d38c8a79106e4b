//! The XDP hook of an interface: the one place that attaches, swaps and detaches, with the table of
//! what an errno means there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dispatcher_abi::Mode;
use nix::libc;
use planner::{FailureKind, HookProgram};

use super::netns;
use crate::bpf;

/// `XDP_FLAGS_*_MODE`, `include/uapi/linux/if_link.h`.
fn mode_flags(mode: Mode) -> u32 {
    match mode {
        Mode::Generic => 1 << 1,
        Mode::Native => 1 << 2,
        Mode::Offload => 1 << 3,
    }
}

/// Attaches a root. Linux 5.9.
pub(super) fn attach(
    namespace: BorrowedFd<'_>,
    ifindex: u32,
    root: BorrowedFd<'_>,
    mode: Mode,
) -> io::Result<OwnedFd> {
    netns::within(namespace, || {
        bpf::xdp_link_create(root, ifindex, mode_flags(mode))
    })
}

/// The id of the program that an interface runs now; 0 if none, or if it can't be told.
pub(super) fn program_id(namespace: BorrowedFd<'_>, ifindex: u32) -> u32 {
    netns::within(namespace, || bpf::xdp_program_id(ifindex)).unwrap_or(0)
}

/// The program that an interface runs now, if it runs one. It waits for RTNL.
pub(crate) fn program(namespace: BorrowedFd<'_>, ifindex: u32) -> io::Result<Option<HookProgram>> {
    let id = netns::within(namespace, || bpf::xdp_program_id(ifindex))?;
    if id == 0 {
        return Ok(None);
    }
    match bpf::program_by_id(id).and_then(|program| bpf::program_name(program.as_fd())) {
        Ok(name) => Ok(Some(HookProgram { id, name })),
        // It went in between.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a link off its interface, now and whoever else holds it: dropping references would leave
/// the hook to whoever has the last. Linux 5.9. One that is off already is fine.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    match bpf::link_detach(link) {
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        other => other,
    }
}

/// Puts one root in the place of another, if that one is what runs: the atomic step.
pub(super) fn swap(
    link: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
) -> io::Result<()> {
    bpf::link_update(link, old, new)
}

/// What an errno of [`attach`] means.
pub(super) fn attach_error(error: &io::Error) -> FailureKind {
    match error.raw_os_error() {
        // No native XDP in this driver, or features that rule it out.
        Some(libc::EOPNOTSUPP) => FailureKind::Mode,
        // The MTU is above what the driver takes (veth).
        Some(libc::ERANGE) => FailureKind::Large,
        // A link or a netlink attachment holds the hook (EBUSY), or one in another mode (EEXIST).
        Some(libc::EBUSY | libc::EEXIST) => FailureKind::Busy,
        Some(libc::ENODEV) => FailureKind::Gone,
        _ => FailureKind::Failed,
    }
}

/// What an errno of [`swap`] means.
pub(super) fn swap_error(error: &io::Error) -> FailureKind {
    match error.raw_os_error() {
        // The link holds another program than the expected one: it looks like missing rights.
        Some(libc::EPERM) => FailureKind::Busy,
        // The interface is gone, or somebody detached the link.
        Some(libc::ENOLINK) => FailureKind::Gone,
        // The new root doesn't fit the interface (a frags or MTU rule).
        Some(libc::EOPNOTSUPP) => FailureKind::Mode,
        Some(libc::ERANGE) => FailureKind::Large,
        _ => FailureKind::Failed,
    }
}
