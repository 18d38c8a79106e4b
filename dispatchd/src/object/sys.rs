//! The bpf calls that aya keeps to itself: a program from plain instructions, a map by its shape.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use aya_obj::generated::bpf_insn;
use libbpf_sys as sys;

/// What the kernel knows of a map beside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// The types of a map's keys and values, in an object's BTF.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapTypes<'a> {
    pub(super) btf: BorrowedFd<'a>,
    pub(super) key: u32,
    pub(super) value: u32,
}

/// What a program is loaded as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) program_type: sys::bpf_prog_type,
    pub(super) attach_type: sys::bpf_attach_type,
    pub(super) flags: u32,
}

/// A program that only has to be loaded.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) target: Target,
    pub(super) name: &'a CStr,
    pub(super) license: &'a CStr,
    pub(super) instructions: &'a [bpf_insn],
    pub(super) types: Option<TextTypes<'a>>,
}

/// Which function has which type, and which line an instruction comes from.
#[derive(Debug)]
pub(super) struct TextTypes<'a> {
    pub(super) btf: BorrowedFd<'a>,
    /// `struct bpf_func_info`, one after another.
    pub(super) functions: Vec<u8>,
    /// `struct bpf_line_info`, one after another.
    pub(super) lines: Vec<u8>,
}

/// A refused load.
#[derive(Debug)]
pub(super) struct LoadFailure {
    pub(super) error: io::Error,
    /// How many bytes the whole log takes, where the kernel says so (Linux 6.4).
    pub(super) log_bytes: usize,
}

/// `BPF_BTF_LOAD`.
pub(super) fn load_types(btf: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the pointer and the length are the slice's, and no options are given.
    let result =
        unsafe { sys::bpf_btf_load(btf.as_ptr().cast(), btf.len() as u64, ptr::null_mut()) };
    new_descriptor(result)
}

/// `BPF_MAP_CREATE`.
pub(super) fn create_map(
    name: &CStr,
    shape: &Shape,
    extra: u64,
    types: Option<MapTypes<'_>>,
    inner: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let mut options = sys::bpf_map_create_opts {
        sz: size_of::<sys::bpf_map_create_opts>() as u64,
        map_flags: shape.flags,
        map_extra: extra,
        ..Default::default()
    };
    if let Some(inner) = inner {
        options.inner_map_fd = inner.as_raw_fd().cast_unsigned();
    }
    if let Some(types) = types {
        options.btf_fd = types.btf.as_raw_fd().cast_unsigned();
        options.btf_key_type_id = types.key;
        options.btf_value_type_id = types.value;
    }
    // SAFETY: the name ends with a zero byte, and the options have the size they say.
    let result = unsafe {
        sys::bpf_map_create(
            shape.map_type,
            name.as_ptr(),
            shape.key_size,
            shape.value_size,
            shape.max_entries,
            &raw const options,
        )
    };
    new_descriptor(result)
}

/// A map's shape, asked of the kernel.
pub(super) fn shape_of(map: BorrowedFd<'_>) -> io::Result<Shape> {
    let mut info = sys::bpf_map_info::default();
    let mut size = u32::try_from(size_of_val(&info)).unwrap_or_default();
    // SAFETY: the kernel writes at most `size` bytes, which is what `info` has.
    let result =
        unsafe { sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &raw mut info, &raw mut size) };
    no_result(result)?;
    Ok(Shape {
        map_type: info.type_,
        key_size: info.key_size,
        value_size: info.value_size,
        max_entries: info.max_entries,
        flags: info.map_flags,
    })
}

/// `BPF_MAP_UPDATE_ELEM` of an array, whose values are as long as the one given.
pub(super) fn set_element(map: BorrowedFd<'_>, index: u32, value: &[u8]) -> io::Result<()> {
    let shape = shape_of(map)?;
    let is_array = matches!(
        shape.map_type,
        sys::BPF_MAP_TYPE_ARRAY | sys::BPF_MAP_TYPE_PROG_ARRAY
    );
    if !is_array || shape.value_size as usize != value.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the kernel reads an array's 4 bytes of key and `value_size` bytes of value.
    let result = unsafe {
        sys::bpf_map_update_elem(
            map.as_raw_fd(),
            (&raw const index).cast(),
            value.as_ptr().cast(),
            0,
        )
    };
    no_result(result)
}

/// `BPF_MAP_FREEZE`: from now on nobody writes it through the system call.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes nothing but a descriptor.
    no_result(unsafe { sys::bpf_map_freeze(map.as_raw_fd()) })
}

/// `BPF_PROG_LOAD`; the verifier writes to the log if there is room for one.
pub(super) fn load_program(text: &Text<'_>, log: &mut [u8]) -> Result<OwnedFd, LoadFailure> {
    /// What made the verifier refuse, and how much it looked at.
    const LOG_LEVEL: u32 = 1 | 4;

    let mut options = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        expected_attach_type: text.target.attach_type,
        prog_flags: text.target.flags,
        ..Default::default()
    };
    if let Some(types) = &text.types {
        options.prog_btf_fd = types.btf.as_raw_fd().cast_unsigned();
        set_infos(&mut options, types);
    }
    if !log.is_empty() {
        options.log_level = LOG_LEVEL;
        options.log_buf = log.as_mut_ptr().cast();
        options.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
    }
    // SAFETY: names end with a zero byte, every pointer is given with the length of what it
    // points to, and all of it lives until the call returns. Both crates' instructions are the
    // kernel's `struct bpf_insn`.
    let result = unsafe {
        sys::bpf_prog_load(
            text.target.program_type,
            text.name.as_ptr(),
            text.license.as_ptr(),
            text.instructions.as_ptr().cast(),
            text.instructions.len() as u64,
            &raw mut options,
        )
    };
    new_descriptor(result).map_err(|error| LoadFailure {
        error,
        log_bytes: options.log_true_size as usize,
    })
}

fn set_infos(options: &mut sys::bpf_prog_load_opts, types: &TextTypes<'_>) {
    let record = |size: usize| u32::try_from(size).unwrap_or_default();
    let count = |bytes: &[u8], record: u32| u32::try_from(bytes.len()).unwrap_or_default() / record;
    if !types.functions.is_empty() {
        options.func_info_rec_size = record(size_of::<sys::bpf_func_info>());
        options.func_info = types.functions.as_ptr().cast();
        options.func_info_cnt = count(&types.functions, options.func_info_rec_size);
    }
    if !types.lines.is_empty() {
        options.line_info_rec_size = record(size_of::<sys::bpf_line_info>());
        options.line_info = types.lines.as_ptr().cast();
        options.line_info_cnt = count(&types.lines, options.line_info_rec_size);
    }
}

/// The kernel's id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = sys::bpf_prog_info::default();
    let mut size = u32::try_from(size_of_val(&info)).unwrap_or_default();
    // SAFETY: the kernel writes at most `size` bytes, which is what `info` has; its pointers to
    // further buffers are null.
    let result =
        unsafe { sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size) };
    no_result(result)?;
    Ok(info.id)
}

/// A name as the kernel takes them: other characters become `_`, and it keeps the first 15.
pub(super) fn kernel_name(name: &str) -> CString {
    let plain = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => byte,
        _ => b'_',
    });
    CString::new(plain.collect::<Vec<_>>()).unwrap_or_default()
}

/// libbpf returns a descriptor, or a negative errno.
fn new_descriptor(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the call just made this descriptor, and gave it to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// libbpf returns zero, or a negative errno.
fn no_result(result: i32) -> io::Result<()> {
    match result {
        0.. => Ok(()),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
