//! Other people's programs: what is in an object file, and how a program of it is loaded.
//!
//! Loading is aya-obj's work (maps, variables, CO-RE, linking) on a copy of the file in which it
//! sees one program under a name that it takes. What aya-obj would load wrongly is refused before.
//! The last steps go through libbpf's system call wrappers, since aya itself shares maps only by
//! pinning them, checks nothing of those, and neither loads plain instructions nor shows a whole
//! verifier log.
//!
//! The bytes may be hostile, and root's are loaded with the daemon's capabilities. So
//! what its code may call and which maps it may name is checked in exactly the instructions that
//! go to the kernel.

mod bounds;
mod btf;
mod code;
mod elf;
mod error;
mod globals;
mod helpers;
mod image;
mod log;
mod maps;
mod prototype;
mod reach;
mod run_config;
mod sections;
#[expect(unsafe_code, reason = "calls of libbpf")]
mod sys;
mod types;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use dispatcher_abi::{Priority, VerdictMask};
use planner::{Abilities, Call, TailCall};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

pub(crate) use self::code::learn_the_kernel;
pub use self::error::{GlobalFault, Malformed, MapFault, Names, ObjectError, Unsupported};
pub use self::log::Advice;
pub use self::sections::DeclaredType;

use self::code::Code;
use self::elf::{Elf, Role};
use self::maps::Made;
use self::reach::FunctionKey;
use self::run_config::RunConfig;
use self::sys::Target;
use crate::bpf;

/// An object file that was looked at, and not loaded: plain bytes.
#[derive(Debug)]
pub struct Object {
    bytes: Arc<Vec<u8>>,
    elf: Elf,
    programs: Vec<ProgramSymbol>,
    digest: [u8; 32],
}

/// A program in an object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSymbol {
    /// Its function's name.
    pub name: String,
    /// Its section's name.
    pub section: String,
    /// The section says that it takes packets of several buffers.
    pub frags: bool,
    /// What the section says of its type.
    pub declared: DeclaredType,
    function: FunctionKey,
}

/// What to load of an object, and how.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// The program's function; may be left out if there is only one.
    pub program: Option<&'a str>,
    /// Numbers of entries for maps, by name.
    pub map_sizes: &'a [(String, u32)],
    /// Values for global variables, by name.
    pub globals: &'a [(String, GlobalValue)],
    /// Entries for the object's own program arrays.
    pub tail_calls: &'a [TailCall],
    /// Every helper may be called: the object comes from somebody who may read kernel memory.
    pub trusted: bool,
    /// Maps to use instead of making new ones.
    pub existing: Existing<'a>,
    /// As what the program is loaded.
    pub target: LoadAs<'a>,
}

/// Maps that are there already. Program arrays belong to the code that was loaded with them and
/// are always new.
#[derive(Clone, Copy, Debug)]
pub enum Existing<'a> {
    /// Another program's: they are shared where name and shape agree. Constants (`.rodata`) and
    /// variables that are given a value are new.
    Shared(&'a [ExistingMap<'a>]),
    /// This very program's, when it is loaded again: all of them are taken as they are.
    Own(&'a [ExistingMap<'a>]),
}

/// As what a program is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadAs<'a> {
    /// An extension that takes the place of this function; `None`: an XDP program.
    pub extends: Option<SlotFunction<'a>>,
    /// With `BPF_F_XDP_HAS_FRAGS` (Linux 5.18): it takes packets of several buffers.
    pub frags: bool,
}

impl LoadAs<'_> {
    /// An XDP program for packets of one buffer.
    pub const XDP: Self = Self {
        extends: None,
        frags: false,
    };
}

/// A function of a loaded root.
#[derive(Clone, Copy, Debug)]
pub struct SlotFunction<'a> {
    /// The root.
    pub root: BorrowedFd<'a>,
    /// The function's type in the root's BTF.
    pub type_id: u32,
}

/// The value of a global variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GlobalValue {
    /// An integer, stored in the variable's size (1, 2, 4 or 8 bytes).
    Integer(i128),
    /// The variable's bytes, exactly as many as it has.
    Bytes(Vec<u8>),
}

/// A map that may stand in for the object's map of the same name.
#[derive(Clone, Copy, Debug)]
pub struct ExistingMap<'a> {
    /// Its name in the object.
    pub name: &'a str,
    /// The map.
    pub fd: BorrowedFd<'a>,
}

/// A program that the kernel holds, as long as its descriptor lives.
#[derive(Debug)]
pub struct Loaded {
    /// The program.
    pub program: OwnedFd,
    /// Its function's name.
    pub program_name: String,
    /// The kernel's id.
    pub program_id: u32,
    /// All maps of the object, by name. A program array keeps its targets alive, and loses them
    /// with its last descriptor or pin.
    pub maps: Vec<LoadedMap>,
    /// The object has a program array, so the program may tail-call by itself.
    pub has_program_array: bool,
    /// The priority that the object wants for the program (`.xdp_run_config`).
    pub priority: Option<Priority>,
    /// The chain-call actions that the object wants for the program (`.xdp_run_config`).
    pub chain_call: Option<VerdictMask>,
}

/// A map that the kernel holds.
#[derive(Debug)]
pub struct LoadedMap {
    /// Its name in the object; variables are in maps that have their section's name.
    pub name: String,
    /// The map.
    pub fd: OwnedFd,
}

impl Object {
    /// Looks at an object file.
    pub fn inspect(bytes: impl Into<Arc<Vec<u8>>>) -> Result<Self, ObjectError> {
        let bytes = bytes.into();
        let elf = Elf::read(&bytes)?;
        bounds::check(&elf, &bytes)?;
        let programs = elf.functions().filter_map(|(section, address, symbol)| {
            let name = &elf.sections[section].name;
            let is_program = elf.sections[section].role == Role::Program && symbol.global;
            is_program.then(|| ProgramSymbol {
                name: symbol.name.clone(),
                section: name.clone(),
                frags: sections::has_frags(name),
                declared: DeclaredType::of(name),
                function: (section, address),
            })
        });
        Ok(Self {
            programs: programs.collect(),
            digest: sha2::Sha256::digest(&*bytes).into(),
            elf,
            bytes,
        })
    }

    /// The programs in it, in the order of the file.
    pub fn programs(&self) -> &[ProgramSymbol] {
        &self.programs
    }

    /// The SHA-256 digest of the file.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The program of this name; without one, the only XDP program.
    pub fn select(&self, program: Option<&str>) -> Result<&ProgramSymbol, ObjectError> {
        let found = match program {
            Some(name) => self.named(name)?,
            None => self.only()?,
        };
        if found.declared == DeclaredType::Other {
            return Err(ObjectError::WrongProgramType {
                program: found.name.clone(),
                section: found.section.clone(),
            });
        }
        Ok(found)
    }

    fn named(&self, name: &str) -> Result<&ProgramSymbol, ObjectError> {
        let found = self.programs.iter().find(|program| program.name == name);
        found.ok_or_else(|| ObjectError::NoSuchProgram {
            program: name.to_owned(),
            known: names(&self.programs.iter().collect::<Vec<_>>()),
        })
    }

    fn only(&self) -> Result<&ProgramSymbol, ObjectError> {
        let declared_as = |declared| {
            let programs = self.programs.iter();
            programs.filter(move |program| program.declared == declared)
        };
        let candidates = [
            DeclaredType::Xdp,
            DeclaredType::Unknown,
            DeclaredType::Other,
        ]
        .map(|declared| declared_as(declared).collect::<Vec<_>>());
        match candidates.iter().find(|programs| !programs.is_empty()) {
            None => Err(ObjectError::NoProgram),
            Some(programs) => match programs.as_slice() {
                [only] => Ok(only),
                [first, ..] if first.declared == DeclaredType::Other => Ok(first),
                several => Err(ObjectError::AmbiguousProgram {
                    known: names(several),
                }),
            },
        }
    }

    /// As what a program can be loaded. Whether it really can is for the kernel to say.
    pub fn abilities(&self, program: &ProgramSymbol) -> Abilities {
        Abilities {
            obstacle: prototype::obstacle(self.types(), &program.name),
            frags: program.frags,
        }
    }

    /// The id of a function's type, once the object's types are loaded.
    pub fn function_type(&self, function: &str) -> Option<u32> {
        prototype::function_id(self.types()?, function)
    }

    /// How the object wants its program to run.
    fn wishes(&self, program: &ProgramSymbol) -> RunConfig {
        self.types().map_or_else(RunConfig::default, |types| {
            run_config::read(types, &program.name)
        })
    }

    fn types(&self) -> Option<&[u8]> {
        let section = self.elf.section_named(".BTF")?;
        Some(self.elf.data(&self.bytes, section))
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the object says it may be used under; nothing if it doesn't.
    fn license(&self) -> CString {
        let section = self.elf.section_named("license");
        let license = section.map_or(&[][..], |section| self.elf.data(&self.bytes, section));
        let end = license.iter().position(|byte| *byte == 0);
        CString::new(&license[..end.unwrap_or(license.len())]).unwrap_or_default()
    }
}

/// Loads a program of the object and its tail-call targets.
///
/// Nothing is pinned, and nothing of a failed load stays.
pub fn load(object: &Object, request: &LoadRequest<'_>) -> Result<Loaded, ObjectError> {
    let program = object.select(request.program)?;
    let unsupported = |part| ObjectError::Unsupported {
        program: program.name.clone(),
        part,
    };
    maps::check_no_static_values(&object.elf).map_err(unsupported)?;
    let patches = globals::patches(&object.elf, request.globals)?;
    let code = Code::parse(object, program)?;
    let mut targets = BTreeMap::new();
    for call in request.tail_calls {
        let target = object.select(Some(&call.program))?;
        targets.insert(call.program.as_str(), Code::parse(object, target)?);
    }
    let mut maps = code.maps();
    maps::check_count(&maps).map_err(unsupported)?;
    maps::adjust(&mut maps, request, &patches)?;
    maps::check_inner_maps(&maps).map_err(unsupported)?;

    let types = code.load_types();
    let made = maps::make(
        &maps,
        types.as_ref().map(OwnedFd::as_fd),
        request.existing,
        &patches,
    )?;
    let load =
        |code: Code, target| code.load(target, &maps, &made, types.as_ref(), request.trusted);
    let fd = load(code, Target::of(request.target))?;
    let mut loaded_targets = Targets::new();
    for (name, target) in targets {
        loaded_targets.insert(name, load(target, Target::called_by(request.target))?);
    }
    fill(&made, request.tail_calls, &loaded_targets)?;
    let wishes = object.wishes(program);
    Ok(Loaded {
        program_id: bpf::program_id(fd.as_fd()).map_err(|source| ObjectError::Kernel {
            call: Call::BpfObjGetInfoByFd,
            subject: format!("program {}", program.name),
            source,
        })?,
        program: fd,
        program_name: program.name.clone(),
        has_program_array: maps.values().any(maps::is_program_array),
        maps: made
            .into_iter()
            .map(|(name, fd)| LoadedMap { name, fd })
            .collect(),
        priority: wishes.priority,
        chain_call: wishes.chain_call,
    })
}

/// Tail-call targets by their functions' names.
type Targets<'a> = BTreeMap<&'a str, OwnedFd>;

/// Puts the targets into the object's program arrays, which keep them from then on.
fn fill(made: &Made, tail_calls: &[TailCall], targets: &Targets<'_>) -> Result<(), ObjectError> {
    for call in tail_calls {
        let (map, target) = (made.get(&call.map), targets.get(call.program.as_str()));
        if let (Some(map), Some(target)) = (map, target) {
            let value = target.as_raw_fd().to_le_bytes();
            bpf::map_update(map.as_fd(), call.index, &value).map_err(|source| {
                ObjectError::Kernel {
                    call: Call::BpfMapUpdateElem,
                    subject: format!("index {} of map {}", call.index, call.map),
                    source,
                }
            })?;
        }
    }
    Ok(())
}

fn names(programs: &[&ProgramSymbol]) -> Names {
    Names(
        programs
            .iter()
            .map(|program| program.name.clone())
            .collect(),
    )
}

#[cfg(test)]
mod tests;
