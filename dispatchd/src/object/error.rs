//! Why an object can't be loaded.

use std::fmt;
use std::io;

use planner::Call;
use protocol::with_causes;

use crate::loader::{RefusedKind, RefusedObject};

use super::log::{self, Advice};

/// Why an object can't be loaded: one variant for each kind of no.
///
/// Names in the messages come from the object and are not escaped.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The bytes are not an eBPF object.
    #[error("not an eBPF object: {0}")]
    NotAnObject(#[from] Malformed),
    /// The object has no program of this name.
    #[error("no program {program} in the object; {known}")]
    NoSuchProgram {
        /// The program asked for.
        program: String,
        /// The programs there are.
        known: Names,
    },
    /// No program was named, and the object has none at all.
    #[error("the object has no program")]
    NoProgram,
    /// No program was named, and several may be meant.
    #[error("the object has several programs, name one; {known}")]
    AmbiguousProgram {
        /// The programs that may be meant.
        known: Names,
    },
    /// The program's section says that it is of another type.
    #[error("program {program} is not an XDP program for an interface: its section is {section}")]
    WrongProgramType {
        /// The program.
        program: String,
        /// Its section.
        section: String,
    },
    /// The object needs what the loader can't do.
    #[error("program {program}: {part}")]
    Unsupported {
        /// The program that needs it.
        program: String,
        /// What it needs.
        part: Unsupported,
    },
    /// The program calls a helper that its owner may not use.
    #[error(
        "program {program} calls {helper}, which only a trusted client's may{}",
        advised(Advice::on_helper(helper))
    )]
    Helper {
        /// The program.
        program: String,
        /// The helper, such as `bpf_probe_read_kernel`.
        helper: String,
    },
    /// A map can't be had as asked for.
    #[error("map {map}: {fault}")]
    Map {
        /// The map.
        map: String,
        /// What is wrong.
        fault: MapFault,
    },
    /// A global variable can't be set as asked for.
    #[error("global variable {global}: {fault}")]
    Global {
        /// The variable.
        global: String,
        /// What is wrong.
        fault: GlobalFault,
    },
    /// The verifier refused the program.
    #[error("the verifier refused program {program}{}", advised(*.advice))]
    Verifier {
        /// The program.
        program: String,
        /// What its author can do.
        advice: Option<Advice>,
        /// The verifier's log.
        log: String,
        /// The errno of the load.
        source: io::Error,
    },
    /// The kernel refused something else.
    #[error("{call}: {subject}")]
    Kernel {
        /// The call.
        call: Call,
        /// What it was called on.
        subject: String,
        /// The errno.
        source: io::Error,
    },
}

/// The advice as a part of a sentence.
fn advised(advice: Option<Advice>) -> String {
    advice.map_or_else(String::new, |advice| format!(": {advice}"))
}

impl ObjectError {
    /// The refusal that the daemon gets to see.
    pub(crate) fn into_refused(self, shows_addresses: bool) -> RefusedObject {
        let kind = match &self {
            Self::NotAnObject(_) => RefusedKind::NotAnObject,
            Self::NoSuchProgram { .. } => RefusedKind::NoSuchProgram,
            Self::NoProgram => RefusedKind::NoProgram,
            Self::AmbiguousProgram { .. } => RefusedKind::AmbiguousProgram,
            Self::WrongProgramType { .. } => RefusedKind::WrongProgramType,
            Self::Unsupported { .. } => RefusedKind::Unsupported,
            Self::Helper { .. } => RefusedKind::Helper,
            Self::Map { .. } => RefusedKind::Map,
            Self::Global { .. } => RefusedKind::Global,
            Self::Verifier { .. } => RefusedKind::Verifier,
            Self::Kernel { .. } => RefusedKind::Kernel,
        };
        let unsized_map = if let Self::Map {
            fault: MapFault::Unsized { map },
            ..
        } = &self
        {
            Some(map.clone())
        } else {
            None
        };
        let mut text = with_causes(&self);
        let mut log = if let Self::Verifier { log, .. } = self {
            Some(log)
        } else {
            None
        };
        if !shows_addresses {
            text = log::without_addresses(&text);
            log = log.map(|log| log::without_addresses(&log));
        }
        RefusedObject {
            kind,
            text,
            log,
            unsized_map,
        }
    }
}

/// Why bytes are not an eBPF object.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not a 64-bit little-endian ELF file, or a broken one.
    #[error("{0}")]
    Elf(object::read::Error),
    /// An ELF file for another machine.
    #[error("its machine is not eBPF")]
    Machine,
    /// Already linked, or a core file.
    #[error("it is not relocatable")]
    NotRelocatable,
    /// A part lies outside the file.
    #[error("a part of it lies outside the file")]
    OutOfFile,
    /// Names are repeated until they take too much memory.
    #[error("its names take too much memory")]
    NamesTooLong,
    /// A name is not UTF-8.
    #[error("a name in it is not UTF-8")]
    NameNotText,
    /// More functions than any program of this world has.
    #[error("it has more than {max} functions")]
    TooManyFunctions {
        /// How many there may be.
        max: usize,
    },
    /// A section has an address, which only linked files have.
    #[error("section {section} has an address")]
    Addressed {
        /// The section.
        section: String,
    },
    /// `.BTF` or `.BTF.ext` is broken.
    #[error("its type information (.BTF, .BTF.ext) is broken")]
    Types,
    /// Two sections of code have the same name.
    #[error("there are two sections {section}")]
    RepeatedSection {
        /// The section.
        section: String,
    },
    /// The variables are larger than allowed.
    #[error("its variables take more than 32 MiB")]
    TooManyVariables,
    /// Sections share bytes of the file.
    #[error("parts of it overlap")]
    Overlap,
    /// Functions share instructions.
    #[error("function {name} overlaps another")]
    FunctionsOverlap {
        /// One of them.
        name: String,
    },
    /// The name of a function is longer than any.
    #[error("the name of a function in it has more than {max} bytes")]
    FunctionNameTooLong {
        /// How many it may have.
        max: usize,
    },
    /// More sections, symbols or relocations than any program has.
    #[error("it has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The names of types are used until they take too long to read.
    #[error("the names in its type information (.BTF) take too long to read")]
    TypeNamesTooLong,
    /// More records than there are instructions for, or than can be copied.
    #[error("its type information (.BTF.ext) has more than {max} records of one kind")]
    TooManyRecords {
        /// How many there may be.
        max: usize,
    },
    /// A symbol lies outside its section, or a function is not made of whole instructions.
    #[error("symbol {name} lies outside its section, or between instructions")]
    Symbol {
        /// The symbol.
        name: String,
    },
    /// A relocation names no symbol, or two patch the same place.
    #[error("the relocation at offset {offset} is broken")]
    Relocation {
        /// The place it patches.
        offset: u64,
    },
}

/// What the loader can't do.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// Something that the kernel is to provide: a kfunc, a kernel variable, `.kconfig`.
    #[error("it uses {name}, a kernel function, kernel variable or configuration value")]
    Extern {
        /// The symbol.
        name: String,
    },
    /// A kernel function called by number.
    #[error("function {function} calls a kernel function by its number")]
    Kfunc {
        /// The function.
        function: String,
    },
    /// A descriptor or a kernel id as a constant in the code, which would be the loader's.
    #[error("its code names a descriptor or kernel object by number")]
    KernelObject,
    /// More functions than the kernel takes in one program.
    #[error("it has more than {max} functions")]
    TooManyFunctions {
        /// How many there may be.
        max: usize,
    },
    /// More maps than the daemon holds for one member.
    #[error("its object has {count} maps, more than {max}")]
    TooManyMaps {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A map that is filled by the object itself.
    #[error("map {map} is filled by the object itself (static values)")]
    StaticValues {
        /// The map.
        map: String,
    },
    /// A map without its inner map's definition.
    #[error("map {map} doesn't define its inner map")]
    InnerMap {
        /// The map.
        map: String,
    },
    /// A map that the code doesn't reach by its own name.
    #[error("it reaches a map by another symbol than its own: {symbol}")]
    UnnamedMap {
        /// The symbol; empty for a section's.
        symbol: String,
    },
    /// A variable outside the sections for variables.
    #[error("function {function} uses section {section}, which is no section for variables")]
    DataSection {
        /// The function.
        function: String,
        /// The section.
        section: String,
    },
    /// Variables that hold addresses of others.
    #[error("section {section} holds addresses (pointers to variables or functions)")]
    Addresses {
        /// The section.
        section: String,
    },
    /// A call or a reference that leads to no function.
    #[error("function {function} refers to code that is no function, at byte {offset}")]
    NoFunction {
        /// The function.
        function: String,
        /// Where it does.
        offset: u64,
    },
    /// An address where no instruction takes one.
    #[error("function {function} has an address where no instruction takes one, at byte {offset}")]
    StrayAddress {
        /// The function.
        function: String,
        /// The first byte of the instruction, or of the function, in its section.
        offset: u64,
    },
    /// Functions that the linker would take for one another.
    #[error(
        "it calls functions of several sections at the same offset, such as {first} and {second}"
    )]
    SameOffset {
        /// A function.
        first: String,
        /// Another.
        second: String,
    },
    /// aya-obj doesn't take it.
    #[error("{0}")]
    Parse(String),
    /// aya-obj can't link it.
    #[error("{0}")]
    Link(String),
    /// A structure of the kernel is not as the program expects it.
    #[error("{0}")]
    CoRe(String),
    /// The kernel's own types can't be read.
    #[error("the kernel's types can't be read: {0}")]
    KernelTypes(String),
}

/// What is wrong with a map.
#[derive(Debug, thiserror::Error)]
pub enum MapFault {
    /// The object has no such map.
    #[error("the object has no such map; {known}")]
    Unknown {
        /// The maps there are.
        known: Names,
    },
    /// The object leaves the number of entries to its loader.
    #[error("the object doesn't say how many entries it has")]
    Unsized {
        /// The map.
        map: String,
    },
    /// A size for a map that holds global variables.
    #[error("it holds global variables and has one entry")]
    Variables,
    /// A tail call's map is of another type.
    #[error("it is not a program array")]
    NotAProgramArray,
    /// A tail call's index is too large.
    #[error("it has {entries} entries, none at index {index}")]
    OutOfRange {
        /// Its number of entries.
        entries: u32,
        /// The index.
        index: u32,
    },
    /// The kernel doesn't make it.
    #[error("the kernel doesn't make it with {entries} entries: {error}")]
    Refused {
        /// Its number of entries.
        entries: u32,
        /// The errno.
        error: io::Error,
    },
}

/// What is wrong with a global variable's value.
#[derive(Debug, thiserror::Error)]
pub enum GlobalFault {
    /// The object has no such variable.
    #[error("the object has no such variable; {known}")]
    Unknown {
        /// The variables there are.
        known: Names,
    },
    /// Several variables have this name.
    #[error("the object has several variables of this name")]
    Ambiguous,
    /// An integer for a variable that is none.
    #[error("it has {bytes} bytes, which no integer has: give its bytes")]
    NotAnInteger {
        /// The variable's size.
        bytes: u64,
    },
    /// An integer that is too large or too small.
    #[error("{value} doesn't fit into its {bytes} bytes")]
    OutOfRange {
        /// The integer.
        value: i128,
        /// The variable's size.
        bytes: u64,
    },
    /// Too many bytes, or too few.
    #[error("it has {bytes} bytes, not {given}")]
    Size {
        /// The variable's size.
        bytes: u64,
        /// How many were given.
        given: usize,
    },
}

/// The names that there are, for a message about one that isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

/// A message lists no more names than this: an object may have thousands.
const NAMES_LISTED: usize = 20;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is none");
        }
        f.write_str("there is ")?;
        for (index, name) in self.0.iter().take(NAMES_LISTED).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name}")?;
        }
        match self.0.len().saturating_sub(NAMES_LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
