//! A word of a map that user space changes while packets are judged.

use core::sync::atomic::AtomicU64;
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::Ordering::{Acquire, Release};

/// 64 bits that are read and written whole.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// What it is now.
    #[inline(always)]
    #[cfg(not(target_arch = "bpf"))]
    pub fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// What it is now. LLVM has no atomic loads for this target; the kernel loads a word whole, and
    /// what is found through a word is loaded after it.
    #[inline(always)]
    #[cfg(target_arch = "bpf")]
    #[expect(unsafe_code, reason = "LLVM has no atomic loads for this target")]
    pub fn get(&self) -> u64 {
        // SAFETY: the pointer is a reference's. Others write it whole, as this reads it.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Exchanges it. What was written before is seen by whoever sees this.
    #[cfg(not(target_arch = "bpf"))]
    pub fn set(&self, word: u64) {
        self.0.store(word, Release);
    }

    /// Adds bits.
    #[cfg(not(target_arch = "bpf"))]
    pub fn add(&self, bits: u64) {
        self.0.fetch_or(bits, Release);
    }
}
