//! A machine for one command.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::Disk;
use crate::orders::{self, Report};
use crate::{Error, Kernel, Problem, Result, host, libraries, qemu};

/// A machine that boots a kernel, runs one command as root, and is gone.
#[derive(Clone, Debug)]
pub struct Vm {
    kernel: Kernel,
    cpus: u32,
    memory_mib: u32,
    count_instructions: bool,
    modules: Vec<String>,
    tools: Vec<String>,
    files: Vec<(PathBuf, PathBuf)>,
    binaries: Vec<(PathBuf, PathBuf)>,
    environment: Vec<(String, String)>,
    command: Vec<String>,
    timeout: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Kernel modules that every machine loads.
const MODULES: [&str; 2] = ["veth", "tun"];
/// Programs of the host that every machine has; Debian's packages of them are those that `cargo xtask
/// packages` installs.
const TOOLS: [&str; 13] = [
    "bash",
    "bpftool",
    "busybox",
    "ethtool",
    "ip",
    "ping",
    "sh",
    "strace",
    "unshare",
    "xdp-bench",
    "xdp-filter",
    "xdp-loader",
    "xdp-monitor",
];
/// Where [`Vm::binary`] puts its files.
const BINARIES: &str = "/usr/local/bin";
/// Files of the host that programs read and machines have none of their own of.
const SETTINGS: [&str; 5] = [
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/iproute2",
];

impl Vm {
    /// A machine with this kernel, two processors and 1.5 GiB of memory.
    pub fn new(kernel: &Kernel) -> Self {
        Self {
            kernel: kernel.clone(),
            cpus: 2,
            memory_mib: 1536,
            count_instructions: false,
            modules: MODULES.map(str::to_owned).into(),
            tools: TOOLS.map(str::to_owned).into(),
            files: Vec::new(),
            binaries: Vec::new(),
            environment: Vec::new(),
            command: Vec::new(),
            timeout: Duration::from_secs(600),
        }
    }

    /// Gives it so many processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Gives it so much memory; the files that it carries take their part of that.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Lets its clock advance by one nanosecond an instruction, on one processor: what takes so many
    /// nanoseconds in it is so many instructions long, in every run and on every host.
    #[must_use]
    pub fn count_instructions(mut self) -> Self {
        self.count_instructions = true;
        self.cpus(1)
    }

    /// Loads one more kernel module, and what it depends on.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Carries one more program of the host's PATH, to the guest's PATH.
    #[must_use]
    pub fn tool(mut self, name: &str) -> Self {
        self.tools.push(name.to_owned());
        self
    }

    /// Carries a file, or a folder with all that is in it. Programs are found out by themselves: the
    /// shared libraries that they need are carried too.
    #[must_use]
    pub fn file(mut self, host: &Path, guest: impl AsRef<Path>) -> Self {
        let files = (host.to_owned(), guest.as_ref().to_owned());
        self.files.push(files);
        self
    }

    /// Carries a program to the guest's PATH, without its debug information.
    #[must_use]
    pub fn binary(self, host: &Path) -> Self {
        let name = host.file_name().unwrap_or(OsStr::new("binary")).to_owned();
        self.binary_at(host, Path::new(BINARIES).join(name))
    }

    /// Carries a program to a place in the guest, without its debug information.
    #[must_use]
    pub fn binary_at(mut self, host: &Path, guest: impl AsRef<Path>) -> Self {
        let binary = (host.to_owned(), guest.as_ref().to_owned());
        self.binaries.push(binary);
        self
    }

    /// Sets a variable of the command's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What to run: a program of the guest's PATH, and its arguments.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// Stops it when it has run so long. The default is ten minutes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the command; its output is ours, as it comes.
    pub fn status(&self) -> Result<Exit> {
        self.run(&mut io::stdout(), &mut io::stderr())
    }

    /// Runs the command and returns what it printed.
    pub fn output(&self) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = self.run(&mut stdout, &mut stderr)?;
        Ok(Output {
            exit,
            stdout,
            stderr,
        })
    }

    /// Runs the command; its output is written to these as it comes.
    pub fn run(
        &self,
        stdout: &mut (impl Write + Send),
        stderr: &mut (impl Write + Send),
    ) -> Result<Exit> {
        let disk = self.disk(false)?;
        let ended = qemu::run(&self.hardware(), &disk, self.timeout, stdout, stderr)?;
        self.exit(&ended)
    }

    /// Runs the command on this process's terminal, however long.
    pub fn interactive(&self) -> Result<Exit> {
        let disk = self.disk(true)?;
        let ended = qemu::interact(&self.hardware(), &disk)?;
        self.exit(&ended)
    }

    fn hardware(&self) -> qemu::Hardware<'_> {
        qemu::Hardware {
            kernel: self.kernel.image(),
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            count_instructions: self.count_instructions,
        }
    }

    /// Judges what the machine did; keeps its console if that was wrong.
    fn exit(&self, ended: &qemu::Ended) -> Result<Exit> {
        let problem = match (ended.panic(), &ended.report) {
            (Some(line), _) => Problem::Panicked(line),
            (None, Some(Report::Ended(exit))) if !ended.timed_out => return Ok(*exit),
            (None, Some(Report::Failed(message))) => Problem::Init(message.clone()),
            (None, _) if ended.timed_out => Problem::TimedOut(self.timeout.as_secs()),
            (None, _) => Problem::NoReport(ended.status),
        };
        let console = ended.keep_console(&self.kernel.label())?;
        Err(Error::Guest { problem, console })
    }

    fn disk(&self, terminal: bool) -> Result<fs::File> {
        let mut disk = Disk::default();
        self.lay_out(&mut disk, terminal)?;
        self.carry_modules(&mut disk)?;
        self.carry_programs(&mut disk)?;
        let cache = host::cache();
        fs::create_dir_all(&cache).map_err(Error::at(cache.display()))?;
        disk.archive(&cache)
    }

    /// Folders, settings, orders.
    fn lay_out(&self, disk: &mut Disk, terminal: bool) -> Result<()> {
        for folder in [
            "/usr/bin",
            "/usr/sbin",
            "/usr/lib",
            "/usr/lib64",
            "/dev",
            "/proc",
            "/root",
            "/run",
            "/sys",
            "/tmp",
            "/var/tmp",
        ] {
            disk.folder(folder);
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            disk.link(Path::new("/").join(name), Path::new("usr").join(name));
        }
        disk.link("/var/run", "/run");
        for path in SETTINGS {
            if Path::new(path).exists() {
                disk.host(path, Path::new(path))?;
            }
        }
        let orders = Path::new(orders::FOLDER);
        let command = self.command.iter().map(String::as_str);
        disk.bytes(orders.join(orders::COMMAND), orders::to_words(command));
        let variables: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let variables = orders::to_words(variables.iter().map(String::as_str));
        disk.bytes(orders.join(orders::ENVIRONMENT), variables);
        if terminal {
            disk.bytes(orders.join(orders::TERMINAL), "");
        }
        Ok(())
    }

    fn carry_modules(&self, disk: &mut Disk) -> Result<()> {
        let folder = Path::new(orders::FOLDER).join(orders::MODULES);
        disk.folder(&folder);
        let Some(modules) = self.kernel.modules()? else {
            return Ok(());
        };
        for (index, module) in modules.closure(&self.modules)?.into_iter().enumerate() {
            let file = format!("{index:03}-{}.ko", module.name);
            disk.bytes(folder.join(file), module.bytes);
        }
        Ok(())
    }

    /// The first process, tools, what the user gave, and everything's libraries.
    fn carry_programs(&self, disk: &mut Disk) -> Result<()> {
        disk.program("/init", &init()?);
        for tool in &self.tools {
            let file = host::find(tool)?;
            disk.host(Path::new("/usr/bin").join(tool), &file)?;
        }
        for (host, guest) in &self.files {
            disk.host(guest, host)?;
        }
        for (host, guest) in &self.binaries {
            disk.program(guest, host);
        }
        // Debian's xdp-tools load their programs from here.
        let objects = format!("/usr/lib/{}-linux-gnu/bpf", std::env::consts::ARCH);
        if Path::new(&objects).is_dir() {
            disk.host(&objects, Path::new(&objects))?;
        }
        let programs: Vec<PathBuf> = disk.host_files().map(Path::to_owned).collect();
        for library in libraries::of(programs.iter().map(PathBuf::as_path))? {
            // Folders may be links on the host; libraries are opened by their own name.
            let place = library.parent().unwrap_or(Path::new("/"));
            let place = fs::canonicalize(place).map_err(Error::at(place.display()))?;
            let place = place.join(library.file_name().unwrap_or_default());
            if !disk.has(&place) {
                disk.host(&place, &library)?;
            }
        }
        Ok(())
    }
}

/// The guest's first process: `vm-init`, which cargo puts beside the program that runs.
fn init() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(Error::at("this program"))?;
    let init = program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("vm-init"))
        .find(|file| file.is_file());
    init.ok_or_else(|| Error::NoProgram(format!("vm-init beside {}", program.display())))
}
