//! A packet's bytes as a program on the hook copies them.

use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};

use crate::{Far, Upper};

/// The kernel's structure: it knows a program's context by this name.
#[allow(non_camel_case_types, reason = "the kernel calls it so")]
#[repr(C)]
pub(crate) struct xdp_md {
    data: u32,
}

/// An XDP program's context.
#[derive(Clone, Copy)]
pub struct Context(*mut xdp_md);

impl Context {
    /// The context.
    ///
    /// # Safety
    /// It must be the `struct xdp_md` that the running program was called with.
    #[inline(always)]
    pub const unsafe fn new(context: *mut c_void) -> Self {
        Self(context.cast())
    }

    /// How many bytes the packet has, in all of its buffers.
    #[inline(always)]
    pub fn packet_bytes(self) -> u64 {
        const XDP_GET_BUFF_LEN: usize = 188;
        // SAFETY: a call to this number is a call of the helper, whose argument is the context.
        unsafe {
            let helper: unsafe extern "C" fn(*mut xdp_md) -> u64 = transmute(XDP_GET_BUFF_LEN);
            helper(self.0)
        }
    }
}

impl Far for Context {
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        const XDP_LOAD_BYTES: usize = 189;
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: a call to this number is a call of the helper, which writes `N` bytes, all of them if
        // it returns 0, and fails for what is not in the packet.
        unsafe {
            let helper: unsafe extern "C" fn(*mut xdp_md, u32, *mut c_void, u32) -> i64 =
                transmute(XDP_LOAD_BYTES);
            if helper(self.0, offset as u32, bytes.as_mut_ptr().cast(), N as u32) != 0 {
                return None;
            }
            Some(bytes.assume_init())
        }
    }

    #[inline(always)]
    fn next_header(&self, upper: Upper) -> Upper {
        Upper::of(next_ipv6_header(self.0, upper.word()))
    }
}

/// A global function: the verifier looks at it once, for any word, and takes what it returns for any word. So
/// it doesn't go on with each kind of header by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn next_ipv6_header(context: *mut xdp_md, upper: u64) -> u64 {
    crate::next_header(&Context(context), Upper::of(upper)).word()
}
