//! The types of hand-written programs, and where another program's functions are.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

use libbpf_sys as bpf;

use super::sys::check;

/// BTF in which every function is `int f(struct xdp_md *)` and global, so that the verifier
/// assumes nothing of its value.
pub(super) struct Types {
    btf: NonNull<bpf::btf>,
    /// The type of the first function; the others' follow.
    pub(super) first_function: u32,
}

impl Types {
    /// Types for so many functions, loaded into the kernel.
    pub(super) fn of_functions(count: usize) -> io::Result<Self> {
        // SAFETY: the call takes nothing.
        let btf = unsafe { bpf::btf__new_empty() };
        let btf = NonNull::new(btf).ok_or_else(io::Error::last_os_error)?;
        let mut types = Self {
            btf,
            first_function: 0,
        };
        let prototype = types.add_prototype()?;
        for index in 0..count {
            let name = CString::new(format!("function_{index}")).expect("no zero byte");
            // SAFETY: `btf` is live until drop, and the name outlives the call.
            let function = check(unsafe {
                bpf::btf__add_func(btf.as_ptr(), name.as_ptr(), bpf::BTF_FUNC_GLOBAL, prototype)
            })?;
            if index == 0 {
                types.first_function = function.unsigned_abs();
            }
        }
        // SAFETY: `btf` is live until drop.
        check(unsafe { bpf::btf__load_into_kernel(btf.as_ptr()) })?;
        Ok(types)
    }

    /// The kernel's descriptor of these types.
    pub(super) fn descriptor(&self) -> u32 {
        // SAFETY: `btf` is live until drop.
        let descriptor = unsafe { bpf::btf__fd(self.btf.as_ptr()) };
        u32::try_from(descriptor).expect("the types are loaded")
    }

    /// `int (struct xdp_md *)`.
    fn add_prototype(&mut self) -> io::Result<i32> {
        const WORDS: u32 = 6;
        let btf = self.btf.as_ptr();
        // SAFETY: `btf` is live until drop, and the names are static.
        unsafe {
            let int = check(bpf::btf__add_int(
                btf,
                c"int".as_ptr(),
                4,
                bpf::BTF_INT_SIGNED.cast_signed(),
            ))?;
            let word = check(bpf::btf__add_int(btf, c"u32".as_ptr(), 4, 0))?;
            let context = check(bpf::btf__add_struct(btf, c"xdp_md".as_ptr(), 4 * WORDS))?;
            for (index, name) in (0..WORDS).zip([
                c"data",
                c"data_end",
                c"data_meta",
                c"ingress_ifindex",
                c"rx_queue_index",
                c"egress_ifindex",
            ]) {
                check(bpf::btf__add_field(btf, name.as_ptr(), word, 32 * index, 0))?;
            }
            let pointer = check(bpf::btf__add_ptr(btf, context))?;
            let prototype = check(bpf::btf__add_func_proto(btf, int))?;
            check(bpf::btf__add_func_param(btf, c"ctx".as_ptr(), pointer))?;
            Ok(prototype)
        }
    }
}

impl Drop for Types {
    fn drop(&mut self) {
        // SAFETY: made by `btf__new_empty`, and nobody else frees it.
        unsafe { bpf::btf__free(self.btf.as_ptr()) };
    }
}

/// The type of a loaded program's function: what an extension is attached to.
pub(super) fn function_of(program: BorrowedFd<'_>, name: &CStr) -> io::Result<u32> {
    let mut info = bpf::bpf_prog_info::default();
    let mut size = u32::try_from(size_of_val(&info)).expect("it is small");
    // SAFETY: `info` is as long as `size` says, and both outlive the call.
    check(unsafe {
        bpf::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size)
    })?;
    // SAFETY: the call takes a number.
    let btf = unsafe { bpf::btf__load_from_kernel_by_id(info.btf_id) };
    let btf = NonNull::new(btf).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: `btf` is live until the next statement, and the name outlives the call.
    let function =
        unsafe { bpf::btf__find_by_name_kind(btf.as_ptr(), name.as_ptr(), bpf::BTF_KIND_FUNC) };
    // SAFETY: made above, and not used after this.
    unsafe { bpf::btf__free(btf.as_ptr()) };
    Ok(check(function)?.unsigned_abs())
}
