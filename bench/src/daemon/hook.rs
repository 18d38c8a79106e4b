//! An interface's hook without anybody's daemon: what a change can't be faster than.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

use libbpf_sys as bpf;
use tests::Pair;

use crate::bpf::{load_xdp, pass};

/// A cable of its own with a link that two programs take turns in.
pub(super) struct Hook {
    _pair: Pair,
    link: OwnedFd,
    programs: [OwnedFd; 2],
}

impl Hook {
    /// Attaches the first of the two.
    pub(super) fn attach() -> io::Result<Self> {
        let pair = Pair::new();
        let programs = [load_xdp(&pass())?, load_xdp(&pass())?];
        let index = i32::try_from(pair.near.index).map_err(io::Error::other)?;
        let link = pair.near.netns.run(|| {
            // SAFETY: no options are given.
            let fd = unsafe {
                bpf::bpf_link_create(programs[0].as_raw_fd(), index, bpf::BPF_XDP, ptr::null())
            };
            let fd = check(fd)?;
            // SAFETY: the kernel has just made it, for nobody else.
            Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(fd) })
        })?;
        Ok(Self {
            _pair: pair,
            link,
            programs,
        })
    }

    /// `BPF_LINK_UPDATE`, and nothing else: the other program runs now.
    pub(super) fn update(&mut self) -> io::Result<()> {
        self.programs.swap(0, 1);
        let program = self.programs[0].as_fd().as_raw_fd();
        // SAFETY: no options are given.
        check(unsafe { bpf::bpf_link_update(self.link.as_raw_fd(), program, ptr::null()) })?;
        Ok(())
    }
}

/// Waits until nobody is inside what ran before, as every change must before it frees anything.
pub(super) fn grace_period() {
    tests::grace_period();
}

fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    Ok(returned)
}
