//! What somebody who has no right to it might ask of the kernel's `bpf(2)`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use libbpf_sys as bpf;

/// `BPF_MAP_GET_FD_BY_ID`.
pub fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    owned(unsafe { bpf::bpf_map_get_fd_by_id(id) })
}

/// `BPF_PROG_GET_FD_BY_ID`.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    owned(unsafe { bpf::bpf_prog_get_fd_by_id(id) })
}

/// `BPF_LINK_GET_FD_BY_ID`.
pub fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    owned(unsafe { bpf::bpf_link_get_fd_by_id(id) })
}

/// `BPF_OBJ_GET`.
pub fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path has no zero byte");
    // SAFETY: the path outlives the call.
    owned(unsafe { bpf::bpf_obj_get(path.as_ptr()) })
}

/// `BPF_LINK_CREATE` of an XDP program on an interface of the calling thread's namespace.
pub fn attach(program: BorrowedFd<'_>, index: u32) -> io::Result<OwnedFd> {
    let index = i32::try_from(index).expect("an interface index is positive");
    // SAFETY: null options mean the defaults.
    owned(unsafe { bpf::bpf_link_create(program.as_raw_fd(), index, bpf::BPF_XDP, ptr::null()) })
}

/// `BPF_MAP_FREEZE`.
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    check(unsafe { bpf::bpf_map_freeze(map.as_raw_fd()) }).map(drop)
}

/// `BPF_MAP_UPDATE_ELEM` of a map from a queue to a socket.
pub fn insert(map: BorrowedFd<'_>, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    update(map, queue, socket, bpf::BPF_ANY)
}

/// The same where the queue has a socket already, which may be this one: the only way to ask such a
/// map whether it has.
pub fn replace(map: BorrowedFd<'_>, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    update(map, queue, socket, bpf::BPF_EXIST)
}

fn update(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
    flags: bpf::__u32,
) -> io::Result<()> {
    let value = socket.as_raw_fd();
    // SAFETY: key and value have four bytes, as an XSKMAP's have, and outlive the call.
    let result = unsafe {
        bpf::bpf_map_update_elem(
            map.as_raw_fd(),
            (&raw const queue).cast(),
            (&raw const value).cast(),
            flags.into(),
        )
    };
    check(result).map(drop)
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    let descriptor = check(result)?;
    // SAFETY: the call just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn check(result: i32) -> io::Result<i32> {
    if result >= 0 {
        Ok(result)
    } else {
        Err(io::Error::last_os_error())
    }
}
