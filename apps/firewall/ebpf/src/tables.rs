//! The maps.

use core::arch::asm;

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use firewall_abi::{
    Asked, Bucket, Config, Entry, HITS_PER_ELEMENT, HitsElement, Key, LENGTHS4_LINES,
    LENGTHS6_SLOTS, Lengths4, Lengths6, Outcome, Question, Room, StoredKey, Tables,
};

/// User space reads and writes these as memory.
const MMAPABLE: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;

const ROOM: Room = Room::OBJECT;

#[btf_map]
static CONFIG: Array<Config, 1, MMAPABLE> = Array::new();

#[btf_map]
static BUCKETS: Array<Bucket, { 2 * ROOM.half() as usize }, MMAPABLE> = Array::new();

#[btf_map]
static KEYS: Array<StoredKey, { ROOM.entries as usize }, MMAPABLE> = Array::new();

#[btf_map]
static LENGTHS4: Array<Lengths4, { 2 * LENGTHS4_LINES as usize }, MMAPABLE> = Array::new();

#[btf_map]
static LENGTHS6: Array<Lengths6, { 2 * LENGTHS6_SLOTS as usize }, MMAPABLE> = Array::new();

#[btf_map]
static HITS: PerCpuArray<HitsElement, { ROOM.hits() as usize }> = PerCpuArray::new();

#[btf_map]
static OUTCOMES: PerCpuArray<u64, { Outcome::ALL.len() }> = PerCpuArray::new();

/// All maps that rules are in.
struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        BUCKETS.get(index)
    }

    #[inline(always)]
    fn key(&self, id: u32) -> Option<&StoredKey> {
        KEYS.get(id)
    }

    #[inline(always)]
    fn lengths4(&self, index: u32) -> Option<&Lengths4> {
        LENGTHS4.get(index)
    }

    #[inline(always)]
    fn lengths6(&self, index: u32) -> Option<&Lengths6> {
        LENGTHS6.get(index)
    }

    #[inline(always)]
    fn find(&self, bucket: u32, tag: u64, key: Key) -> Entry {
        Entry::of(find(bucket, tag, key.high, key.low, key.rest))
    }

    #[inline(always)]
    fn ask4(&self, address: u32, question: Question, asked: Asked) -> Entry {
        Entry::of(ask4(address, question.word(), asked.word()))
    }

    #[inline(always)]
    fn ask6(&self, high: u64, low: u64, question: Question, asked: Asked) -> Entry {
        Entry::of(ask6(high, low, question.word(), asked.word()))
    }
}

// The verifier looks at each of these once, for all their callers: they are global functions with
// scalar arguments. Unmangled, since a mangled name has a hash of the checkout's folder in it.

/// The [`Entry`]'s word for an IPv4 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge4(address: u32, asked: u32) -> u64 {
    counted(
        firewall_abi::judge4(&Maps, address, Asked::of(asked)),
        asked,
    )
}

/// The [`Entry`]'s word for an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge6(high: u64, low: u64, asked: u32) -> u64 {
    counted(
        firewall_abi::judge6(&Maps, high, low, Asked::of(asked)),
        asked,
    )
}

/// The [`Entry`]'s word for a packet whose source can't be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_unreadable(asked: u32) -> u64 {
    counted(firewall_abi::judge_unreadable(&Maps), asked)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find(bucket: u32, tag: u64, high: u64, low: u64, rest: u64) -> u64 {
    firewall_abi::find(&Maps, bucket, tag, Key { high, low, rest }).word()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ask4(address: u32, question: u32, asked: u32) -> u64 {
    firewall_abi::ask4(&Maps, address, Question::of(question), Asked::of(asked)).word()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn ask6(high: u64, low: u64, question: u32, asked: u32) -> u64 {
    firewall_abi::ask6(&Maps, high, low, Question::of(question), Asked::of(asked)).word()
}

/// The word of an entry that decided a packet, counted.
///
/// This is not for the program itself: behind an index that is only known when it runs, a verifier that keeps its
/// loader from reading the kernel's memory takes no two numbers for alike, and follows every way through the headers to
/// the program's end.
#[inline(always)]
fn counted(entry: Entry, asked: u32) -> u64 {
    let id = any(entry.id(), asked);
    if let Some(hits) = HITS.get_ptr_mut(id / HITS_PER_ELEMENT) {
        // SAFETY: within the element, whose length is a power of two, and which only this CPU
        // writes.
        unsafe { *hits.cast::<u64>().add((id % HITS_PER_ELEMENT) as usize) += 1 };
    }
    entry.word()
}

/// The number, which the verifier then takes for any: a pointer may not have a constant added on one path and
/// something else on another. The other one is of those that the verifier doesn't know.
#[inline(always)]
fn any(mut number: u32, unknown: u32) -> u32 {
    // SAFETY: this changes a register, and changes it back.
    unsafe {
        asm!(
            "{number} ^= {unknown}",
            "{number} ^= {unknown}",
            number = inout(reg) number,
            unknown = in(reg) unknown,
            options(pure, nomem, nostack),
        );
    }
    number
}

/// Counts what became of a packet.
#[inline(always)]
pub(crate) fn count(outcome: Outcome) {
    if let Some(packets) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: an element of the map, which only this CPU writes.
        unsafe { *packets += 1 };
    }
}
