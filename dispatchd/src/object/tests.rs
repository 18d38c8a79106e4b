//! What can be said of objects without a kernel: made here, checked in, or broken.

use std::collections::BTreeMap;

use object::write::{Object as Writer, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, elf};
use object::{SymbolFlags, SymbolKind, SymbolScope};
use proptest::prelude::*;

use super::reach::reach;
use super::*;

/// A root of ours: types, lines, maps, globals, functions of several sections.
const DISPATCHER: &[u8] = include_bytes!("../../objects/dispatcher.o");

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_root_is_an_object_like_any_other() {
    let object = Object::inspect(DISPATCHER.to_vec()).unwrap();
    let [program] = object.programs() else {
        panic!("{:?}", object.programs());
    };
    assert_eq!(program.declared, DeclaredType::Xdp);
    assert_eq!(object.select(None).unwrap(), program);
    assert_eq!(object.license().to_str(), Ok("Dual MIT/GPL"));
}

#[test]
fn a_program_is_chosen_by_name_or_by_being_the_only_one() {
    let choose = |sections: &[&str], name: Option<&str>| {
        let mut parts = Parts::new();
        for section in sections {
            let name = format!("in_{}", section.replace(['/', '.'], "_"));
            parts.program(section, &name, &[EXIT]);
        }
        let found = parts.object().select(name).cloned();
        found.map(|program| program.section)
    };
    for (sections, name, expected) in [
        (&["xdp"][..], None, "xdp"),
        (&["xdp", "tc"], None, "xdp"),
        (&["xdp_stats", "filter"], None, "xdp_stats"),
        (&["filter", "socket"], None, "filter"),
        (&["xdp", "filter"], Some("in_filter"), "filter"),
        (&["xdp.frags", "xdp/devmap"], None, "xdp.frags"),
    ] {
        assert_eq!(choose(sections, name).unwrap(), expected, "{sections:?}");
    }
    let error = |sections: &[&str], name| choose(sections, name).unwrap_err().to_string();
    assert_eq!(error(&[], None), "the object has no program");
    assert_eq!(
        error(&["xdp", "xdp/b"], None),
        "the object has several programs, name one; there is in_xdp, in_xdp_b"
    );
    assert_eq!(
        error(&["xdp", "tc"], Some("main")),
        "no program main in the object; there is in_xdp, in_tc"
    );
    for name in [None, Some("in_kprobe_x")] {
        assert_eq!(
            error(&["kprobe/x"], name),
            "program in_kprobe_x is not an XDP program for an interface: its section is kprobe/x"
        );
    }
}

#[test]
fn code_may_not_name_what_the_daemon_holds() {
    // Two slots: load the map behind descriptor 7, a map's value, a kernel variable.
    for source in [1, 2, 3, 5, 6] {
        let load = [0x18, source << 4 | 1, 0, 0, 7, 0, 0, 0];
        let error = reached(&[load, [0; 8], EXIT]).unwrap_err();
        assert!(matches!(error, Unsupported::KernelObject), "{error}");
    }
    let number = [0x18, 1, 0, 0, 7, 0, 0, 0];
    reached(&[number, [0; 8], EXIT]).unwrap();
    let kfunc = [0x85, 0x20, 0, 0, 7, 0, 0, 0];
    let error = reached(&[kfunc, EXIT]).unwrap_err();
    assert!(matches!(error, Unsupported::Kfunc { .. }), "{error}");
}

#[test]
fn calls_lead_to_functions() {
    let call = |slots: i32| {
        let [a, b, c, d] = slots.to_le_bytes();
        [0x85, 0x10, 0, 0, a, b, c, d]
    };
    for slots in [-2, 0, 5, i32::MAX, i32::MIN] {
        let error = reached(&[call(slots), EXIT]).unwrap_err();
        assert!(matches!(error, Unsupported::NoFunction { .. }), "{error}");
    }
    // Itself, which is a function at least.
    reached(&[call(-1), EXIT]).unwrap();
    let cut_off = [0x18, 1, 0, 0, 0, 0, 0, 0];
    let error = reached(&[EXIT, cut_off]).unwrap_err();
    assert!(matches!(error, Unsupported::StrayAddress { .. }), "{error}");
}

#[test]
fn an_address_only_goes_where_it_is_understood() {
    let load = [0x18, 1, 0, 0, 0, 0, 0, 0];
    let with = |symbol: &str, offset| {
        let mut parts = Parts::new();
        let section = parts.program("xdp", "main", &[EXIT, load, [0; 8], EXIT]);
        parts.variable(".data", "here", &[0; 8]);
        parts.variable("elsewhere", "there", &[0; 8]);
        parts.undefined("missing");
        parts.relocate(section, offset, symbol, elf::R_BPF_64_64);
        parts.reached()
    };
    assert_eq!(with("here", 8).unwrap().data_sections.len(), 1);
    for (symbol, offset, expected) in [
        (
            "missing",
            8,
            "it uses missing, a kernel function, kernel variable or configuration value",
        ),
        (
            "there",
            8,
            "function main uses section elsewhere, which is no section for variables",
        ),
        (
            "here",
            0,
            "function main has an address where no instruction takes one, at byte 0",
        ),
        (
            "here",
            12,
            "function main has an address where no instruction takes one, at byte 0",
        ),
        (
            "here",
            16,
            "function main has an address where no instruction takes one, at byte 0",
        ),
    ] {
        let error = with(symbol, offset).unwrap_err().to_string();
        assert_eq!(error, expected, "{symbol} at {offset}");
    }
}

#[test]
fn functions_that_would_be_taken_for_one_another_are_refused() {
    let call = [0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let mut parts = Parts::new();
    let section = parts.program("xdp", "main", &[call, call, EXIT]);
    for (index, (name, function)) in [(".text", "warm"), (".text.cold", "cold")]
        .into_iter()
        .enumerate()
    {
        parts.program(name, function, &[EXIT]);
        parts.relocate(section, index as u64 * 8, function, elf::R_BPF_64_32);
    }
    let error = parts.reached().unwrap_err();
    assert!(matches!(error, Unsupported::SameOffset { .. }), "{error}");
}

#[test]
fn a_long_chain_of_calls_is_refused() {
    let chain = |functions: u32| {
        let mut parts = Parts::new();
        let call_next = [0x85, 0x10, 0, 0, 1, 0, 0, 0];
        let section = parts.program("xdp", "main", &[call_next, EXIT]);
        for index in 1..functions {
            let last = index + 1 == functions;
            let code = [if last { EXIT } else { call_next }, EXIT].concat();
            parts.add(section, &format!("f{index}"), SymbolKind::Text, &code);
        }
        parts.reached()
    };
    assert_eq!(chain(256).unwrap().functions.len(), 256);
    let error = chain(257).unwrap_err().to_string();
    assert_eq!(error, "it has more than 256 functions");
}

#[test]
fn global_values_find_their_variables() {
    let mut parts = Parts::new();
    parts.program("xdp", "main", &[EXIT]);
    parts.variable(".data", "one", &[0; 8]);
    parts.variable(".rodata", "two", &[0; 2]);
    let object = parts.object();
    let patch = |name: &str, value| {
        let globals = [(name.to_owned(), GlobalValue::Integer(value))];
        globals::patches(&object.elf, &globals)
    };
    let patches = patch("two", 0x102).unwrap();
    assert_eq!(patches[0].bytes, [2, 1]);
    assert_eq!(object.elf.sections[patches[0].section].name, ".rodata");
    assert_eq!(
        patch("three", 0).unwrap_err().to_string(),
        "global variable three: the object has no such variable; there is one, two"
    );
    assert_eq!(
        patch("two", 65536).unwrap_err().to_string(),
        "global variable two: 65536 doesn't fit into its 2 bytes"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_are_no_object(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Object::inspect(bytes).is_err());
    }

    #[test]
    fn a_broken_object_is_looked_at_without_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        look_at_broken(DISPATCHER, &changes, end);
    }

    #[test]
    fn a_broken_header_is_looked_at_without_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        // The section headers are at the end.
        let headers = DISPATCHER.len() - 64 * 20;
        let mut bytes = DISPATCHER.to_vec();
        for (place, value) in changes {
            bytes[headers + place.index(64 * 20)] = value;
        }
        look_at(bytes);
    }
}

fn look_at_broken(
    bytes: &[u8],
    changes: &[(prop::sample::Index, u8)],
    end: Option<prop::sample::Index>,
) {
    let mut bytes = bytes.to_vec();
    for (place, value) in changes {
        let place = place.index(bytes.len());
        bytes[place] = *value;
    }
    if let Some(end) = end {
        bytes.truncate(end.index(bytes.len()));
    }
    look_at(bytes);
}

/// Everything that happens to an object before aya-obj sees it.
fn look_at(bytes: Vec<u8>) {
    let Ok(object) = Object::inspect(bytes) else {
        return;
    };
    object.license();
    let _ = maps::check_no_static_values(&object.elf);
    let _ = object.select(None);
    for program in object.programs() {
        if let Ok(reach) = reach(&object.elf, &object.bytes, program.function) {
            let _ = image::one_program(&object.elf, &object.bytes, &reach, program.function);
        }
    }
}

/// What a program of these instructions reaches.
fn reached(instructions: &[[u8; 8]]) -> Result<reach::Reach, Unsupported> {
    let mut parts = Parts::new();
    parts.program("xdp", "main", instructions);
    parts.reached()
}

/// An object file in the making.
struct Parts {
    file: Writer<'static>,
    symbols: BTreeMap<String, SymbolId>,
}

impl Parts {
    fn new() -> Self {
        let endian = Endianness::Little;
        Self {
            file: Writer::new(BinaryFormat::Elf, Architecture::Bpf, endian),
            symbols: BTreeMap::new(),
        }
    }

    fn program(&mut self, section: &str, name: &str, instructions: &[[u8; 8]]) -> SectionId {
        let section = self.section(section, SectionKind::Text);
        self.add(section, name, SymbolKind::Text, &instructions.concat());
        section
    }

    fn variable(&mut self, section: &str, name: &str, value: &[u8]) {
        let section = self.section(section, SectionKind::Data);
        self.add(section, name, SymbolKind::Data, value);
    }

    fn section(&mut self, name: &str, kind: SectionKind) -> SectionId {
        self.file.add_section(Vec::new(), name.into(), kind)
    }

    fn add(&mut self, section: SectionId, name: &str, kind: SymbolKind, bytes: &[u8]) {
        let symbol = symbol(name, kind, SymbolSection::Section(section));
        let symbol = self.file.add_symbol(symbol);
        self.file.add_symbol_data(symbol, section, bytes, 8);
        self.symbols.insert(name.to_owned(), symbol);
    }

    fn undefined(&mut self, name: &str) {
        let undefined = symbol(name, SymbolKind::Unknown, SymbolSection::Undefined);
        let symbol = self.file.add_symbol(undefined);
        self.symbols.insert(name.to_owned(), symbol);
    }

    fn relocate(&mut self, section: SectionId, offset: u64, symbol: &str, r_type: u32) {
        let relocation = Relocation {
            offset,
            symbol: self.symbols[symbol],
            addend: 0,
            flags: RelocationFlags::Elf { r_type },
        };
        self.file.add_relocation(section, relocation).unwrap();
    }

    fn object(&self) -> Object {
        Object::inspect(self.file.write().unwrap()).unwrap()
    }

    fn reached(&self) -> Result<reach::Reach, Unsupported> {
        let object = self.object();
        let main = object.select(Some("main")).unwrap().function;
        reach(&object.elf, &object.bytes, main)
    }
}

fn symbol(name: &str, kind: SymbolKind, section: SymbolSection) -> Symbol {
    Symbol {
        name: name.into(),
        value: 0,
        size: 0,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section,
        flags: SymbolFlags::None,
    }
}
