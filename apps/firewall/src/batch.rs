//! Many entries of a map with one system call, which aya has not: `BPF_MAP_UPDATE_BATCH` and
//! `BPF_MAP_DELETE_BATCH`.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya::Pod;

/// Puts all, in this order, up to the first that fails.
///
/// # Safety
/// The map's keys and values must have the sizes of `K` and `V`: so many bytes the kernel reads.
pub(crate) unsafe fn put<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    let mut count = count(keys.len().min(values.len()))?;
    // SAFETY: there are `count` keys and values, as large as the map's (the caller's promise),
    // which is all that the kernel reads; null options are the defaults.
    let returned = unsafe {
        libbpf_sys::bpf_map_update_batch(
            map.as_raw_fd(),
            keys.as_ptr().cast(),
            values.as_ptr().cast(),
            &raw mut count,
            std::ptr::null(),
        )
    };
    check(returned)
}

/// Removes all, in this order, up to the first that fails.
///
/// # Safety
/// The map's keys must have the size of `K`: so many bytes the kernel reads.
pub(crate) unsafe fn remove<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut count = count(keys.len())?;
    // SAFETY: there are `count` keys, as large as the map's (the caller's promise), which is all
    // that the kernel reads; null options are the defaults.
    let returned = unsafe {
        libbpf_sys::bpf_map_delete_batch(
            map.as_raw_fd(),
            keys.as_ptr().cast(),
            &raw mut count,
            std::ptr::null(),
        )
    };
    check(returned)
}

fn count(entries: usize) -> io::Result<u32> {
    u32::try_from(entries).map_err(io::Error::other)
}

/// libbpf returns a negative errno.
fn check(returned: i32) -> io::Result<()> {
    if returned < 0 {
        Err(io::Error::from_raw_os_error(-returned))
    } else {
        Ok(())
    }
}
