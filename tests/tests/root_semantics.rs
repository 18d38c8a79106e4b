//! The root's verdicts and counts, on the real kernel, against an oracle.
//!
//! Members are two-instruction programs that return a chosen value, so every combination of value
//! and masks can be tried. Needs root; says so and passes without.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::{collections::BTreeMap, ptr};

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTERS_MAP, COUNTS, Count, Counters, JUMP_MAP, MISSED, ROOT_PROGRAM,
    RootConfig, SLOTS, SlotConfig, Verdict, VerdictMask,
};
use libbpf_sys as bpf;

const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_OBJECT"));

const ABORTED: u32 = 0;
const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;
const NO_OPINION: u32 = 31;

/// Each verdict, the values around their edges, and some that no driver knows.
const VALUES: [u32; 14] = [
    ABORTED,
    DROP,
    PASS,
    3,
    REDIRECT,
    5,
    30,
    NO_OPINION,
    32,
    200,
    255,
    1 << 31,
    u32::MAX,
    MISSED,
];

/// What design and documentation say of a chain, as plainly as possible: a value is `None` where
/// the slot's entry is empty.
fn oracle(config: &RootConfig<SLOTS>, values: &[Option<u32>], counts: &mut Counts) -> u32 {
    let mut last = PASS;
    for (slot, value) in values.iter().enumerate() {
        let SlotConfig {
            chain_call,
            allowed,
            on_miss_continue,
            ..
        } = config.slots[slot];
        let mut count = |count: Count| counts[slot][count as usize] += 1;
        let Some(value) = value.filter(|value| *value != MISSED) else {
            count(Count::Missed);
            if on_miss_continue == 1 {
                continue;
            }
            return ABORTED;
        };
        if value == NO_OPINION {
            count(Count::Continue);
            continue;
        }
        let bit = if value <= REDIRECT { value } else { 6 };
        if allowed >> bit & 1 == 0 {
            count(Count::Overruled);
            continue;
        }
        count(Count::ALL[bit as usize]);
        last = value;
        if value > REDIRECT || chain_call >> bit & 1 == 0 {
            return value;
        }
    }
    if config.final_verdict == 1 {
        last
    } else {
        PASS
    }
}

type Counts = [[u64; COUNTS]; SLOTS];

/// Every pair of masks, 32 to a chain: two neighbours at a time say each pair of values, the other
/// slots have no opinion, so each slot is also seen alone.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn slots_obey_every_mask_for_every_pair_of_values() {
    let Some(mut members) = Members::new() else {
        return;
    };
    for (chain_index, slots) in (0..).zip(chains_of_every_pair_of_masks()) {
        let mut config = chain(&slots);
        config.final_verdict = chain_index & 1;
        let mut root = Root::load(&mut members, &config);
        for slot in (0..SLOTS).step_by(2) {
            for (first, second) in VALUES.iter().flat_map(|a| VALUES.map(|b| (*a, b))) {
                let mut values = [Some(NO_OPINION); SLOTS];
                (values[slot], values[slot + 1]) = (Some(first), Some(second));
                root.check(&mut members, &values);
            }
        }
        root.check_counts();
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn random_chains_agree_with_the_oracle() {
    let Some(mut members) = Members::new() else {
        return;
    };
    let mut random = Random(2);
    for _ in 0..80 {
        let slots: Vec<_> = (0..random.below(SLOTS + 1))
            .map(|_| random.slot())
            .collect();
        let config = random.settings(chain(&slots));
        let mut root = Root::load(&mut members, &config);
        // Long chains need members that mostly chain on, or the last slots never run.
        let values: Vec<_> = slots.iter().map(|slot| random.value(*slot)).collect();
        root.check(&mut members, &values);
        root.check_counts();
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn random_plain_chains_agree_with_the_oracle() {
    let Some(mut members) = Members::new() else {
        return;
    };
    let mut random = Random(3);
    for _ in 0..80 {
        let slots = vec![SlotConfig::PLAIN; random.below(SLOTS + 1)];
        let config = random.settings(chain(&slots));
        let mut root = Root::load(&mut members, &config);
        let values: Vec<_> = slots.iter().map(|slot| random.value(*slot)).collect();
        root.check(&mut members, &values);
        root.check_counts();
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_missed_slot_aborts_or_continues_as_configured() {
    let Some(mut members) = Members::new() else {
        return;
    };
    for on_miss_continue in [0, 1] {
        for missed in [None, Some(MISSED)] {
            let slot = SlotConfig {
                on_miss_continue,
                ..SlotConfig::PLAIN
            };
            let mut root = Root::load(&mut members, &chain(&[slot, SlotConfig::PLAIN]));
            let verdict = root.check(&mut members, &[missed, Some(DROP)]);
            assert_eq!(verdict, if on_miss_continue == 1 { DROP } else { ABORTED });
            root.check_counts();
        }
    }
}

/// The verifier removes what a configuration rules out: the loaded program shows what is paid for.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_slot_or_feature_that_is_not_used_costs_nothing() {
    let Some(mut members) = Members::new() else {
        return;
    };
    let chains_on_drop = SlotConfig {
        chain_call: VerdictMask::of(&[Verdict::Pass, Verdict::Drop]).bits(),
        ..SlotConfig::PLAIN
    };
    let mut bytes = |slot: SlotConfig, slots: usize, counters: u8| {
        let mut config = chain(&vec![slot; slots]);
        config.counters = counters;
        Root::load(&mut members, &config).translated_bytes()
    };
    for counters in [0, 1] {
        let sizes = [0, 1, 2, 10, 32].map(|slots| bytes(SlotConfig::PLAIN, slots, counters));
        println!("counters {counters}: {sizes:?} bytes");
        // One instruction: the compiler lays some slots out with a jump more.
        let per_slot = sizes[2] - sizes[1] + 8;
        assert!(sizes[3] <= sizes[1] + 9 * per_slot);
        assert!(sizes[4] <= sizes[1] + 31 * per_slot);
        let [two, ten] = [2, 10].map(|slots| bytes(chains_on_drop, slots, counters));
        assert_eq!(
            ten - two,
            sizes[3] - sizes[2],
            "masks are not looked at while members say PASS"
        );
    }
    assert!(
        bytes(SlotConfig::PLAIN, 0, 0) <= 112,
        "an empty chain is a few instructions"
    );
    assert!(
        bytes(SlotConfig::PLAIN, 10, 0) < bytes(SlotConfig::PLAIN, 10, 1),
        "counting is code that is not there when off"
    );
}

/// A chain of these slots, with counters and final verdict PASS.
fn chain(slots: &[SlotConfig]) -> RootConfig<SLOTS> {
    let mut config = RootConfig::EMPTY;
    config.slot_count = u32::try_from(slots.len()).expect("at most SLOTS");
    config.counters = 1;
    config.slots[..slots.len()].copy_from_slice(slots);
    config
}

/// All chain-call and allowed masks, in full chains; the bit of "no opinion" must not matter, so
/// it is set or clear as it falls.
fn chains_of_every_pair_of_masks() -> impl Iterator<Item = Vec<SlotConfig>> {
    let with_bit_5 = |bits: usize, bit_5: usize| {
        let bits = bits & 0x1f | (bits & 0x20) << 1 | (bit_5 & 1) << 5;
        u8::try_from(bits).expect("seven bits")
    };
    let slot = move |pair: usize| {
        let (chain_call, allowed) = (pair / 64, pair % 64);
        SlotConfig {
            chain_call: with_bit_5(chain_call, allowed),
            allowed: with_bit_5(allowed, chain_call),
            ..SlotConfig::PLAIN
        }
    };
    (0..64 * 64)
        .step_by(SLOTS)
        .map(move |first| (first..first + SLOTS).map(slot).collect())
}

/// A loaded root and what the oracle expects of it.
struct Root {
    object: Ebpf,
    config: RootConfig<SLOTS>,
    filled: [Option<u32>; SLOTS],
    expected: Counts,
}

impl Root {
    fn load(members: &mut Members, config: &RootConfig<SLOTS>) -> Self {
        // The loader is kept, and with it what it borrows: a new one reads the kernel's own BTF.
        let bytes: &[u8] = config.bytes().collect::<Vec<_>>().leak();
        let mut object = members
            .loader
            .override_global(CONFIG_SYMBOL, bytes, true)
            .load(OBJECT)
            .expect("the object loads");
        root_program(&mut object)
            .load()
            .expect("the root passes the verifier");
        Self {
            object,
            config: *config,
            filled: [None; SLOTS],
            expected: [[0; COUNTS]; SLOTS],
        }
    }

    /// Fills the slots, runs one packet, and compares the verdict with the oracle's.
    fn check(&mut self, members: &mut Members, values: &[Option<u32>]) -> u32 {
        let jump = map_data(self.object.map(JUMP_MAP));
        for (slot, (value, filled)) in (0..).zip(values.iter().zip(&mut self.filled)) {
            if let Some(program) = value.filter(|_| value != filled) {
                update_program_array(jump, slot, members.returning(program));
                *filled = *value;
            }
        }
        let verdict = run_once(root_program(&mut self.object));
        let expected = oracle(&self.config, values, &mut self.expected);
        assert_eq!(verdict, expected, "{values:x?} in {:?}", self.used());
        verdict
    }

    /// Compares every slot's counts, summed over the CPUs, with the oracle's.
    fn check_counts(&mut self) {
        if self.config.counters == 0 {
            self.expected = [[0; COUNTS]; SLOTS];
        }
        let map = self.object.map(COUNTERS_MAP).expect("the map exists");
        let counters: PerCpuArray<_, CounterBytes> = map.try_into().expect("a per-CPU array");
        let mut counts = [[0; COUNTS]; SLOTS];
        for cpu in counters.get(&0, 0).expect("element 0 exists").iter() {
            for (sum, slot) in counts.iter_mut().zip(&cpu.0.slots) {
                for (sum, count) in sum.iter_mut().zip(slot.counts) {
                    *sum += count;
                }
            }
        }
        assert_eq!(counts, self.expected, "counts in {:?}", self.used());
    }

    fn translated_bytes(&mut self) -> u32 {
        let info = root_program(&mut self.object)
            .info()
            .expect("a loaded program has info");
        info.size_translated()
            .expect("a privileged reader sees the size")
    }

    fn used(&self) -> (&[SlotConfig], u8, u8) {
        let config = &self.config;
        let slots = &config.slots[..config.slot_count as usize];
        (slots, config.counters, config.final_verdict)
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct CounterBytes(Counters<SLOTS>);
// SAFETY: integers without padding between them.
unsafe impl Pod for CounterBytes {}

fn root_program(object: &mut Ebpf) -> &mut Xdp {
    let program = object
        .program_mut(ROOT_PROGRAM)
        .expect("the object has the root");
    program.try_into().expect("the root is an XDP program")
}

fn map_data(map: Option<&Map>) -> &MapData {
    match map {
        Some(Map::ProgramArray(data)) => data,
        other => panic!("{JUMP_MAP} is {other:?}"),
    }
}

fn update_program_array(array: &MapData, index: u32, program: BorrowedFd<'_>) {
    let program = program.as_raw_fd();
    // SAFETY: key and value are the four bytes each that a program array takes.
    let result = unsafe {
        bpf::bpf_map_update_elem(
            array.fd().as_fd().as_raw_fd(),
            ptr::from_ref(&index).cast(),
            ptr::from_ref(&program).cast(),
            0,
        )
    };
    assert_eq!(result, 0, "the member does not go into the array");
}

fn run_once(program: &Xdp) -> u32 {
    let packet = [0_u8; 64];
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as u64,
        data_in: packet.as_ptr().cast(),
        data_size_in: 64,
        repeat: 1,
        ..Default::default()
    };
    let program = program
        .fd()
        .expect("the root is loaded")
        .as_fd()
        .as_raw_fd();
    // SAFETY: `options` and `packet` live until the call returns.
    let result = unsafe { bpf::bpf_prog_test_run_opts(program, &raw mut options) };
    assert_eq!(result, 0, "the test run failed");
    options.retval
}

/// Programs that return a value, one for each value asked for, and what loads roots.
struct Members {
    programs: BTreeMap<u32, OwnedFd>,
    loader: EbpfLoader<'static>,
}

impl Members {
    /// Nothing, and a note, without the rights to load programs.
    fn new() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Some(Self {
                programs: BTreeMap::new(),
                loader: EbpfLoader::new(),
            });
        }
        assert!(std::env::var_os("REQUIRE_KERNEL").is_none(), "needs root");
        eprintln!("skipped: needs root");
        None
    }

    fn returning(&mut self, value: u32) -> BorrowedFd<'_> {
        let member = self
            .programs
            .entry(value)
            .or_insert_with(|| load_member(value));
        AsFd::as_fd(member)
    }
}

fn load_member(value: u32) -> OwnedFd {
    let instruction = |code: u32, imm: i32| bpf::bpf_insn {
        code: u8::try_from(code).expect("an opcode is a byte"),
        imm,
        ..Default::default()
    };
    let program = [
        instruction(
            bpf::BPF_ALU64 | bpf::BPF_MOV | bpf::BPF_K,
            value.cast_signed(),
        ),
        instruction(bpf::BPF_JMP | bpf::BPF_EXIT, 0),
    ];
    let mut options = bpf::bpf_prog_load_opts {
        sz: size_of::<bpf::bpf_prog_load_opts>() as u64,
        // The array takes members with the root's attach type, and aya loads the root with this.
        expected_attach_type: bpf::BPF_XDP,
        ..Default::default()
    };
    // SAFETY: the program and the options live until the call returns.
    let fd = unsafe {
        bpf::bpf_prog_load(
            bpf::BPF_PROG_TYPE_XDP,
            c"member".as_ptr(),
            c"GPL".as_ptr(),
            program.as_ptr(),
            program.len() as u64,
            &raw mut options,
        )
    };
    assert!(fd >= 0, "a program of two instructions loads: {fd}");
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Xorshift: the same chains every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).expect("32 bits") % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A slot that chains on and allows more often than not.
    fn slot(&mut self) -> SlotConfig {
        SlotConfig {
            chain_call: self.byte() | self.byte(),
            allowed: self.byte() | self.byte(),
            on_miss_continue: self.byte() & 1,
            next_stop: 0,
        }
    }

    fn settings(&mut self, mut config: RootConfig<SLOTS>) -> RootConfig<SLOTS> {
        config.counters = self.byte() & 1;
        config.final_verdict = self.byte() & 1;
        config
    }

    /// Mostly a value after which the next slot runs, sometimes any, sometimes an empty slot.
    fn value(&mut self, slot: SlotConfig) -> Option<u32> {
        match self.below(16) {
            0 => VALUES.get(self.below(VALUES.len() + 1)).copied(),
            1 if slot.on_miss_continue == 1 => None,
            2..=4 => Some(NO_OPINION),
            _ => (0..=REDIRECT)
                .rev()
                .filter(|value| slot.chain_call >> value & 1 == 1)
                .nth(self.below(3))
                .or(Some(NO_OPINION)),
        }
    }
}
