//! The root's verdicts and counts, on the real kernel, against an oracle.
//!
//! Members are two-instruction programs that return a chosen value, so every combination of value
//! and masks can be tried. Needs root; says so and passes without.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::{collections::BTreeMap, ptr};

mod root;

use aya::maps::{Map, MapData};
use aya::{Ebpf, EbpfLoader};
use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTS, JUMP_MAP, MISSED, ROOT_PROGRAM, RootConfig, SLOTS, SlotConfig, Verdict,
    VerdictMask,
};
use libbpf_sys as bpf;
use tests::{some_of, volume};

use root::{
    ABORTED, Counts, DROP, NO_OPINION, Random, VALUES, chain, oracle, root_program, run_once,
};

const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_OBJECT"));

/// Every pair of masks, 32 to a chain: two neighbours at a time say each pair of values, the other
/// slots have no opinion, so each slot is also seen alone.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn slots_obey_every_mask_for_every_pair_of_values() {
    let mut members = Members::new();
    for (chain_index, slots) in (0..).zip(some_of(chains_of_every_pair_of_masks())) {
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
    let mut members = Members::new();
    let mut random = Random(2);
    for _ in 0..volume(80) {
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
    let mut members = Members::new();
    let mut random = Random(3);
    for _ in 0..volume(80) {
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
    let mut members = Members::new();
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
    let mut members = Members::new();
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
    // Older kernels keep the functions of slots that nothing calls.
    let uncalled = u32::try_from(SLOTS * 6 * 8).expect("it is small");
    let empty = bytes(SlotConfig::PLAIN, 0, 0);
    assert!(
        empty <= 112 || (uncalled..=uncalled + 112).contains(&empty),
        "an empty chain is a few instructions, not {empty} bytes"
    );
    assert!(
        bytes(SlotConfig::PLAIN, 10, 0) < bytes(SlotConfig::PLAIN, 10, 1),
        "counting is code that is not there when off"
    );
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
    expected: Counts<SLOTS>,
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
        root_program(&mut object, ROOT_PROGRAM)
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
        let verdict = run_once(root_program(&mut self.object, ROOT_PROGRAM));
        let expected = oracle(&self.config, values, &mut self.expected);
        assert_eq!(verdict, expected, "{values:x?} in {:?}", self.used());
        verdict
    }

    /// Compares every slot's counts, summed over the CPUs, with the oracle's.
    fn check_counts(&mut self) {
        if self.config.counters == 0 {
            self.expected = [[0; COUNTS]; SLOTS];
        }
        let counts = root::counts::<SLOTS>(&self.object);
        assert_eq!(counts, self.expected, "counts in {:?}", self.used());
    }

    fn translated_bytes(&mut self) -> u32 {
        let info = root_program(&mut self.object, ROOT_PROGRAM)
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

/// Programs that return a value, one for each value asked for, and what loads roots.
struct Members {
    programs: BTreeMap<u32, OwnedFd>,
    loader: EbpfLoader<'static>,
}

impl Members {
    fn new() -> Self {
        Self {
            programs: BTreeMap::new(),
            loader: EbpfLoader::new(),
        }
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
