//! The guest's first process: prepares what programs expect of a system, runs the command, reports
//! how it ended, and switches the machine off.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use vm::Exit;
use vm::orders::{self, Report};

/// File system, where it is mounted, options.
const MOUNTS: [(&str, &str, &str); 11] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "ptmxmode=666"),
    ("tmpfs", "/dev/shm", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
];

const ENVIRONMENT: [(&str, &str); 3] = [("PATH", vm::PATH), ("HOME", "/root"), ("TERM", "linux")];

fn main() {
    // Anywhere else, this would mount over the system's folders and switch it off.
    if std::process::id() != 1 {
        eprintln!("vm-init is a guest's first process; `cargo xtask vm` starts it");
        std::process::exit(2);
    }
    let report = match prepare().and_then(|()| command()) {
        Ok(exit) => Report::Ended(exit),
        Err(error) => Report::Failed(error.to_string()),
    };
    if let Err(error) = tell(&report) {
        eprintln!("vm-init: {}: {error}", orders::REPORT_PORT);
    }
    // Without a power switch, the kernel panics when its first process ends.
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn prepare() -> io::Result<()> {
    for (kind, place, options) in MOUNTS {
        if !Path::new(place).exists() {
            fs::create_dir_all(place).map_err(at(place))?;
        }
        match mount(
            Some(kind),
            place,
            Some(kind),
            MsFlags::empty(),
            Some(options),
        ) {
            // This kernel has none.
            Ok(()) | Err(Errno::ENODEV) => {}
            Err(error) => return Err(at(place)(error.into())),
        }
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, link).map_err(at(link))?;
    }
    load_modules()?;
    link_applets()?;
    output("/usr/bin/ip", &["link", "set", "lo", "up"]).map(drop)
}

fn load_modules() -> io::Result<()> {
    let folder = Path::new(orders::FOLDER).join(orders::MODULES);
    let mut modules: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    modules.sort();
    for module in modules {
        let loaded = finit_module(File::open(&module)?, c"", ModuleInitFlags::empty());
        loaded.map_err(|error| at(&module.display().to_string())(error.into()))?;
        fs::remove_file(module)?;
    }
    Ok(())
}

/// Makes busybox be every program that it can be and that was not carried itself.
fn link_applets() -> io::Result<()> {
    let busybox = "/usr/bin/busybox";
    for applet in output(busybox, &["--list"])?.lines() {
        let link = Path::new("/usr/bin").join(applet);
        if !link.exists() {
            symlink(busybox, &link).map_err(at(applet))?;
        }
    }
    Ok(())
}

fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(at(program))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(format!("{program}: {}", output.status)))
}

/// Runs the command to its end.
fn command() -> io::Result<Exit> {
    let words = orders::read_words(orders::COMMAND)?;
    let [program, arguments @ ..] = &words[..] else {
        return Err(io::Error::other("there is no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT);
    for variable in orders::read_words(orders::ENVIRONMENT)? {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        command.env(name, value);
    }
    let output = port(orders::OUTPUT_PORT)?;
    let is_terminal = Path::new(orders::FOLDER).join(orders::TERMINAL).exists();
    if is_terminal {
        command
            .stdin(output.try_clone()?)
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?);
    } else {
        make_raw(&output)?;
        let errors = port(orders::ERROR_PORT)?;
        make_raw(&errors)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(errors.try_clone()?);
    }
    let child = command.spawn().map_err(at(&words[0]))?;
    let exit = wait_for(child.id())?;
    // A terminal hangs up when its session ends.
    if !is_terminal {
        tcdrain(&output)?;
    }
    Ok(exit)
}

/// Waits for the command, and for every process that has lost its parent meanwhile.
fn wait_for(child: u32) -> io::Result<Exit> {
    let is_child = |pid: Pid| u32::try_from(pid.as_raw()) == Ok(child);
    loop {
        let status = wait()?;
        if !status.pid().is_some_and(is_child) {
            continue;
        }
        if let WaitStatus::Exited(_, code) = status {
            return Ok(Exit::Code(code));
        }
        if let WaitStatus::Signaled(_, signal, _) = status {
            return Ok(Exit::Signal(signal as i32));
        }
    }
}

fn tell(report: &Report) -> io::Result<()> {
    let mut port = port(orders::REPORT_PORT)?;
    make_raw(&port)?;
    port.write_all(report.to_line().as_bytes())?;
    Ok(tcdrain(&port)?)
}

fn port(path: &str) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(at(path))
}

/// Bytes go through a serial port as they are.
fn make_raw(port: &File) -> io::Result<()> {
    let mut settings = tcgetattr(port)?;
    cfmakeraw(&mut settings);
    Ok(tcsetattr(port, SetArg::TCSANOW, &settings)?)
}

/// For `map_err`: says where it was.
fn at(place: &str) -> impl FnOnce(io::Error) -> io::Error {
    let place = place.to_owned();
    move |error| io::Error::new(error.kind(), format!("{place}: {error}"))
}
