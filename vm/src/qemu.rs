//! QEMU: starts it, listens to its serial ports, ends it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::orders::Report;
use crate::{Error, Result, host};

/// What the machine is made of.
pub(crate) struct Hardware<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) count_instructions: bool,
}

/// What a machine did.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) timed_out: bool,
    pub(crate) report: Option<Report>,
    console: Vec<u8>,
}

const PROGRAM: &str = "qemu-system-x86_64";
/// How often it is looked whether QEMU still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Interrupt lines of the four serial ports. The usual ones are shared by two each, which loses
/// interrupts.
const PORTS: [(&str, u32, u32); 4] = [
    ("console", 0x3f8, 4),
    ("output", 0x2f8, 3),
    ("errors", 0x3e8, 5),
    ("report", 0x2e8, 7),
];

impl Ended {
    /// What the kernel said when it panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        let console = String::from_utf8_lossy(&self.console);
        let line = console.lines().find(|line| {
            let marks = ["Kernel panic - not syncing", "Oops: "];
            marks.iter().any(|mark| line.contains(mark))
        });
        line.map(|line| line.trim().to_owned())
    }

    /// Writes the console log where it stays.
    pub(crate) fn keep_console(&self, label: &str) -> Result<PathBuf> {
        let folder = host::cache();
        fs::create_dir_all(&folder).map_err(Error::at(folder.display()))?;
        let path = folder.join(format!("console-{label}-{}.log", std::process::id()));
        fs::write(&path, &self.console).map_err(Error::at(path.display()))?;
        Ok(path)
    }
}

/// Runs a machine; the command's output goes to these as it comes.
pub(crate) fn run(
    hardware: &Hardware<'_>,
    disk: &File,
    timeout: Duration,
    stdout: &mut (impl Write + Send),
    stderr: &mut (impl Write + Send),
) -> Result<Ended> {
    let mut command = command(hardware, disk);
    command.stdin(Stdio::null());
    let (mut child, [console, output, errors, report]) =
        start(&mut command, ["console", "output", "errors", "report"])?;
    thread::scope(|scope| {
        let console = scope.spawn(|| collect(console));
        let report = scope.spawn(|| collect(report));
        let output = scope.spawn(|| forward(output, stdout));
        let errors = scope.spawn(|| forward(errors, stderr));
        let waited = wait(&mut child, Some(timeout));
        let ended =
            |collected: thread::ScopedJoinHandle<'_, Vec<u8>>| collected.join().unwrap_or_default();
        let (console, report) = (ended(console), ended(report));
        for forwarded in [output, errors] {
            forwarded
                .join()
                .unwrap_or(Ok(()))
                .map_err(Error::at("the command's output"))?;
        }
        let (status, timed_out) = waited?;
        Ok(Ended {
            status,
            timed_out,
            report: Report::from_line(&String::from_utf8_lossy(&report)),
            console,
        })
    })
}

/// Runs a machine whose command has our terminal.
pub(crate) fn interact(hardware: &Hardware<'_>, disk: &File) -> Result<Ended> {
    let mut command = command(hardware, disk);
    // Keys that make signals are the guest's.
    command.args(["-chardev", "stdio,id=output,signal=off"]);
    command.args(["-chardev", "null,id=errors"]);
    let (mut child, [console, report]) = start(&mut command, ["console", "report"])?;
    thread::scope(|scope| {
        let console = scope.spawn(|| collect(console));
        let report = collect(report);
        let (status, timed_out) = wait(&mut child, None)?;
        Ok(Ended {
            status,
            timed_out,
            report: Report::from_line(&String::from_utf8_lossy(&report)),
            console: console.join().unwrap_or_default(),
        })
    })
}

/// QEMU's command line, without what is behind the serial ports.
fn command(hardware: &Hardware<'_>, disk: &File) -> Command {
    // The kernel ends QEMU when this program ends, however that happens.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", PROGRAM]);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    ]);
    command.args(["-machine", "pc", "-cpu", "max"]);
    command.args(["-m", &hardware.memory_mib.to_string()]);
    command.args(["-smp", &hardware.cpus.to_string()]);
    // One thread takes turns at the processors. With a thread each, a processor can meet code while
    // another one patches it, which no real processor does: a kernel that changed its XDP dispatcher
    // under packets panicked at a breakpoint that it had just taken away.
    if hardware.count_instructions {
        command.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
    } else {
        command.args(["-accel", "tcg,thread=single"]);
    }
    command.arg("-kernel").arg(hardware.kernel);
    // The file has no name of its own.
    let disk = format!("/proc/{}/fd/{}", std::process::id(), disk.as_raw_fd());
    command.args(["-initrd", &disk]);
    // Programs at the same addresses in every process are translated once, which halves the time.
    // A timer that comes late, because the host is busy, is not a broken one.
    let line = "console=ttyS0 panic=-1 oops=panic norandmaps no_timer_check";
    command.args(["-append", line]);
    for (name, base, interrupt) in PORTS {
        let port = format!("isa-serial,chardev={name},iobase={base:#x},irq={interrupt}");
        command.args(["-device", &port]);
    }
    command
}

/// Starts QEMU with one end of a socket as each of these character devices; returns the others.
fn start<const N: usize>(
    command: &mut Command,
    devices: [&str; N],
) -> Result<(Child, [UnixStream; N])> {
    // Descriptors that are to be inherited are inherited by every process that starts meanwhile.
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    host::find(PROGRAM)?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for device in devices {
        let (our, their) = UnixStream::pair().map_err(Error::at("a socket"))?;
        let inherited = fcntl(their.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()));
        inherited.map_err(|error| Error::at("a socket")(error.into()))?;
        let device = format!("socket,id={device},fd={}", their.as_raw_fd());
        command.args(["-chardev", &device]);
        ours.push(our);
        theirs.push(their);
    }
    let child = command.spawn().map_err(Error::at(PROGRAM))?;
    drop(theirs);
    let ours = ours.try_into();
    Ok((
        child,
        ours.unwrap_or_else(|_| unreachable!("one for each device")),
    ))
}

/// Waits until QEMU ends; makes it end when the time is over.
fn wait(child: &mut Child, timeout: Option<Duration>) -> Result<(ExitStatus, bool)> {
    let start = Instant::now();
    let timed_out = |now: Instant| timeout.is_some_and(|timeout| now - start >= timeout);
    loop {
        if let Some(status) = child.try_wait().map_err(Error::at(PROGRAM))? {
            return Ok((status, false));
        }
        if timed_out(Instant::now()) {
            child.kill().map_err(Error::at(PROGRAM))?;
            return Ok((child.wait().map_err(Error::at(PROGRAM))?, true));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Everything that comes. A machine that ends resets the connection: what came before counts.
fn collect(mut port: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = port.read_to_end(&mut bytes);
    bytes
}

/// Writes everything that comes, as it comes.
fn forward(mut port: UnixStream, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match port.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                to.write_all(&buffer[..length])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
