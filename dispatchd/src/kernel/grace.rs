//! Waiting until no packet is inside what ran before.

use std::io;
use std::os::fd::AsFd;

use nix::libc;

use crate::bpf::{self, MapExtras, Shape};

/// `enum membarrier_cmd`.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Waits for an RCU grace period: every packet that was inside a program when this was called has
/// left it when this returns. About 8 ms.
///
/// A link update may wait for one itself and may not (it depends on how many XDP programs the host
/// runs), so that is not relied on.
pub(super) fn wait() -> io::Result<()> {
    // SAFETY: the command takes no memory.
    let returned = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if returned == 0 {
        return Ok(());
    }
    wait_by_map()
}

/// For hosts with `nohz_full`, which refuse the membarrier: changing an array of maps waits too
/// (`maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`).
fn wait_by_map() -> io::Result<()> {
    let element = Shape {
        map_type: libbpf_sys::BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
    };
    let inner = bpf::map_create(c"grace_inner", &element, MapExtras::default())?;
    let outer = bpf::map_create(
        c"grace",
        &Shape {
            map_type: libbpf_sys::BPF_MAP_TYPE_ARRAY_OF_MAPS,
            ..element
        },
        MapExtras {
            inner: Some(inner.as_fd()),
            ..MapExtras::default()
        },
    )?;
    bpf::map_update_fd(outer.as_fd(), 0, inner.as_fd())?;
    bpf::map_delete(outer.as_fd(), 0)
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
    fn both_ways_of_waiting_return() {
        super::wait().expect("membarrier");
        super::wait_by_map().expect("array of maps");
    }
}
