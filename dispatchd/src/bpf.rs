//! `bpf(2)` on owned descriptors: one function a command, errno as [`io::Error`].
//!
//! aya loads objects; what it lacks is here (a link update with the expected old program, pins and
//! programs by descriptor, raw map access), by way of libbpf's thin wrappers.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of structs, of counted arrays and of packets fit 32 bits"
)]

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libbpf_sys as sys;

/// `BPF_F_NO_PREALLOC`.
pub(crate) const NO_PREALLOC: u32 = 1;
/// `BPF_F_REPLACE`: a link update names the program it replaces.
const LINK_REPLACE: u32 = 4;

/// libbpf's wrappers return a negative errno.
pub(crate) fn check(returned: c_int) -> io::Result<c_int> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    Ok(returned)
}

/// A new descriptor, or a negative errno.
pub(crate) fn owned(returned: c_int) -> io::Result<OwnedFd> {
    let fd = check(returned)?;
    // SAFETY: the command just returned this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// `BPF_OBJ_GET`.
pub(crate) fn obj_get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is a C string that outlives the call.
    owned(unsafe { sys::bpf_obj_get(path.as_ptr()) })
}

/// `BPF_OBJ_PIN`.
pub(crate) fn obj_pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is a C string that outlives the call.
    check(unsafe { sys::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) })?;
    Ok(())
}

/// A map's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
}

/// What only some maps are made with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapExtras<'a> {
    /// `map_extra`, such as a Bloom filter's hash functions.
    pub extra: u64,
    /// The types of its keys and values.
    pub types: Option<MapTypes<'a>>,
    /// What the maps in a map of maps are like.
    pub inner: Option<BorrowedFd<'a>>,
}

/// The types of a map's keys and values, in an object's BTF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapTypes<'a> {
    pub btf: BorrowedFd<'a>,
    pub key: u32,
    pub value: u32,
}

/// `BPF_MAP_CREATE`. Of the name the kernel keeps 15 bytes.
pub(crate) fn map_create(name: &CStr, shape: &Shape, extras: MapExtras<'_>) -> io::Result<OwnedFd> {
    let mut opts = sys::bpf_map_create_opts {
        sz: size_of::<sys::bpf_map_create_opts>() as sys::size_t,
        map_flags: shape.flags,
        map_extra: extras.extra,
        ..Default::default()
    };
    if let Some(inner) = extras.inner {
        opts.inner_map_fd = inner.as_raw_fd().cast_unsigned();
    }
    if let Some(types) = extras.types {
        opts.btf_fd = types.btf.as_raw_fd().cast_unsigned();
        opts.btf_key_type_id = types.key;
        opts.btf_value_type_id = types.value;
    }
    // SAFETY: the name and the options outlive the call.
    owned(unsafe {
        sys::bpf_map_create(
            shape.map_type,
            name.as_ptr(),
            shape.key_size,
            shape.value_size,
            shape.max_entries,
            &raw const opts,
        )
    })
}

/// Fails unless the map has 4-byte keys and values that take this many bytes here.
fn check_sizes(map: BorrowedFd<'_>, value: usize) -> io::Result<()> {
    let shape = map_info(map)?.shape;
    let is_per_cpu = matches!(
        shape.map_type,
        sys::BPF_MAP_TYPE_PERCPU_ARRAY
            | sys::BPF_MAP_TYPE_PERCPU_HASH
            | sys::BPF_MAP_TYPE_LRU_PERCPU_HASH
            | sys::BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
    );
    let expected = if is_per_cpu {
        shape.value_size.next_multiple_of(8) as usize * possible_cpus()?
    } else {
        shape.value_size as usize
    };
    if shape.key_size == 4 && value == expected {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// `BPF_MAP_UPDATE_ELEM` with a 4-byte key.
pub(crate) fn map_update(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    check_sizes(map, value.len())?;
    // SAFETY: key and value outlive the call, and have the sizes that the map was made with.
    check(unsafe {
        sys::bpf_map_update_elem(
            map.as_raw_fd(),
            (&raw const key).cast::<c_void>(),
            value.as_ptr().cast::<c_void>(),
            0,
        )
    })?;
    Ok(())
}

/// `BPF_MAP_LOOKUP_ELEM` with a 4-byte key into a buffer of the value's size (for a per-CPU map:
/// the value's size rounded up to 8 bytes, times the possible CPUs).
pub(crate) fn map_lookup(map: BorrowedFd<'_>, key: u32, value: &mut [u8]) -> io::Result<()> {
    check_sizes(map, value.len())?;
    // SAFETY: key and value outlive the call, and have the sizes that the map was made with.
    check(unsafe {
        sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            (&raw const key).cast::<c_void>(),
            value.as_mut_ptr().cast::<c_void>(),
        )
    })?;
    Ok(())
}

/// `BPF_MAP_DELETE_ELEM` with a 4-byte key.
pub(crate) fn map_delete(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    // SAFETY: the key outlives the call.
    check(unsafe { sys::bpf_map_delete_elem(map.as_raw_fd(), (&raw const key).cast::<c_void>()) })?;
    Ok(())
}

/// `BPF_MAP_FREEZE`.
pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { sys::bpf_map_freeze(map.as_raw_fd()) })?;
    Ok(())
}

/// CPUs that a per-CPU map has values for.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    // SAFETY: no memory is passed.
    check(unsafe { sys::libbpf_num_possible_cpus() }).map(|cpus| cpus.unsigned_abs() as usize)
}

/// `BPF_OBJ_GET_INFO_BY_FD` into a zeroed struct of the kernel's.
fn info<T: Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut len = size_of::<T>() as u32;
    // SAFETY: the struct is plain data, writable for `len` bytes, and zeroed, so that the kernel
    // takes no pointer from it.
    check(unsafe {
        sys::bpf_obj_get_info_by_fd(
            fd.as_raw_fd(),
            (&raw mut info).cast::<c_void>(),
            &raw mut len,
        )
    })?;
    Ok(info)
}

/// What a descriptor of `bpf(2)` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Map,
    Program,
    Link,
}

/// What a descriptor is; `None` if it is none of `bpf(2)`'s. The kernel's own names for
/// such files tell: `BPF_OBJ_GET_INFO_BY_FD` answers for each kind and doesn't say for which.
pub(crate) fn object_kind(object: BorrowedFd<'_>) -> io::Result<Option<ObjectKind>> {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    Ok(match name.to_str().unwrap_or_default() {
        "anon_inode:bpf-map" => Some(ObjectKind::Map),
        "anon_inode:bpf-prog" => Some(ObjectKind::Program),
        "anon_inode:bpf-link" | "anon_inode:bpf_link" => Some(ObjectKind::Link),
        _ => None,
    })
}

/// A program's id and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgramInfo {
    /// The kernel's id.
    pub id: u32,
    /// `enum bpf_prog_type`.
    pub program_type: u32,
}

/// A program's id and type.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let info = info::<sys::bpf_prog_info>(program)?;
    Ok(ProgramInfo {
        id: info.id,
        program_type: info.type_,
    })
}

/// The most maps that a program can use (`MAX_USED_MAPS`).
const USED_MAPS_MAX: usize = 64;

/// The ids of the maps that a program uses.
pub(crate) fn program_map_ids(program: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; USED_MAPS_MAX];
    let mut info = sys::bpf_prog_info {
        nr_map_ids: USED_MAPS_MAX as u32,
        map_ids: ids.as_mut_ptr().addr() as u64,
        ..Default::default()
    };
    let mut len = size_of::<sys::bpf_prog_info>() as u32;
    // SAFETY: the struct is plain data, writable for `len` bytes; the one pointer in it is to as
    // many ids as it says, which outlive the call.
    check(unsafe {
        sys::bpf_obj_get_info_by_fd(
            program.as_raw_fd(),
            (&raw mut info).cast::<c_void>(),
            &raw mut len,
        )
    })?;
    ids.truncate(info.nr_map_ids as usize);
    Ok(ids)
}

/// `BPF_PROG_GET_FD_BY_ID`.
pub(crate) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    owned(unsafe { sys::bpf_prog_get_fd_by_id(id) })
}

/// `BPF_MAP_GET_FD_BY_ID`.
pub(crate) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    owned(unsafe { sys::bpf_map_get_fd_by_id(id) })
}

/// A program's id.
pub(crate) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    info::<sys::bpf_prog_info>(program).map(|info| info.id)
}

/// A program's name, which may be empty.
pub(crate) fn program_name(program: BorrowedFd<'_>) -> io::Result<String> {
    let info = info::<sys::bpf_prog_info>(program)?;
    let bytes: Vec<u8> = info.name.iter().map(|byte| byte.cast_unsigned()).collect();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// A map's id and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapInfo {
    /// The kernel's id.
    pub id: u32,
    /// What it was made as.
    pub shape: Shape,
}

/// A map's id and shape.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let info = info::<sys::bpf_map_info>(map)?;
    Ok(MapInfo {
        id: info.id,
        shape: Shape {
            map_type: info.type_,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
        },
    })
}

/// What an XDP link holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The kernel's id.
    pub id: u32,
    /// `enum bpf_link_type`.
    pub link_type: u32,
    /// The program that runs.
    pub program_id: u32,
    /// The interface; 0 when it is gone or the link was detached, and of a link of another kind.
    pub ifindex: u32,
}

/// What an XDP link holds.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let info = info::<sys::bpf_link_info>(link)?;
    let ifindex = if info.type_ == sys::BPF_LINK_TYPE_XDP {
        // SAFETY: every bit pattern is an integer, and an XDP link fills this member of the union.
        unsafe { info.__bindgen_anon_1.xdp.ifindex }
    } else {
        0
    };
    Ok(LinkInfo {
        id: info.id,
        link_type: info.type_,
        program_id: info.prog_id,
        ifindex,
    })
}

/// `BPF_LINK_CREATE` for XDP, in the calling thread's network namespace. Flags: `XDP_FLAGS_*_MODE`.
pub(crate) fn xdp_link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let opts = sys::bpf_link_create_opts {
        sz: size_of::<sys::bpf_link_create_opts>() as sys::size_t,
        flags,
        ..Default::default()
    };
    // SAFETY: the options outlive the call.
    owned(unsafe {
        sys::bpf_link_create(
            program.as_raw_fd(),
            ifindex.cast_signed(),
            sys::BPF_XDP,
            &raw const opts,
        )
    })
}

/// `BPF_LINK_CREATE` of an extension: it takes the place of the target's function of this type
/// (Linux 5.10).
pub(crate) fn freplace(
    extension: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    function_type: u32,
) -> io::Result<OwnedFd> {
    let opts = sys::bpf_link_create_opts {
        sz: size_of::<sys::bpf_link_create_opts>() as sys::size_t,
        target_btf_id: function_type,
        ..Default::default()
    };
    // SAFETY: the options outlive the call.
    owned(unsafe {
        sys::bpf_link_create(
            extension.as_raw_fd(),
            target.as_raw_fd(),
            0,
            &raw const opts,
        )
    })
}

/// `BPF_LINK_UPDATE`, if `old` is what the link holds.
pub(crate) fn link_update(
    link: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
) -> io::Result<()> {
    let opts = sys::bpf_link_update_opts {
        sz: size_of::<sys::bpf_link_update_opts>() as sys::size_t,
        flags: LINK_REPLACE,
        old_prog_fd: old.as_raw_fd().cast_unsigned(),
        ..Default::default()
    };
    // SAFETY: the options outlive the call.
    check(unsafe { sys::bpf_link_update(link.as_raw_fd(), new.as_raw_fd(), &raw const opts) })?;
    Ok(())
}

/// `BPF_LINK_DETACH`.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { sys::bpf_link_detach(link.as_raw_fd()) })?;
    Ok(())
}

/// The id of the XDP program that an interface runs, in the calling thread's network namespace; 0
/// if it runs none.
pub(crate) fn xdp_program_id(ifindex: u32) -> io::Result<u32> {
    let mut id = 0;
    // SAFETY: the id is writable and outlives the call.
    check(unsafe { sys::bpf_xdp_query_id(ifindex.cast_signed(), 0, &raw mut id) })?;
    Ok(id)
}

/// `BPF_PROG_TEST_RUN` on one packet: the program's return value.
pub(crate) fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut opts = sys::bpf_test_run_opts {
        sz: size_of::<sys::bpf_test_run_opts>() as sys::size_t,
        data_in: packet.as_ptr().cast::<c_void>(),
        data_size_in: packet.len() as u32,
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: the options and the packet outlive the call.
    check(unsafe { sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut opts) })?;
    Ok(opts.retval)
}

/// `BPF_MAP_UPDATE_ELEM` of a map whose values are descriptors: a program array, an array of maps.
pub(crate) fn map_update_fd(
    map: BorrowedFd<'_>,
    key: u32,
    value: BorrowedFd<'_>,
) -> io::Result<()> {
    map_update(map, key, &value.as_raw_fd().to_ne_bytes())
}

/// `BPF_F_XDP_HAS_FRAGS`: takes packets of several buffers (Linux 5.18).
pub(crate) const XDP_HAS_FRAGS: u32 = 1 << 5;

/// An XDP program that returns one value: `r0 = value; exit`. Flags: `BPF_F_*`.
pub(crate) fn xdp_constant(value: u32, flags: u32) -> io::Result<OwnedFd> {
    let instructions = [
        sys::bpf_insn {
            // BPF_ALU64 | BPF_MOV | BPF_K
            code: 0xb7,
            imm: value.cast_signed(),
            ..Default::default()
        },
        sys::bpf_insn {
            // BPF_JMP | BPF_EXIT
            code: 0x95,
            ..Default::default()
        },
    ];
    let opts = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as sys::size_t,
        expected_attach_type: sys::BPF_XDP,
        prog_flags: flags,
        ..Default::default()
    };
    // SAFETY: name, licence, instructions and options outlive the call.
    owned(unsafe {
        sys::bpf_prog_load(
            sys::BPF_PROG_TYPE_XDP,
            c"probe".as_ptr(),
            c"Dual MIT/GPL".as_ptr(),
            instructions.as_ptr(),
            instructions.len() as sys::size_t,
            (&raw const opts).cast_mut(),
        )
    })
}
