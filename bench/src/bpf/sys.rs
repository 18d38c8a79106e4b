//! `bpf(2)`, as far as measuring needs it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};

use libbpf_sys as bpf;

use super::btf::{self, Types};
use super::instructions::Code;

/// Loads hand-written code as an XDP program.
pub(crate) fn load_xdp(code: &Code) -> io::Result<OwnedFd> {
    let options = bpf::bpf_prog_load_opts {
        // What libbpf and aya give to a root, and so what its program array takes.
        expected_attach_type: bpf::BPF_XDP,
        ..Default::default()
    };
    load(code, bpf::BPF_PROG_TYPE_XDP, options)
}

/// Loads hand-written code as an extension of programs like this one.
pub(crate) fn load_extension(code: &Code, target: &Function<'_>) -> io::Result<OwnedFd> {
    let options = bpf::bpf_prog_load_opts {
        attach_prog_fd: target.program.as_raw_fd().unsigned_abs(),
        attach_btf_id: target.id,
        ..Default::default()
    };
    load(code, bpf::BPF_PROG_TYPE_EXT, options)
}

fn load(code: &Code, kind: u32, options: bpf::bpf_prog_load_opts) -> io::Result<OwnedFd> {
    let types = Types::of_functions(code.functions.len())?;
    let functions: Vec<bpf::bpf_func_info> = (types.first_function..)
        .zip(&code.functions)
        .map(|(type_id, at)| bpf::bpf_func_info {
            insn_off: *at,
            type_id,
        })
        .collect();
    let mut options = bpf::bpf_prog_load_opts {
        sz: size_of::<bpf::bpf_prog_load_opts>() as bpf::size_t,
        prog_btf_fd: types.descriptor(),
        func_info: functions.as_ptr().cast(),
        func_info_cnt: u32::try_from(functions.len()).expect("a program is short"),
        func_info_rec_size: u32::try_from(size_of::<bpf::bpf_func_info>()).expect("it is 8"),
        ..options
    };
    // SAFETY: code, types and options outlive the call, and are as many as said.
    owned(unsafe {
        bpf::bpf_prog_load(
            kind,
            c"bench".as_ptr(),
            c"GPL".as_ptr(),
            code.instructions.as_ptr(),
            code.instructions.len() as bpf::size_t,
            &raw mut options,
        )
    })
}

/// A function of a loaded program.
pub(crate) struct Function<'a> {
    program: BorrowedFd<'a>,
    id: u32,
}

impl<'a> Function<'a> {
    /// Finds it by its name.
    pub(crate) fn of(program: BorrowedFd<'a>, name: &str) -> io::Result<Self> {
        let name = CString::new(name)?;
        let id = btf::function_of(program, &name)?;
        Ok(Self { program, id })
    }

    /// Replaces it by an extension, as long as the link is open.
    pub(crate) fn replace(&self, extension: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let options = bpf::bpf_link_create_opts {
            sz: size_of::<bpf::bpf_link_create_opts>() as bpf::size_t,
            target_btf_id: self.id,
            ..Default::default()
        };
        // SAFETY: the options outlive the call.
        owned(unsafe {
            bpf::bpf_link_create(
                extension.as_raw_fd(),
                self.program.as_raw_fd(),
                0,
                &raw const options,
            )
        })
    }
}

/// An object file with one XDP program, loaded.
pub(crate) struct Object {
    object: NonNull<bpf::bpf_object>,
    program: NonNull<bpf::bpf_program>,
}

impl Object {
    /// Loads one of the object's programs, with these bytes as the read-only data.
    pub(crate) fn load(bytes: &[u8], program: &CStr, constants: &[u8]) -> io::Result<Self> {
        // SAFETY: the call takes no pointer; libbpf then prints nothing.
        unsafe { bpf::libbpf_set_print(None) };
        // SAFETY: the bytes outlive the call, which copies what it keeps.
        let object = unsafe {
            bpf::bpf_object__open_mem(
                bytes.as_ptr().cast(),
                bytes.len() as bpf::size_t,
                ptr::null(),
            )
        };
        let object = NonNull::new(object).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the object was just opened.
        let chosen =
            unsafe { bpf::bpf_object__find_program_by_name(object.as_ptr(), program.as_ptr()) };
        let Some(chosen) = NonNull::new(chosen) else {
            // SAFETY: the object was just opened, and is not used after this.
            unsafe { bpf::bpf_object__close(object.as_ptr()) };
            return Err(io::ErrorKind::NotFound.into());
        };
        let opened = Self {
            object,
            program: chosen,
        };
        opened.set_constants(constants)?;
        // SAFETY: the object is open until drop.
        check(unsafe { bpf::bpf_object__load(object.as_ptr()) })?;
        Ok(opened)
    }

    fn set_constants(&self, constants: &[u8]) -> io::Result<()> {
        let mut size: bpf::size_t = 0;
        // SAFETY: the object is open, the name is static, and `size` outlives the call.
        let value = unsafe {
            let map = bpf::bpf_object__find_map_by_name(self.object.as_ptr(), c".rodata".as_ptr());
            if map.is_null() {
                return Err(io::ErrorKind::NotFound.into());
            }
            bpf::bpf_map__initial_value(map, &raw mut size)
        };
        if value.is_null() || size != constants.len() as bpf::size_t {
            return Err(io::Error::other(format!(
                "the object has {size} bytes of constants, not {}",
                constants.len()
            )));
        }
        // SAFETY: the value is `size` bytes, which is as long as `constants`.
        unsafe { ptr::copy_nonoverlapping(constants.as_ptr(), value.cast(), constants.len()) };
        Ok(())
    }

    /// The loaded program.
    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        // SAFETY: the program is loaded, and its descriptor open as long as the object is.
        unsafe { BorrowedFd::borrow_raw(bpf::bpf_program__fd(self.program.as_ptr())) }
    }

    /// One of the object's maps.
    pub(crate) fn map(&self, name: &str) -> io::Result<BorrowedFd<'_>> {
        let name = CString::new(name)?;
        // SAFETY: the object is open, and the name outlives the call.
        let map =
            unsafe { bpf::bpf_object__find_map_fd_by_name(self.object.as_ptr(), name.as_ptr()) };
        // SAFETY: the descriptor is open as long as the object is.
        Ok(unsafe { BorrowedFd::borrow_raw(check(map)?) })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: opened in `load`, and nobody else closes it.
        unsafe { bpf::bpf_object__close(self.object.as_ptr()) };
    }
}

/// Puts a program into a program array.
pub(crate) fn fill(array: BorrowedFd<'_>, index: u32, member: BorrowedFd<'_>) -> io::Result<()> {
    let member = member.as_raw_fd();
    // SAFETY: key and value are the four bytes each that a program array takes.
    check(unsafe {
        bpf::bpf_map_update_elem(
            array.as_raw_fd(),
            (&raw const index).cast(),
            (&raw const member).cast(),
            u64::from(bpf::BPF_ANY),
        )
    })
    .map(drop)
}

/// What a test run gave.
pub(crate) struct Run {
    /// The last packet's verdict.
    pub(crate) verdict: u32,
    /// The mean of all packets; whole nanoseconds.
    pub(crate) nanoseconds: u32,
}

/// Runs a program on so many packets, one after the other (`BPF_PROG_TEST_RUN`).
pub(crate) fn run(program: BorrowedFd<'_>, packets: i32) -> io::Result<Run> {
    let packet = [0_u8; 64];
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as bpf::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).expect("it is 64"),
        repeat: packets,
        ..Default::default()
    };
    // SAFETY: the packet outlives the call, and is as long as said.
    check(unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) })?;
    Ok(Run {
        verdict: options.retval,
        nanoseconds: options.duration,
    })
}

fn owned(result: i32) -> io::Result<OwnedFd> {
    let descriptor = check(result)?;
    // SAFETY: the call just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// libbpf says an error by a negative result and `errno`.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result >= 0 {
        Ok(result)
    } else {
        Err(io::Error::last_os_error())
    }
}
