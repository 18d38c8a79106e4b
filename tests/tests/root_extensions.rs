//! The roots whose slots' functions are replaced, on kernels that take freplace: the verdicts and
//! counts that the oracle says, with 16, 64 and 128 slots.
//!
//! A host's kernel may refuse freplace: `cargo xtask test` runs this under kernels that don't.

use std::collections::BTreeMap;
use std::fs;

use aya::programs::extension::ExtensionLink;
use aya::programs::{Extension, ProgramError};
use aya::{Ebpf, EbpfLoader};
use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTS, EXT_ROOT_PROGRAM, MISSED, ROOT_PROGRAM, RootConfig, SLOTS, SlotConfig,
    VerdictMask,
};
use tests::object;

mod root;

use root::{DROP, NO_OPINION, PASS, Random, VALUES, chain, oracle, root_program, run_once};

const DISPATCHER: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_OBJECT"));
const EXT_16: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_EXT_16_OBJECT"));
const EXT_64: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_EXT_64_OBJECT"));
const EXT_128: &[u8] = aya::include_bytes_aligned!(env!("DISPATCHER_EXT_128_OBJECT"));

mod needs_freplace {
    use super::*;

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn replaced_slots_agree_with_the_oracle() {
        let mut members = Members::new();
        random_chains::<16>(&mut members, EXT_16, EXT_ROOT_PROGRAM, 24);
        random_chains::<64>(&mut members, EXT_64, EXT_ROOT_PROGRAM, 6);
        random_chains::<128>(&mut members, EXT_128, EXT_ROOT_PROGRAM, 4);
        // The root that can tail-call: here its array is empty, and its functions are replaced.
        random_chains::<SLOTS>(&mut members, DISPATCHER, ROOT_PROGRAM, 8);
    }

    /// A full root is the most that the verifier has to look at, most of all if every slot's masks
    /// matter.
    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_full_root_runs_its_last_slot() {
        let mut members = Members::new();
        full_roots::<16>(&mut members, EXT_16);
        full_roots::<64>(&mut members, EXT_64);
        full_roots::<128>(&mut members, EXT_128);
    }

    /// Newer kernels refuse it where the function that it replaces changes nothing.
    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn an_extension_that_may_change_packets_fits_a_slot() {
        let mut members = Members::new();
        // A root is such a program itself: its slots may change packets.
        let slot = SlotConfig {
            on_miss_continue: 1,
            ..SlotConfig::PLAIN
        };
        let config: Vec<u8> = chain::<16>(&[slot]).bytes().collect();
        let mut changing = EbpfLoader::new()
            .override_global(CONFIG_SYMBOL, config.as_slice(), true)
            .extension(EXT_ROOT_PROGRAM)
            .load(EXT_16)
            .expect("the object loads");
        let program = changing.program_mut(EXT_ROOT_PROGRAM);
        let changing: &mut Extension = program
            .expect("the object has the root")
            .try_into()
            .expect("it was loaded as an extension");
        let template = root_program(&mut members.template, EXT_ROOT_PROGRAM);
        let fd = template.fd().expect("it is loaded").try_clone();
        changing
            .load(fd.expect("a descriptor"), "slot_0")
            .expect("a slot's function may change packets");
        changing.attach().expect("it was loaded for this slot");
        assert_eq!(run_once(template), PASS);
    }
}

fn random_chains<const N: usize>(
    members: &mut Members,
    object: &[u8],
    program: &'static str,
    chains: usize,
) {
    let mut random = Random(4);
    for _ in 0..chains {
        let slots: Vec<_> = (0..random.below(N + 1)).map(|_| random.slot()).collect();
        let config = random.settings(chain::<N>(&slots));
        let values: Vec<_> = slots.iter().map(|slot| random.value(*slot)).collect();
        members.check(object, program, &config, &values);
    }
}

fn full_roots<const N: usize>(members: &mut Members, object: &[u8]) {
    let pass_ends = SlotConfig {
        chain_call: VerdictMask::NONE.bits(),
        ..SlotConfig::PLAIN
    };
    for counters in [0, 1] {
        for (slot, value, final_verdict) in [
            (SlotConfig::PLAIN, PASS, 0),
            (SlotConfig::PLAIN, PASS, 1),
            (pass_ends, NO_OPINION, 0),
        ] {
            let mut config = chain::<N>(&[slot; N]);
            (config.counters, config.final_verdict) = (counters, final_verdict);
            let mut values = [Some(value); N];
            values[N - 1] = Some(DROP);
            let verdict = members.check(object, EXT_ROOT_PROGRAM, &config, &values);
            assert_eq!(verdict, DROP, "the last of {N} slots");
        }
    }
}

/// Extensions that return a value, one for each. They are loaded for the first slot of one root,
/// and run in every slot of every other.
struct Members {
    extensions: BTreeMap<u32, Ebpf>,
    template: Ebpf,
    code: Vec<u8>,
}

impl Members {
    fn new() -> Self {
        let mut members = Self {
            extensions: BTreeMap::new(),
            template: load_root(EXT_16, EXT_ROOT_PROGRAM, &chain::<16>(&[SlotConfig::PLAIN])),
            code: fs::read(object("verdict")).expect("the object is compiled"),
        };
        for value in VALUES {
            members.add(value).expect("this kernel takes freplace");
        }
        members
    }

    fn add(&mut self, value: u32) -> Result<(), ProgramError> {
        let mut loaded = EbpfLoader::new()
            .override_global("verdict", &value, true)
            .extension(PROGRAM)
            .load(&self.code)
            .expect("the object is in order");
        let template = root_program(&mut self.template, EXT_ROOT_PROGRAM);
        let template = template.fd()?.try_clone().expect("a descriptor");
        extension(&mut loaded).load(template, "slot_0")?;
        self.extensions.insert(value, loaded);
        Ok(())
    }

    /// Loads a root, fills its slots, runs one packet, and compares verdict and counts with the
    /// oracle's. A slot without a value stays vacant.
    fn check<const N: usize>(
        &mut self,
        object: &[u8],
        program: &'static str,
        config: &RootConfig<N>,
        values: &[Option<u32>],
    ) -> u32 {
        let mut loaded = load_root(object, program, config);
        let root = root_program(&mut loaded, program);
        let mut links: Vec<ExtensionLink> = Vec::new();
        for (slot, value) in values.iter().enumerate() {
            // A vacant slot and a member that returns this value are the same to the root.
            let Some(value) = value.filter(|value| *value != MISSED) else {
                continue;
            };
            let loaded = self
                .extensions
                .get_mut(&value)
                .expect("every value is loaded");
            let extension = extension(loaded);
            let link = extension
                .attach_to_program(root.fd().expect("it is loaded"), &format!("slot_{slot}"))
                .expect("an extension fits every slot of every root");
            links.push(extension.take_link(link).expect("it was just made"));
        }
        let verdict = run_once(root);
        let mut expected = [[0; COUNTS]; N];
        assert_eq!(
            verdict,
            oracle(config, values, &mut expected),
            "{values:x?}"
        );
        if config.counters == 0 {
            expected = [[0; COUNTS]; N];
        }
        assert_eq!(root::counts(&loaded), expected, "{values:x?} in {config:?}");
        verdict
    }
}

const PROGRAM: &str = "verdict_prog";

fn extension(object: &mut Ebpf) -> &mut Extension {
    let program = object.program_mut(PROGRAM).expect("the object has it");
    program.try_into().expect("it was loaded as an extension")
}

fn load_root<const N: usize>(object: &[u8], program: &str, config: &RootConfig<N>) -> Ebpf {
    let bytes: Vec<u8> = config.bytes().collect();
    let mut loaded = EbpfLoader::new()
        .override_global(CONFIG_SYMBOL, bytes.as_slice(), true)
        .load(object)
        .expect("the object loads");
    root_program(&mut loaded, program)
        .load()
        .expect("the root passes the verifier");
    loaded
}
