//! Work in another network namespace.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::{panic, thread};

use nix::sched::{CloneFlags, setns};

/// Does it in this namespace, on a thread that lives there, which takes `CAP_SYS_ADMIN`; without one, here.
pub(crate) fn inside<T: Send>(
    netns: Option<&str>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let Some(netns) = netns else {
        return Ok(work());
    };
    let path = if netns.contains('/') {
        PathBuf::from(netns)
    } else {
        PathBuf::from("/run/netns").join(netns)
    };
    let namespace = File::open(&path)?;
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        there
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}
