//! Builds the eBPF objects, which are checked in so that everything else needs only stable Rust.
//!
//! The toolchain is Debian's: its rustc comes with a `core` for BPF. The same versions give the
//! same bytes in every checkout, and each object records them in [`TOOLCHAIN_SECTION`], so that
//! `--check` can tell a changed source from a changed compiler.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs, io};

use crate::{btf, command, packages, test};
use object::build::elf::{Builder, SectionData};
use object::{Object as _, ObjectSection as _};

/// Names the versions that an object was built with. Loaders skip sections they don't know.
const TOOLCHAIN_SECTION: &str = "dispatch.toolchain";

/// Where tests and builds find rebuilt objects instead of the checked-in ones.
const OBJECTS_VARIABLE: &str = "DISPATCHD_OBJECTS";

const RUSTC: &str = "/usr/bin/rustc";
const LLVM: &str = "/usr/lib/llvm-22";
/// bpf-linker 0.13 is the one for LLVM 22.
const BPF_LINKER_VERSION: &str = "0.13.0";

/// `cargo xtask ebpf`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rebuild beside the checked-in objects and compare; changes nothing
    #[arg(long)]
    check: bool,

    /// Build into this folder instead; `DISPATCHD_OBJECTS=FOLDER cargo build` then uses no
    /// checked-in object
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    out: Option<PathBuf>,
}

/// One object, and the eBPF crate it comes from.
struct Source {
    /// The crate's folder.
    folder: &'static str,
    /// The crate's binary, and the object's name without `.o`.
    binary: &'static str,
    /// Where the object is checked in: next to what embeds it.
    object: &'static str,
}

const SOURCES: [Source; 7] = [
    Source {
        folder: "dispatcher-ebpf",
        binary: "dispatcher",
        object: "dispatchd/objects/dispatcher.o",
    },
    Source {
        folder: "dispatcher-ebpf",
        binary: "dispatcher_ext_16",
        object: "dispatchd/objects/dispatcher_ext_16.o",
    },
    Source {
        folder: "dispatcher-ebpf",
        binary: "dispatcher_ext_64",
        object: "dispatchd/objects/dispatcher_ext_64.o",
    },
    Source {
        folder: "dispatcher-ebpf",
        binary: "dispatcher_ext_128",
        object: "dispatchd/objects/dispatcher_ext_128.o",
    },
    Source {
        folder: "dispatcher-ebpf",
        binary: "xsk_redirect",
        object: "dispatchd/objects/xsk_redirect.o",
    },
    Source {
        folder: "apps/stats/ebpf",
        binary: "stats",
        object: "apps/stats/objects/stats.o",
    },
    Source {
        folder: "apps/firewall/ebpf",
        binary: "firewall",
        object: "apps/firewall/objects/firewall.o",
    },
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Builds every object into its place, or with `--check` compares it with what is there.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace_root()?;
    install_toolchain()?;
    let toolchain = Toolchain::installed()?;
    let build = Build::new(&root, &toolchain)?;
    if arguments.check {
        return check(&root, &build);
    }
    for source in &SOURCES {
        let path = match &arguments.out {
            Some(folder) => folder.join(format!("{}.o", source.binary)),
            None => root.join(source.object),
        };
        write_object(&path, &build.object(source)?)?;
        println!("{}", path.strip_prefix(&root).unwrap_or(&path).display());
    }
    println!("built with {toolchain}");
    Ok(())
}

/// Fails for objects whose bytes differ though their toolchain is the one that is installed. Where
/// it is another, the rebuilt objects have to pass the kernel's tests instead.
fn check(root: &Path, build: &Build<'_>) -> Result<()> {
    let rebuilt = tempfile::Builder::new().prefix("ebpf-objects-").tempdir()?;
    let mut changed = Vec::new();
    let mut other_toolchain = Vec::new();
    for source in &SOURCES {
        let expected = fs::read(root.join(source.object))
            .map_err(|error| format!("{}: {error}", source.object))?;
        let actual = build.object(source)?;
        let recorded = recorded_toolchain(&expected).unwrap_or_else(|| "unknown".to_owned());
        let file = format!("{}.o", source.binary);
        write_object(&rebuilt.path().join(file), &actual)?;
        if recorded != build.toolchain.to_string() {
            other_toolchain.push((source.object, recorded));
        } else if actual == expected {
            println!("{}: same bytes", source.object);
        } else {
            changed.push(source.object);
        }
    }
    if !changed.is_empty() {
        let objects = changed.join(", ");
        return Err(format!(
            "{objects}: the source gives other bytes with the same toolchain; run `cargo xtask ebpf`"
        )
        .into());
    }
    if !other_toolchain.is_empty() {
        println!("installed here: {}", build.toolchain);
        for (object, recorded) in other_toolchain {
            println!("{object}: not compared, it was built with {recorded}");
        }
        println!("so the kernel's tests run with the rebuilt objects:");
        test::on_the_kernel(&[(OBJECTS_VARIABLE, rebuilt.path())], "")?;
        println!("the rebuilt objects pass the kernel's tests");
    }
    Ok(())
}

/// The versions that decide an object's bytes.
struct Toolchain {
    rustc: String,
    bpf_linker: String,
    llvm: String,
}

impl Toolchain {
    fn installed() -> Result<Self> {
        Ok(Self {
            rustc: version(Command::new(RUSTC).arg("--version"))?,
            bpf_linker: version(
                Command::new("bpf-linker")
                    .arg("--version")
                    .env("PATH", tool_path()?),
            )?,
            llvm: version(Command::new(format!("{LLVM}/bin/llvm-config")).arg("--version"))?,
        })
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            bpf_linker,
            llvm,
        } = self;
        write!(f, "{rustc}; {bpf_linker}; llvm {llvm}")
    }
}

/// What all objects are built with.
struct Build<'a> {
    root: &'a Path,
    toolchain: &'a Toolchain,
    target: PathBuf,
    rustflags: String,
}

impl<'a> Build<'a> {
    fn new(root: &'a Path, toolchain: &'a Toolchain) -> Result<Self> {
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let target = std::path::absolute(target)?.join("ebpf");
        let flags = [
            "-Cdebuginfo=2".to_owned(),
            // 32-bit jumps, which kernels have from 5.1.
            "-Ctarget-cpu=v3".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            // Paths end up in the line information, which loaders show beside verifier errors.
            format!("--remap-path-prefix={}=/cargo", cargo_home()?.display()),
            format!("--remap-path-prefix={}=", root.display()),
            format!("--remap-path-prefix={}=/target", target.display()),
        ];
        // Cargo's own separator: a folder may have blanks in its name.
        let rustflags = flags.join("\u{1f}");
        Ok(Self {
            root,
            toolchain,
            target,
            rustflags,
        })
    }

    /// An object's final bytes.
    fn object(&self, source: &Source) -> Result<Vec<u8>> {
        let mut cargo = command::cargo();
        cargo
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--target=bpfel-unknown-none",
                "--bin",
                source.binary,
            ])
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(self.root.join(source.folder))
            .env("PATH", tool_path()?)
            .env("RUSTC", RUSTC)
            // The target has no stable features.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", &self.rustflags)
            // What this task itself was started with.
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        command::run(&mut cargo)?;
        let linked = self
            .target
            .join("bpfel-unknown-none/release")
            .join(source.binary);
        finish(&fs::read(linked)?, &self.toolchain.to_string())
    }
}

/// Drops what no loader reads, and records the toolchain.
fn finish(linked: &[u8], toolchain: &str) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for section in &mut elf.sections {
        // The BTF sections stay: they are what loaders take of the debug information.
        section.delete =
            section.name.starts_with(b".debug") || section.name.starts_with(b".rel.debug");
    }
    elf.delete_orphans();
    correct_linkage(&mut elf)?;
    let section = elf.sections.add();
    section.name = TOOLCHAIN_SECTION.into();
    section.sh_type = object::elf::SHT_PROGBITS;
    section.sh_addralign = 1;
    section.data = SectionData::Data(toolchain.as_bytes().to_vec().into());
    // LLVM keeps all names in one table; the writer wants the sections' apart.
    let names = elf.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut object = Vec::new();
    elf.write(&mut object)?;
    Ok(object)
}

/// Makes local functions static in the BTF as well.
fn correct_linkage(elf: &mut Builder<'_>) -> Result<()> {
    let local: Vec<_> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.st_bind() == object::elf::STB_LOCAL)
        .map(|symbol| symbol.name.clone())
        .collect();
    for section in &mut elf.sections {
        if let (b".BTF", SectionData::Data(data)) = (section.name.as_slice(), &mut section.data) {
            btf::make_static(data.to_mut(), |name| {
                local.iter().any(|local| local.as_slice() == name)
            })
            .ok_or("the object's BTF can't be read")?;
        }
    }
    Ok(())
}

fn recorded_toolchain(object: &[u8]) -> Option<String> {
    let file = object::File::parse(object).ok()?;
    let data = file.section_by_name(TOOLCHAIN_SECTION)?.data().ok()?;
    String::from_utf8(data.to_vec()).ok()
}

/// Renames over what is there, so that a build beside this one never reads half an object.
fn write_object(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().ok_or("an object is in a folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path)?;
    Ok(())
}

/// Installs what is missing, as root on Debian; otherwise says what that is.
fn install_toolchain() -> Result<()> {
    packages::ensure(&[packages::BPF])?;
    let linker = version(
        Command::new("bpf-linker")
            .arg("--version")
            .env("PATH", tool_path()?),
    );
    let has_linker =
        linker.is_ok_and(|version| version == format!("bpf-linker {BPF_LINKER_VERSION}"));

    if !has_linker {
        // LLVM's own llvm-config has to be found before another version's.
        command::run(
            command::cargo()
                .args([
                    "install",
                    "bpf-linker",
                    "--locked",
                    "--version",
                    BPF_LINKER_VERSION,
                ])
                .env("PATH", tool_path()?),
        )?;
    }
    Ok(())
}

/// PATH with LLVM's tools first, and cargo's last, where bpf-linker is installed.
fn tool_path() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [PathBuf::from(LLVM).join("bin")]
        .into_iter()
        .chain(env::split_paths(&path))
        .chain([cargo_home()?.join("bin")]);
    Ok(env::join_paths(folders)?)
}

fn cargo_home() -> Result<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(folder) => Ok(folder.into()),
        None => Ok(env::home_dir()
            .ok_or("no home folder, so no cargo registry")?
            .join(".cargo")),
    }
}

fn workspace_root() -> Result<PathBuf> {
    let this_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = this_crate.parent().ok_or("the workspace has no folder")?;
    Ok(root.canonicalize()?)
}

/// What a program prints of its version, without blanks around it.
fn version(command: &mut Command) -> Result<String> {
    Ok(command::output(command)?.trim().to_owned())
}
