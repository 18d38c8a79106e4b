//! Loading a program from plain instructions, which aya keeps to itself.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;

use aya_obj::generated::bpf_insn;
use libbpf_sys as sys;

use super::{LoadAs, SlotFunction};
use crate::bpf;

/// No attach type, as extensions have none.
const NO_ATTACH_TYPE: sys::bpf_attach_type = 0;

/// What a program is loaded as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    program_type: sys::bpf_prog_type,
    attach_type: sys::bpf_attach_type,
    flags: u32,
    extends: Option<SlotFunction<'a>>,
}

impl<'a> Target<'a> {
    /// For a program itself.
    pub(super) fn of(target: LoadAs<'a>) -> Self {
        let (program_type, attach_type) = match target.extends {
            Some(_) => (sys::BPF_PROG_TYPE_EXT, NO_ATTACH_TYPE),
            None => (sys::BPF_PROG_TYPE_XDP, sys::BPF_XDP),
        };
        Self {
            program_type,
            attach_type,
            flags: if target.frags { bpf::XDP_HAS_FRAGS } else { 0 },
            extends: target.extends,
        }
    }

    /// For what a program loaded as `caller` tail-calls: a program array takes only what agrees
    /// with its user in attach type and frags.
    pub(super) fn called_by(caller: LoadAs<'a>) -> Self {
        Self {
            program_type: sys::BPF_PROG_TYPE_XDP,
            extends: None,
            ..Self::of(caller)
        }
    }
}

/// A program that only has to be loaded.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) target: Target<'a>,
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
    bpf::owned(result)
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
    if let Some(function) = text.target.extends {
        options.attach_prog_fd = function.root.as_raw_fd().cast_unsigned();
        options.attach_btf_id = function.type_id;
    }
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
    bpf::owned(result).map_err(|error| LoadFailure {
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

/// A name as the kernel takes them: other characters become `_`, and it keeps the first 15.
pub(super) fn kernel_name(name: &str) -> CString {
    let plain = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => byte,
        _ => b'_',
    });
    CString::new(plain.collect::<Vec<_>>()).unwrap_or_default()
}
