//! Applications as a user runs them, and packets for them.
#![allow(dead_code, reason = "each file of tests uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tests::{DEADLINE, Output, Rig, Tap, binary, frame, patience, wait_until};

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// What became of a packet in the firewall's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
}

/// Sends one packet and waits until the firewall has judged it.
pub(crate) fn fate(rig: &Rig, tap: &Tap, frame: &[u8]) -> Fate {
    let packets = || rig.chain().member("firewall").packets;
    let before = packets();
    tap.send(frame);
    let mut after = before;
    wait_until("the packet is judged", DEADLINE, || {
        after = packets();
        after.total() > before.total()
    });
    assert_eq!(after.total(), before.total() + 1);
    if after.drop > before.drop {
        Fate::Drop
    } else {
        Fate::Pass
    }
}

/// A rules file.
pub(crate) struct Rules {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

impl Rules {
    pub(crate) fn new(text: &str) -> Self {
        let directory = TempDir::with_prefix("xdt-rules-").expect("a directory can be made");
        let rules = Self {
            path: directory.path().join("rules.txt"),
            _directory: directory,
        };
        rules.write(text);
        rules
    }

    /// Exchanges the file, as editors do: nobody sees half of it.
    pub(crate) fn write(&self, text: &str) {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, text).expect("a file can be written");
        fs::rename(&fresh, &self.path).expect("a file can be renamed");
    }
}

/// A running firewall.
pub(crate) struct Firewall {
    pub(crate) app: App,
    /// Its first line.
    pub(crate) started: String,
}

impl Firewall {
    pub(crate) fn start(rig: &Rig, rules: &Rules) -> Self {
        let path = rules.path.to_str().expect("a path is text");
        let app = App::start(rig, "firewall", &["xd0", path]);
        let started = app.line();
        Self { app, started }
    }

    /// Writes the file and waits until the firewall says this of it.
    #[track_caller]
    pub(crate) fn change(&self, rules: &Rules, text: &str, said: &str) {
        rules.write(text);
        let line = self.app.line();
        assert_eq!(line, format!("{}: {said}", rules.path.display()));
    }

    /// How it ended, and what it said at last.
    pub(crate) fn end(self) -> (ExitStatus, Vec<String>) {
        let Self { app, .. } = self;
        app.signal(Signal::SIGTERM);
        let said = app.lines.iter().collect(); // until it closes its output
        (app.wait().0, said)
    }
}

/// A running application.
pub(crate) struct App {
    child: Option<Child>,
    pub(crate) lines: Receiver<String>,
    directory: TempDir,
}

impl App {
    pub(crate) fn start(rig: &Rig, name: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::with_prefix("xdt-app-").expect("a directory can be made");
        let errors = fs::File::create(errors(directory.path())).expect("a file can be made");
        let mut child = rig.pair.near.netns.run(|| {
            command(rig, name, arguments)
                .stdout(Stdio::piped())
                .stderr(errors)
                .spawn()
                .expect("an application can be started")
        });
        let stdout = child.stdout.take().expect("it is a pipe");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child: Some(child),
            lines,
            directory,
        }
    }

    /// The next line that it prints.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(patience(2 * DEADLINE));
        line.unwrap_or_else(|error| panic!("no line: {error}: {}", self.errors()))
    }

    /// The first report of stats that is like this.
    pub(crate) fn report_where(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let line = self.line();
            let report = serde_json::from_str(&line).expect("a line is a document");
            if wanted(&report) {
                return report;
            }
            assert!(start.elapsed() < patience(DEADLINE), "at last: {line}");
        }
    }

    /// What it wrote to standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(errors(self.directory.path())).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).expect("a pid is positive");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    pub(crate) fn end(self, signal: Signal) -> ExitStatus {
        let start = Instant::now();
        self.signal(signal);
        let (status, errors) = self.wait();
        let took = start.elapsed();
        assert!(took < patience(Duration::from_secs(2)), "it took {took:?}");
        assert_eq!(errors, "");
        status
    }

    /// Its exit status, when it has ended, and what it wrote to standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut child = self.child.take().expect("it runs");
        let mut status = None;
        wait_until("the application ends", DEADLINE, || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        (status.expect("it was waited for"), self.errors())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[track_caller]
pub(crate) fn assert_ended(status: ExitStatus) {
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

/// Runs an application to its end, in the namespace of the interface under test.
pub(crate) fn run(rig: &Rig, name: &str, arguments: &[&str]) -> Output {
    let output = rig
        .pair
        .near
        .netns
        .run(|| command(rig, name, arguments).output());
    output.expect("an application can be started").into()
}

/// The same, with this on its standard input.
pub(crate) fn run_with(rig: &Rig, name: &str, arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = rig.pair.near.netns.run(|| {
        command(rig, name, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("an application can be started")
    });
    let stdin = child.stdin.take().expect("it is a pipe");
    (&stdin)
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output();
    output.expect("a child can be waited for").into()
}

pub(crate) fn command(rig: &Rig, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary(name));
    command
        .args(arguments)
        .env("DISPATCHD_SOCKET", rig.daemon.socket())
        .stdin(Stdio::null());
    command
}

fn errors(directory: &Path) -> PathBuf {
    directory.join("stderr")
}

/// A frame of this many bytes with an IPv4 packet, whose checksums no XDP program looks at.
pub(crate) fn ipv4(source: [u8; 4], protocol: u8, port: u16, length: usize) -> Vec<u8> {
    let mut frame = frame(length);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    let total = u16::try_from(length - 14).expect("a short frame");
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[22] = 64;
    frame[23] = protocol;
    frame[26..30].copy_from_slice(&source);
    frame[30..34].copy_from_slice(&[10, 99, 0, 1]);
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame
}

/// The same with IPv6, from `2001:db8::<host>`.
pub(crate) fn ipv6(host: u8, protocol: u8, port: u16, length: usize) -> Vec<u8> {
    let mut frame = frame(length);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    let payload = u16::try_from(length - 54).expect("a short frame");
    frame[18..20].copy_from_slice(&payload.to_be_bytes());
    frame[20] = protocol;
    frame[21] = 64;
    frame[22..26].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    frame[37] = host;
    frame[38..42].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    frame[53] = 99;
    frame[56..58].copy_from_slice(&port.to_be_bytes());
    frame
}

/// The same from an address that no rule here names.
pub(crate) fn ipv6_elsewhere(protocol: u8, port: u16) -> Vec<u8> {
    let mut frame = ipv6(1, protocol, port, 80);
    frame[25] = 0xb9;
    frame
}

/// What `firewall list` says.
pub(crate) fn listed(rig: &Rig) -> Value {
    let output: Output = run(rig, "firewall", &["list", "xd0", "--json"]);
    output.json()
}

/// The rules, and how many packets each decided.
pub(crate) fn hits(listed: &Value) -> BTreeMap<String, u64> {
    let rules = listed["rules"].as_array().expect("a list");
    let counted = |rule: &Value| {
        let text = rule["rule"].as_str().expect("text").to_owned();
        (text, rule["hits"].as_u64().expect("a count"))
    };
    rules.iter().map(counted).collect()
}
