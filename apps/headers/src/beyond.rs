//! Pointers that advance by constants.

/// The place so many bytes on.
///
/// An addition that the compiler doesn't know as one: from two of them by different constants it would make one by
/// a number that depends on the packet, which the verifier refuses.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn beyond<const BYTES: usize>(mut at: usize) -> usize {
    // SAFETY: this adds to a register.
    unsafe {
        core::arch::asm!(
            "{at} += {bytes}",
            at = inout(reg) at,
            bytes = const BYTES,
            options(pure, nomem, nostack),
        );
    }
    at
}

/// The place so many bytes on.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn beyond<const BYTES: usize>(at: usize) -> usize {
    at + BYTES
}

/// The place so many words on, of which there are at most 15, of 4 bytes each.
#[inline(always)]
pub(crate) fn beyond_words(mut at: usize, words: u8) -> usize {
    if words & 1 != 0 {
        at = beyond::<4>(at);
    }
    if words & 2 != 0 {
        at = beyond::<8>(at);
    }
    if words & 4 != 0 {
        at = beyond::<16>(at);
    }
    if words & 8 != 0 {
        at = beyond::<32>(at);
    }
    at
}
