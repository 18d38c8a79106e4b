//! A dispatchd of a test's own.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{BpfFs, Chain, Chains, DEADLINE, Listed, Output, wait_until};

/// A running daemon with its own socket and bpffs. On drop it is terminated, what it pinned is
/// flushed, and its bpffs is unmounted.
pub struct Daemon {
    child: Option<Child>,
    arguments: Vec<String>,
    directory: TempDir,
    bpffs: BpfFs,
    /// Where its binaries are; those of this workspace if that isn't said.
    binaries: Option<PathBuf>,
}

impl Daemon {
    /// Starts one with a new bpffs; returns when it listens.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these further arguments.
    pub fn with(arguments: &[&str]) -> Self {
        Self::of(None, arguments)
    }

    /// Starts one of another version, whose `dispatchd` and `dispatchctl` are in this folder.
    pub fn of_version(folder: &Path) -> Self {
        Self::of(Some(folder.to_owned()), &[])
    }

    /// From its next start on it is this workspace's.
    pub fn upgrade(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.binaries = None;
    }

    fn of(binaries: Option<PathBuf>, arguments: &[&str]) -> Self {
        let directory = TempDir::with_prefix("xdt-daemon-").expect("a directory can be made");
        // Other users may reach the socket, if the daemon lets them.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let mut daemon = Self {
            child: None,
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            directory,
            bpffs: BpfFs::new(),
            binaries,
        };
        daemon.restart();
        daemon
    }

    /// Starts the daemon again, with the same socket, bpffs and arguments; returns when it
    /// listens.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let child = self.command().spawn().expect("the daemon can be started");
        self.child = Some(child);
        let mut ended = None;
        wait_until("the daemon listens", DEADLINE, || {
            let child = self.child.as_mut().expect("it was just started");
            ended = child.try_wait().expect("a child can be waited for");
            ended.is_some() || is_listening(&self.socket())
        });
        if let Some(status) = ended {
            self.child = None;
            panic!("the daemon ended: {status}\n{}", self.log());
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Its bpffs.
    pub fn bpffs(&self) -> &BpfFs {
        &self.bpffs
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// What it wrote to standard error so far, over all its restarts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Asks it to end; returns when it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.end(Signal::SIGTERM)
    }

    /// Sends it a signal and goes on.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a pid is positive");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    /// Runs `dispatchctl` on its socket.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let output = self.ctl_command().args(arguments).output();
        output.expect("dispatchctl can be started").into()
    }

    /// `dispatchctl` on its socket, to be given arguments.
    pub fn ctl_command(&self) -> Command {
        let mut command = Command::new(self.program("dispatchctl"));
        command.env("DISPATCHD_SOCKET", self.socket());
        command
    }

    /// Runs `dispatchd` on its bpffs and socket with these further arguments, to its end.
    pub fn dispatchd(&self, arguments: &[&str]) -> Output {
        let output = Command::new(self.program("dispatchd"))
            .args(self.place())
            .args(arguments)
            .output();
        output.expect("dispatchd can be started").into()
    }

    /// Every chain that it lists and can read.
    pub fn chains(&self) -> Vec<Chain> {
        let chains = self.listed().into_iter().filter_map(|listed| match listed {
            Listed::Chain(chain) => Some(chain),
            Listed::Unreadable(_) => None,
        });
        chains.collect()
    }

    /// Every chain that it lists.
    pub fn listed(&self) -> Vec<Listed> {
        let output = self.ctl(&["list", "--json"]);
        let chains: Chains = serde_json::from_str(&output.done().stdout)
            .unwrap_or_else(|error| panic!("{error}: {output}"));
        chains.chains
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.pid());
        fs::read_dir(directory).expect("root may look").count()
    }

    /// How much memory it takes, in bytes.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let pages = fs::read_to_string(path).expect("root may look");
        let resident = pages
            .split(' ')
            .nth(1)
            .expect("the second is what is resident");
        resident.parse::<u64>().expect("a number") * 4096
    }

    /// The daemon, its log appended to a file.
    fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a file can be made");
        let mut command = Command::new(self.program("dispatchd"));
        command
            .args(self.place())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be copied"))
            .stderr(log);
        command
    }

    fn program(&self, name: &str) -> PathBuf {
        let folder = self.binaries.as_ref();
        folder.map_or_else(|| binary(name), |folder| folder.join(name))
    }

    fn place(&self) -> [PathBuf; 4] {
        [
            "--socket".into(),
            self.socket(),
            "--bpffs".into(),
            self.bpffs.path().to_owned(),
        ]
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn end(&mut self, how: Signal) -> ExitStatus {
        self.signal(how);
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        let mut status = None;
        wait_until("the daemon ends", DEADLINE, || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(writeln!(
                io::stderr(),
                "--- the daemon's log\n{}",
                self.log()
            ));
            if let Some(mut child) = self.child.take() {
                drop(child.kill());
                drop(child.wait());
            }
            self.dispatchd(&["--flush"]);
            return;
        }
        if self.child.is_some() {
            self.terminate();
        }
        self.dispatchd(&["--flush"]).done();
    }
}

/// The path of a binary of this workspace: what `<NAME>_BIN` says, or what cargo built beside this
/// program.
pub fn binary(name: &str) -> PathBuf {
    let variable = format!("{}_BIN", name.to_uppercase().replace('-', "_"));
    if let Some(path) = env::var_os(&variable) {
        return path.into();
    }
    let this = env::current_exe().expect("a process knows its binary");
    // A test is in <profile>/deps, another program in <profile>.
    let folders = this.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: `cargo xtask test` builds it, or `cargo build`")
    })
}

/// What a daemon says that should not be able to start. `prepare` may change how it is started.
pub fn start_failure(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(binary("dispatchd"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut command);
    let mut child = command.spawn().expect("dispatchd can be started");
    wait_until("the daemon gives up", DEADLINE, || {
        child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
    });
    child
        .wait_with_output()
        .expect("its output can be read")
        .into()
}

/// Whether somebody listens on the socket.
fn is_listening(path: &Path) -> bool {
    let Ok(address) = UnixAddr::new(path) else {
        return false;
    };
    let socket = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket can be made");
    connect(socket.as_raw_fd(), &address).is_ok()
}
