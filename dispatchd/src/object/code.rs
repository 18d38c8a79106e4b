//! One program of an object, from its bytes in the file to the instructions that are loaded.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd, RawFd};
use std::sync::LazyLock;

use aya_obj::btf::Btf;
use aya_obj::generated::bpf_insn;
use planner::Call;
use protocol::with_causes;

use super::error::{ObjectError, Unsupported};
use super::log::Advice;
use super::maps::{Definitions, Made};
use super::reach::{FunctionKey, reach};
use super::sys::{self, LoadFailure, Target, Text, TextTypes};
use super::{Object, ProgramSymbol, helpers, image};
use crate::bpf;

/// The kernel's own types. Reading them takes ten times as long as an ordinary load, so the loader's
/// parent does it once for all its children.
static KERNEL_TYPES: LazyLock<Result<Btf, String>> =
    LazyLock::new(|| Btf::from_sys_fs().map_err(|error| with_causes(&error)));

/// Finds out once what every load has to know of the kernel: its types, and what aya and libbpf learn
/// of it by trying, which takes more rights than a load has.
pub(crate) fn learn_the_kernel() {
    LazyLock::force(&KERNEL_TYPES);
    let _ = aya::features();
    // libbpf looks at how memory is accounted for before the first load.
    let _ = bpf::xdp_constant(0, 0);
}

/// Largest verifier log, in bytes: what every kernel allows. A longer log keeps its end, where
/// the reason stands (Linux 6.4 and later; before, its start).
const LOG_BYTES_MAX: usize = (u32::MAX >> 8) as usize;

/// The first log buffer, in bytes. Most logs are under 64 KiB.
const LOG_BYTES_FIRST: usize = 1 << 20;

/// A program with all it reaches, not yet linked.
pub(super) struct Code {
    name: String,
    entry: FunctionKey,
    license: CString,
    parsed: aya_obj::Object,
    /// The object's types, made fit for this kernel.
    types: Option<Vec<u8>>,
}

impl Code {
    pub(super) fn parse(object: &Object, program: &ProgramSymbol) -> Result<Self, ObjectError> {
        let unsupported = |part| ObjectError::Unsupported {
            program: program.name.clone(),
            part,
        };
        let entry = program.function;
        let (elf, bytes) = (&object.elf, &object.bytes);
        let reach = reach(elf, bytes, entry).map_err(unsupported)?;
        let image = image::one_program(elf, bytes, &reach, entry)?;
        let mut parsed = aya_obj::Object::parse(&image)
            .map_err(|error| unsupported(Unsupported::Parse(with_causes(&error))))?;
        let map_symbols: BTreeSet<_> = parsed
            .maps
            .values()
            .filter_map(aya_obj::Map::symbol_index)
            .collect();
        if let Some(symbol) = reach.map_symbols.difference(&map_symbols).next() {
            let symbol = &elf.symbols[*symbol];
            return Err(unsupported(Unsupported::UnnamedMap {
                symbol: symbol.name.clone(),
            }));
        }
        let types = fit_types(&mut parsed);
        if parsed.has_btf_relocations() {
            let kernel = KERNEL_TYPES
                .as_ref()
                .map_err(|error| unsupported(Unsupported::KernelTypes(error.clone())))?;
            parsed
                .relocate_btf(kernel)
                .map_err(|error| unsupported(Unsupported::CoRe(with_causes(&error))))?;
        }
        parsed
            .functions
            .retain(|key, _| reach.functions.contains(key));
        parsed
            .programs
            .retain(|_, program| program.function_key() == entry);
        Ok(Self {
            name: program.name.clone(),
            entry,
            license: object.license(),
            parsed,
            types,
        })
    }

    /// The object's maps.
    pub(super) fn maps(&self) -> Definitions {
        let maps = self.parsed.maps.iter();
        maps.map(|(name, map)| (name.clone(), map.clone()))
            .collect()
    }

    /// Has the kernel take the object's types. Programs load without, if need be.
    pub(super) fn load_types(&self) -> Option<OwnedFd> {
        let types = self.types.as_ref()?;
        sys::load_types(types)
            .inspect_err(|error| tracing::debug!(program = self.name, %error, "BTF not loaded"))
            .ok()
    }

    /// Links the program with its maps, checks what it calls, and loads it.
    pub(super) fn load(
        mut self,
        target: Target<'_>,
        maps: &Definitions,
        made: &Made,
        types: Option<&OwnedFd>,
        trusted: bool,
    ) -> Result<OwnedFd, ObjectError> {
        let descriptors: BTreeSet<RawFd> = made.values().map(AsRawFd::as_raw_fd).collect();
        self.link(maps, made)
            .map_err(|part| self.unsupported(part))?;
        let Some(function) = self.parsed.functions.get(&self.entry) else {
            let function = self.name.clone();
            return Err(self.unsupported(Unsupported::NoFunction {
                function,
                offset: 0,
            }));
        };
        self.check(&function.instructions, &descriptors, trusted)?;
        let name = sys::kernel_name(&self.name);
        let text = Text {
            target,
            name: &name,
            license: &self.license,
            instructions: &function.instructions,
            types: types.map(|btf| TextTypes {
                btf: btf.as_fd(),
                functions: function.func_info.func_info_bytes(),
                lines: function.line_info.line_info_bytes(),
            }),
        };
        load_with_log(&self.name, &text, trusted)
    }

    fn link(&mut self, maps: &Definitions, made: &Made) -> Result<(), Unsupported> {
        let code_sections = self
            .parsed
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let maps = maps.iter().filter_map(|(name, map)| {
            let fd = made.get(name)?;
            Some((name.as_str(), fd.as_raw_fd(), map))
        });
        self.parsed
            .relocate_maps(maps, &code_sections)
            .map_err(|error| Unsupported::Link(with_causes(&error)))?;
        self.parsed
            .relocate_calls(&code_sections)
            .map_err(|error| Unsupported::Link(with_causes(&error)))
    }

    /// Looks at exactly the instructions that will be loaded.
    fn check(
        &self,
        instructions: &[bpf_insn],
        maps: &BTreeSet<RawFd>,
        trusted: bool,
    ) -> Result<(), ObjectError> {
        let mut instructions = instructions.iter();
        while let Some(instruction) = instructions.next() {
            match (instruction.code, instruction.src_reg()) {
                (CALL, 0) if !trusted && !helpers::is_allowed(instruction.imm) => {
                    return Err(ObjectError::Helper {
                        program: self.name.clone(),
                        helper: helpers::name(instruction.imm),
                    });
                }
                (CALL, 0 | PSEUDO_CALL) => {}
                (CALL, _) => {
                    let function = self.name.clone();
                    return Err(self.unsupported(Unsupported::Kfunc { function }));
                }
                (LD_IMM64, source) => {
                    let is_own = match source {
                        0 | PSEUDO_FUNC => true,
                        PSEUDO_MAP_FD | PSEUDO_MAP_VALUE => maps.contains(&instruction.imm),
                        _ => false,
                    };
                    if !is_own {
                        return Err(self.unsupported(Unsupported::KernelObject));
                    }
                    instructions.next();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn unsupported(&self, part: Unsupported) -> ObjectError {
        ObjectError::Unsupported {
            program: self.name.clone(),
            part,
        }
    }
}

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNC: u8 = 4;

/// Makes the object's types fit for this kernel. They describe, so a program can do without.
fn fit_types(parsed: &mut aya_obj::Object) -> Option<Vec<u8>> {
    let features = aya::features().btf()?;
    match parsed.fixup_and_sanitize_btf(features) {
        Ok(types) => types.map(Btf::to_bytes),
        Err(error) => {
            tracing::debug!(%error, "BTF not used");
            None
        }
    }
}

/// Loads without a log, which is fastest, and again with one if that fails.
fn load_with_log(program: &str, text: &Text<'_>, trusted: bool) -> Result<OwnedFd, ObjectError> {
    let refused = match sys::load_program(text, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(failure) => failure.error,
    };
    let mut log = vec![0; LOG_BYTES_FIRST];
    loop {
        log[0] = 0;
        let LoadFailure { error, log_bytes } = match sys::load_program(text, &mut log) {
            Ok(fd) => return Ok(fd),
            Err(failure) => failure,
        };
        let is_cut = error.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error());
        if !is_cut || log.len() >= LOG_BYTES_MAX {
            break;
        }
        let enough = log_bytes.max(4 * log.len()).min(LOG_BYTES_MAX);
        log = vec![0; enough];
    }
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    if end == 0 {
        return Err(ObjectError::Kernel {
            call: Call::BpfProgLoad,
            subject: format!("program {program}"),
            source: refused,
        });
    }
    let log = String::from_utf8_lossy(&log[..end]).into_owned();
    Err(ObjectError::Verifier {
        program: program.to_owned(),
        // Those that are trusted are refused nothing for want of trust.
        advice: Advice::on(&log).filter(|_| !trusted),
        log,
        source: refused,
    })
}
