//! Object files that no compiler writes: each is small beside what reading it may cost.

/// `SHT_PROGBITS`.
const BITS: u32 = 1;
/// `SHT_NOBITS`.
const NO_BITS: u32 = 8;
/// `SHT_REL`.
const RELOCATIONS: u32 = 9;
/// `SHF_ALLOC | SHF_EXECINSTR`.
const CODE: u64 = 6;
/// `SHF_ALLOC | SHF_WRITE`.
const DATA: u64 = 3;
/// A global function.
const FUNCTION: u8 = 0x12;

/// `r0 = 2; exit`.
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// A kind of hostile object.
pub struct Hostile {
    /// What is wrong with it.
    pub kind: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// One of each kind.
pub fn every_kind() -> Vec<Hostile> {
    let kind = |kind, bytes| Hostile { kind, bytes };
    vec![
        kind(
            "functions that overlap",
            functions(4000, |index| index * 16),
        ),
        kind("one function with many names", functions(4000, |_| 0)),
        kind(
            "more functions than any program has",
            functions(60_000, |index| index * 16),
        ),
        kind("200,000 line records", lines(&[200_000])),
        kind(
            "sections of line records without any",
            lines(&vec![0; 1 << 20]),
        ),
        kind("64 MiB of variables", variables(1, 64 << 20)),
        kind(
            "64 MiB of variables in many sections",
            variables(256, 256 << 10),
        ),
        kind("one long name for every type", types(500_000, 1 << 20)),
        kind("more sections than any program has", sections(60_000)),
        kind("sections that share their bytes", shared(4000)),
        kind("relocations that many sections share", relocations(4000)),
        kind("more symbols than any program has", symbols(400_000)),
        kind("long paths to fields", fields(200_000, 1 << 20)),
        kind("a name of a megabyte", long_name()),
    ]
}

fn functions(count: u64, start: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut file = File::new();
    let code = PASS.repeat(1 << 16);
    let bytes = code.len() as u64;
    let section = file.section("xdp", BITS, CODE, code);
    for index in 0..count {
        let start = start(index) % bytes;
        file.symbol(
            &format!("f{index}"),
            FUNCTION,
            section,
            start,
            bytes - start,
        );
    }
    file.finish()
}

fn program(file: &mut File) -> u16 {
    let section = file.section("xdp", BITS, CODE, PASS.to_vec());
    file.symbol("program", FUNCTION, section, 0, 16);
    section
}

/// `.BTF` with these types and strings.
fn btf(types: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut btf = vec![0x9f, 0xeb, 1, 0];
    let lengths = [types.len(), strings.len()].map(|length| u32::try_from(length).expect("short"));
    for field in [24, 0, lengths[0], lengths[0], lengths[1]] {
        btf.extend(field.to_le_bytes());
    }
    btf.extend(types);
    btf.extend(strings);
    btf
}

/// `.BTF.ext` with this info at one of three places, and nothing at the others.
fn btf_ext(place: usize, info: &[u8]) -> Vec<u8> {
    let mut ext = vec![0x9f, 0xeb, 1, 0];
    ext.extend(32_u32.to_le_bytes());
    for other in 0..3 {
        let length = if other == place { info.len() } else { 0 };
        ext.extend(0_u32.to_le_bytes());
        ext.extend(u32::try_from(length).expect("short").to_le_bytes());
    }
    ext.extend(info);
    ext
}

/// Records of 16 bytes for sections called `xdp`, so many each.
fn records(counts: &[u32], record: impl Fn(u32) -> [u32; 4]) -> Vec<u8> {
    let mut info = 16_u32.to_le_bytes().to_vec();
    for count in counts {
        info.extend(1_u32.to_le_bytes());
        info.extend(count.to_le_bytes());
        for index in 0..*count {
            info.extend(record(index).into_iter().flat_map(u32::to_le_bytes));
        }
    }
    info
}

fn lines(counts: &[u32]) -> Vec<u8> {
    let mut file = File::new();
    program(&mut file);
    file.section(".BTF", BITS, 0, btf(&[], b"\0xdp\0"));
    let info = records(counts, |_| [0, 1, 1, 0]);
    file.section(".BTF.ext", BITS, 0, btf_ext(1, &info));
    file.finish()
}

fn variables(sections: usize, bytes: u64) -> Vec<u8> {
    let mut file = File::new();
    program(&mut file);
    for index in 0..sections {
        file.empty_section(&format!(".bss.{index}"), bytes);
    }
    file.finish()
}

fn types(count: usize, name: usize) -> Vec<u8> {
    let mut file = File::new();
    program(&mut file);
    // Typedefs of nothing, all of one name.
    let typedef = [1_u32, 8 << 24, 0].map(u32::to_le_bytes).concat();
    let strings = [&b"\0"[..], &vec![b'a'; name], b"\0"].concat();
    file.section(".BTF", BITS, 0, btf(&typedef.repeat(count), &strings));
    file.finish()
}

fn sections(count: usize) -> Vec<u8> {
    let mut file = File::new();
    program(&mut file);
    for _ in 0..count {
        file.section("maps", BITS, DATA, Vec::new());
    }
    file.finish()
}

fn shared(count: usize) -> Vec<u8> {
    let mut file = File::new();
    let first = program(&mut file);
    let large = file.section("xdp/large", BITS, CODE, PASS.repeat(1 << 16));
    for index in 0..count {
        file.alias(&format!("xdp/{index}"), large);
    }
    let _ = first;
    file.finish()
}

fn relocations(count: usize) -> Vec<u8> {
    let mut file = File::new();
    let section = program(&mut file);
    let mut bytes = Vec::new();
    for index in 0..100_000_u64 {
        bytes.extend((index * 8).to_le_bytes());
        bytes.extend((1_u64 << 32 | 1).to_le_bytes());
    }
    let first = file.section(".relxdp", RELOCATIONS, 0, bytes);
    file.relocates(first, section);
    for index in 0..count {
        let target = file.section(&format!("xdp/{index}"), BITS, CODE, PASS.to_vec());
        let other = file.alias(".rel", first);
        file.relocates(other, target);
    }
    file.finish()
}

fn symbols(count: u64) -> Vec<u8> {
    let mut file = File::new();
    let section = program(&mut file);
    for _ in 0..count {
        file.symbol("", 0, section, 0, 0);
    }
    file.finish()
}

fn fields(count: u32, path: usize) -> Vec<u8> {
    let mut file = File::new();
    program(&mut file);
    let integer = [1_u32, 1 << 24, 4, 32].map(u32::to_le_bytes).concat();
    let strings = [&b"\0xdp\0"[..], &b"0:".repeat(path / 2), b"0\0"].concat();
    file.section(".BTF", BITS, 0, btf(&integer, &strings));
    let info = records(&[count], |_| [0, 1, 5, 0]);
    file.section(".BTF.ext", BITS, 0, btf_ext(2, &info));
    file.finish()
}

fn long_name() -> Vec<u8> {
    let mut file = File::new();
    let section = file.section("xdp", BITS, CODE, PASS.to_vec());
    file.symbol(&"a".repeat(1 << 20), FUNCTION, section, 0, 16);
    file.finish()
}

/// An ELF file in the making.
struct File {
    sections: Vec<Section>,
    names: Vec<u8>,
    symbols: Vec<u8>,
    symbol_names: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    entry: u64,
}

const HEADER_BYTES: usize = 64;

impl File {
    fn new() -> Self {
        let mut file = Self {
            sections: Vec::new(),
            names: vec![0],
            symbols: vec![0; 24],
            symbol_names: vec![0],
            body: Vec::new(),
        };
        file.push("", 0, 0, 0, 0);
        file.section("license", BITS, DATA, b"GPL\0".to_vec());
        file
    }

    fn push(&mut self, name: &str, kind: u32, flags: u64, offset: u64, size: u64) -> u16 {
        let at = u32::try_from(self.names.len()).expect("short");
        self.names.extend(name.bytes().chain([0]));
        self.sections.push(Section {
            name: at,
            kind,
            flags,
            offset,
            size,
            link: 0,
            info: 0,
            entry: 0,
        });
        u16::try_from(self.sections.len() - 1).expect("few")
    }

    fn section(&mut self, name: &str, kind: u32, flags: u64, bytes: Vec<u8>) -> u16 {
        let offset = (HEADER_BYTES + self.body.len()) as u64;
        let size = bytes.len() as u64;
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(8), 0);
        self.push(name, kind, flags, offset, size)
    }

    fn empty_section(&mut self, name: &str, size: u64) {
        self.push(name, NO_BITS, DATA, HEADER_BYTES as u64, size);
    }

    /// Another section with the same bytes.
    fn alias(&mut self, name: &str, of: u16) -> u16 {
        let other = self.sections[usize::from(of)];
        self.push(name, other.kind, other.flags, other.offset, other.size)
    }

    fn relocates(&mut self, relocations: u16, section: u16) {
        let relocations = &mut self.sections[usize::from(relocations)];
        relocations.info = section.into();
        relocations.entry = 16;
        // The symbol table comes first of those that `finish` adds.
        relocations.link = u32::MAX;
    }

    fn symbol(&mut self, name: &str, info: u8, section: u16, address: u64, size: u64) {
        let at = u32::try_from(self.symbol_names.len()).expect("short");
        self.symbol_names.extend(name.bytes().chain([0]));
        self.symbols.extend(at.to_le_bytes());
        self.symbols.extend([info, 0]);
        self.symbols.extend(section.to_le_bytes());
        self.symbols.extend(address.to_le_bytes());
        self.symbols.extend(size.to_le_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        let symbols = std::mem::take(&mut self.symbols);
        let symbol_names = std::mem::take(&mut self.symbol_names);
        let table = self.section(".symtab", 2, 0, symbols);
        let strings = self.section(".strtab", 3, 0, symbol_names);
        {
            let table = &mut self.sections[usize::from(table)];
            (table.link, table.info, table.entry) = (strings.into(), 1, 24);
        }
        for section in &mut self.sections {
            if section.link == u32::MAX {
                section.link = table.into();
            }
        }
        self.names.extend(b".shstrtab\0");
        let names = self.names.clone();
        let names = self.section("", 3, 0, names);
        self.sections[usize::from(names)].name = 0;
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        file.resize(16, 0);
        let headers = (HEADER_BYTES + self.body.len()) as u64;
        file.extend([1, 0, 247, 0, 1, 0, 0, 0]);
        for field in [0, 0, headers] {
            file.extend(u64::to_le_bytes(field));
        }
        file.extend([0; 4]);
        let count = u16::try_from(self.sections.len()).expect("few");
        for field in [64, 0, 0, 64, count, names] {
            file.extend(u16::to_le_bytes(field));
        }
        file.extend(&self.body);
        for section in &self.sections {
            file.extend(section.name.to_le_bytes());
            file.extend(section.kind.to_le_bytes());
            for field in [section.flags, 0, section.offset, section.size] {
                file.extend(field.to_le_bytes());
            }
            file.extend(section.link.to_le_bytes());
            file.extend(section.info.to_le_bytes());
            for field in [8, section.entry] {
                file.extend(u64::to_le_bytes(field));
            }
        }
        file
    }
}
