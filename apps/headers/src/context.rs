//! A packet's bytes as a program on the hook copies them.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};

use crate::extensions::{self, Far, Header, Upper};
use crate::{Packet, VLAN_TAG_BYTES};

/// The most bytes that a short packet has.
const SHORT: usize = 127;

/// The kernel's structure: it knows a program's context by this name.
#[allow(non_camel_case_types, reason = "the kernel calls it so")]
#[repr(C)]
pub(crate) struct xdp_md {
    data: u32,
    data_end: u32,
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

    /// The packet.
    ///
    /// Read anew each time: what the verifier found out about one reading's pointers tells ways through a program
    /// apart, which it would follow to the end one by one.
    #[inline(always)]
    pub fn packet(self) -> Packet<Self> {
        // SAFETY: the context is the running program's, as `new` was promised.
        unsafe {
            let xdp_md { data, data_end } = self.0.read_volatile();
            Packet::new(data as usize, data_end as usize, self)
        }
    }

    /// How many bytes the packet has, for a program whose packets have one buffer.
    #[inline(always)]
    pub fn bytes(self) -> u64 {
        self.packet().bytes()
    }

    /// How many bytes the packet has, as a helper says.
    #[inline(always)]
    fn bytes_of_any(self) -> u64 {
        const XDP_GET_BUFF_LEN: usize = 188;
        // SAFETY: a call to this number is a call of the helper, whose argument is the context.
        unsafe {
            let helper: unsafe extern "C" fn(*mut xdp_md) -> u64 = transmute(XDP_GET_BUFF_LEN);
            helper(self.0)
        }
    }
}

impl Packet<Context> {
    /// How many bytes the packet has.
    ///
    /// A verifier that keeps its loader from reading the kernel's memory allows no difference of pointers. Only
    /// a helper tells the length of any packet, and where returns are slow its call takes longer than all else
    /// that a small program does. So the sizes that most packets have are found by comparisons: those of
    /// short packets, and of full ones behind up to two VLAN tags.
    #[inline(always)]
    fn bytes(&self) -> u64 {
        const FULL: usize = 1514;
        const FULL_BEHIND_TAG: usize = FULL + VLAN_TAG_BYTES;
        const FULL_BEHIND_TAGS: usize = FULL_BEHIND_TAG + VLAN_TAG_BYTES;
        if !self.has::<{ SHORT + 1 }>() {
            return self.short_bytes();
        }
        if !self.has::<FULL>() {
            return self.far.bytes_of_any();
        }
        if !self.has::<{ FULL + 1 }>() {
            return FULL as u64;
        }
        if self.has::<FULL_BEHIND_TAG>() && !self.has::<{ FULL_BEHIND_TAG + 1 }>() {
            return FULL_BEHIND_TAG as u64;
        }
        if self.has::<FULL_BEHIND_TAGS>() && !self.has::<{ FULL_BEHIND_TAGS + 1 }>() {
            return FULL_BEHIND_TAGS as u64;
        }
        self.far.bytes_of_any()
    }

    /// Whether the packet has so many bytes.
    #[inline(always)]
    const fn has<const BYTES: usize>(&self) -> bool {
        self.start + BYTES <= self.end
    }

    /// How many bytes the packet has, of at most [`SHORT`].
    #[inline(always)]
    fn short_bytes(&self) -> u64 {
        let mut at = self.start;
        let mut bytes = 0;
        self.step_over::<64>(&mut at, &mut bytes);
        self.step_over::<32>(&mut at, &mut bytes);
        self.step_over::<16>(&mut at, &mut bytes);
        self.step_over::<8>(&mut at, &mut bytes);
        self.step_over::<4>(&mut at, &mut bytes);
        self.step_over::<2>(&mut at, &mut bytes);
        self.step_over::<1>(&mut at, &mut bytes);
        bytes
    }

    /// Counts so many bytes if they are there, with one comparison: the compiler would make two of it.
    #[inline(always)]
    fn step_over<const BYTES: usize>(&self, at: &mut usize, bytes: &mut u64) {
        // SAFETY: this changes registers, and jumps within itself.
        unsafe {
            asm!(
                "{next} = {at}",
                "{next} += {count}",
                "if {next} > {end} goto +2",
                "{at} = {next}",
                "{bytes} += {count}",
                next = out(reg) _,
                at = inout(reg) *at,
                bytes = inout(reg) *bytes,
                end = in(reg) self.end,
                count = const BYTES,
                options(pure, nomem, nostack),
            );
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
    fn upper(&self, protocol: u8, offset: usize) -> Upper {
        Upper::of(upper_of_ipv6(self.0, protocol, offset))
    }

    #[inline(always)]
    fn next(&self, header: Header) -> Header {
        Header::of(next_ipv6_header(self.0, header.word()))
    }
}

// Global functions: the verifier looks at each once, for any numbers, and takes what it returns for any word.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn upper_of_ipv6(context: *mut xdp_md, protocol: u8, offset: usize) -> u64 {
    extensions::upper(&Context(context), protocol, offset).word()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn next_ipv6_header(context: *mut xdp_md, header: u64) -> u64 {
    extensions::next(&Context(context), Header::of(header)).word()
}
