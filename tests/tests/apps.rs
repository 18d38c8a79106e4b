//! The applications `stats` and `firewall`, as a user runs them.

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
use tests::{DEADLINE, Output, Packets, Rig, Tap, binary, frame, wait_until};

const UDP: u8 = 17;
const TCP: u8 = 6;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_counts_every_frame_and_shows_every_slot() {
    const FRAMES: u64 = 500;
    let rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.chain().order() == ["stats", "firewall"]
    });
    let tap = Tap::on(&rig.pair.far);
    let passed = ipv4([198, 51, 100, 1], UDP, 53, 200);
    let dropped = ipv4([192, 0, 2, 1], UDP, 53, 100);
    for _ in 0..FRAMES {
        tap.send(&passed);
        tap.send(&dropped);
    }
    let report = stats.report_where(|report| {
        report["total"]["packets"] == 2 * FRAMES
            && report["members"][1]["packets"]["pass"] == FRAMES
            && report["members"][1]["packets"]["drop"] == FRAMES
    });
    let udp = protocol(&report, "ipv4-udp");
    assert_eq!(udp["packets"], 2 * FRAMES);
    assert_eq!(udp["bytes"], FRAMES * 300);
    assert_eq!(report["total"]["bytes"], FRAMES * 300);
    assert_eq!(report["interface"], "xd0");
    let [first, second] = [&report["members"][0], &report["members"][1]];
    assert_eq!(
        (&first["name"], &first["slot"]),
        (&"stats".into(), &0.into())
    );
    assert_eq!(first["priority"], 10);
    assert_eq!(first["packets"]["pass"], 2 * FRAMES);
    assert_eq!(
        (&second["name"], &second["slot"]),
        (&"firewall".into(), &1.into())
    );
    assert_eq!(second["priority"], 20);
    let observer = &rig.chain().members[0];
    assert_eq!(observer.allowed, ["pass"], "it can't drop");

    assert_ended(stats.end(Signal::SIGTERM));
    assert_eq!(rig.chain().order(), ["firewall"]);
    assert_ended(firewall.app.end(Signal::SIGINT));
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_tells_protocols_apart() {
    let rig = Rig::new();
    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.try_chain().is_some()
    });
    let tap = Tap::on(&rig.pair.far);
    let source = [10, 0, 0, 1];
    let mut arp = frame(60);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let sent: [(&str, Vec<u8>); 10] = [
        ("arp", arp),
        ("ipv4-icmp", ipv4(source, 1, 0, 60)),
        ("ipv4-tcp", ipv4(source, TCP, 80, 61)),
        ("ipv4-udp", ipv4(source, UDP, 53, 62)),
        ("ipv4-other", ipv4(source, 47, 0, 63)),
        ("ipv6-icmp", ipv6(1, 58, 0, 80)),
        ("ipv6-tcp", ipv6(1, TCP, 80, 81)),
        ("ipv6-udp", ipv6(1, UDP, 53, 82)),
        ("ipv6-other", ipv6(1, 0, 0, 83)),
        ("other", frame(64)),
    ];
    for (times, (_, frame)) in sent.iter().enumerate() {
        for _ in 0..=times {
            tap.send(frame);
        }
    }
    let report = stats.report_where(|report| report["total"]["packets"] == 55);
    for (times, (name, frame)) in sent.iter().enumerate() {
        let line = protocol(&report, name);
        assert_eq!(line["packets"], times + 1, "{name}");
        assert_eq!(line["bytes"], (times + 1) * frame.len(), "{name}");
    }
    assert_ended(stats.end(Signal::SIGINT));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_prints_once_and_leaves() {
    let rig = Rig::new();
    let output = run(&rig, "stats", &["xd0", "--once", "--interval", "0.05"]);
    let text = &output.done().stdout;
    assert!(text.starts_with("xd0, 0."), "{output}");
    assert!(
        text.contains("\ntotal ") && text.contains("\nstats "),
        "{output}"
    );
    let output = run(
        &rig,
        "stats",
        &["xd0", "--once", "--json", "--interval", "0.05"],
    );
    assert_eq!(output.done().stdout.lines().count(), 1, "{output}");
    assert_eq!(output.json()["members"][0]["name"], "stats");
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_prefix_is_blocked_and_unblocked_while_the_firewall_runs() {
    let rig = Rig::new();
    let rules = Rules::new("# nothing yet\n");
    let firewall = Firewall::start(&rig, &rules);
    assert_eq!(firewall.started, "firewall on xd0: slot 0, 0 rules");
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    let other = ipv4([192, 0, 3, 7], UDP, 53, 64);
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);

    let id = rig.chain().member("firewall").program_id;
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\n",
        "1 added, 0 removed, 1 in force",
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);
    assert_eq!(fate(&rig, &tap, &other), Fate::Pass);
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\nallow 192.0.2.7\n",
        "1 added, 0 removed, 2 in force",
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    firewall.change(&rules, "", "0 added, 2 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_eq!(rig.chain().member("firewall").program_id, id);

    let (status, said) = firewall.end();
    assert_ended(status);
    let last = said.last().expect("it says what became of packets");
    assert_eq!(
        last,
        "firewall on xd0: removed, 4 allowed, 1 denied, 0 malformed, 0 not-ip"
    );
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_documented_precedence_decides() {
    let rig = Rig::new();
    let rules = Rules::new(
        "default deny\n\
         allow 10.0.0.0/8\n\
         deny  10.0.0.0/8 udp\n\
         allow 10.0.0.0/8 udp port 53\n\
         deny  10.1.0.0/16\n\
         allow 10.1.0.0/16 tcp port 22\n\
         allow tcp port 443\n\
         allow 2001:db8::/64\n\
         deny  2001:db8::2 udp\n\
         deny  0.0.0.0/0 icmp\n\
         allow any icmpv6\n",
    );
    let firewall = Firewall::start(&rig, &rules);
    assert_eq!(firewall.started, "firewall on xd0: slot 0, 10 rules");
    let tap = Tap::on(&rig.pair.far);
    let expected = [
        (ipv4([10, 2, 0, 1], TCP, 1, 64), Fate::Pass),
        (ipv4([10, 2, 0, 1], UDP, 1, 64), Fate::Drop),
        (ipv4([10, 2, 0, 1], UDP, 53, 64), Fate::Pass),
        (ipv4([10, 2, 0, 1], 1, 0, 64), Fate::Pass), // the longer prefix wins
        (ipv4([10, 1, 0, 1], TCP, 443, 64), Fate::Drop),
        (ipv4([10, 1, 0, 1], UDP, 53, 64), Fate::Drop),
        (ipv4([10, 1, 0, 1], TCP, 22, 64), Fate::Pass),
        (ipv4([11, 0, 0, 1], TCP, 443, 64), Fate::Pass),
        (ipv4([11, 0, 0, 1], TCP, 444, 64), Fate::Drop),
        (ipv4([11, 0, 0, 1], UDP, 443, 64), Fate::Drop),
        (ipv4([11, 0, 0, 1], 1, 0, 64), Fate::Drop),
        (ipv6(1, UDP, 9, 80), Fate::Pass),
        (ipv6(2, UDP, 9, 80), Fate::Drop),
        (ipv6(2, TCP, 9, 80), Fate::Pass),
        (ipv6_elsewhere(TCP, 443), Fate::Pass),
        (ipv6_elsewhere(TCP, 80), Fate::Drop),
        (ipv6_elsewhere(58, 0), Fate::Pass),
        (frame(64), Fate::Pass), // neither IPv4 nor IPv6
    ];
    for (index, (frame, expected)) in expected.iter().enumerate() {
        assert_eq!(fate(&rig, &tap, frame), *expected, "packet {index}");
    }
    firewall.change(
        &rules,
        "default allow\n",
        "0 added, 10 removed, 0 in force, default now allow",
    );
    for (index, (frame, _)) in expected.iter().enumerate() {
        assert_eq!(fate(&rig, &tap, frame), Fate::Pass, "packet {index}");
    }
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn no_packet_meets_a_moment_without_rules() {
    // The same packets, allowed by one rule or another: none may meet the default.
    let ways = [
        "default deny\nallow 10.0.0.0/8\n",
        "default deny\nallow 10.1.2.3\ndeny 10.0.0.0/8\n",
        "deny any\nallow 10.1.2.3 udp port 53\ndeny 10.1.2.3\ndeny 10.1.2.3 udp\n",
        "default deny\nallow 10.1.2.0/24 udp\ndeny 10.1.2.0/24\nallow 10.0.0.0/8 tcp\n",
    ];
    let rig = Rig::new();
    let rules = Rules::new(ways[0]);
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let packet = ipv4([10, 1, 2, 3], UDP, 53, 64);
    let (stop, stopped) = channel::<()>();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            let stopped = stopped;
            while stopped.try_recv().is_err() {
                tap.send(&packet);
                sent += 1;
            }
            sent
        });
        for round in 0..6 {
            for (index, way) in ways.iter().enumerate().skip(usize::from(round == 0)) {
                rules.write(way);
                firewall.app.signal(Signal::SIGHUP);
                let line = firewall.app.line();
                assert!(line.contains(" in force"), "way {index}: {line}");
            }
        }
        stop.send(())
            .expect("the sender goes on until it is stopped");
        sender.join().expect("packets can be sent")
    });
    assert!(sent > 1000, "packets flowed: {sent}");
    let mut packets = Packets::default();
    wait_until("every packet is judged", DEADLINE, || {
        packets = rig.chain().member("firewall").packets;
        packets.total() == sent
    });
    assert_eq!((packets.pass, packets.drop), (sent, 0));
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_file_with_errors_changes_nothing() {
    let rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    let path = rules.path.display();

    firewall.change(
        &rules,
        "allow 192.0.2.7\ndeny 10.0.0.1/8\ndeny tcp port x\n",
        "2 errors, nothing changed, 1 in force",
    );
    let errors = firewall.app.errors();
    let expected = format!("{path}:3:15: expected a port number from 0 to 65535, found `x`");
    assert!(errors.contains(&expected), "{errors}");
    assert!(errors.contains(&format!("{path}:2:6: ")), "{errors}");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);

    fs::remove_file(&rules.path).expect("the file is there");
    let line = firewall.app.line();
    assert_eq!(
        line,
        format!("{path}: 1 error, nothing changed, 1 in force")
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);

    firewall.change(&rules, "", "0 added, 1 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn many_rules_are_loaded_and_changed() {
    // More than the tries hold if nobody says otherwise.
    const ADDRESSES: u32 = 263_000;
    let rig = Rig::new();
    let lines: Vec<String> = (0..ADDRESSES)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            format!("deny 10.{a}.{b}.{c}\n")
        })
        .collect();
    let mut text = lines.concat();
    let rules = Rules::new(&text);
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    assert_eq!(
        firewall.started,
        format!("firewall on xd0: slot 0, {ADDRESSES} rules")
    );
    let listed = ipv4([10, 1, 2, 3], UDP, 9, 64);
    let other = ipv4([10, 9, 2, 3], UDP, 9, 64);
    assert_eq!(fate(&rig, &tap, &listed), Fate::Drop);
    assert_eq!(fate(&rig, &tap, &other), Fate::Pass);
    text += "deny 10.9.2.3\n";
    let in_force = format!("1 added, 0 removed, {} in force", ADDRESSES + 1);
    firewall.change(&rules, &text, &in_force);
    assert_eq!(fate(&rig, &tap, &other), Fate::Drop);
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_wrong_is_said_with_its_exit_code() {
    let rig = Rig::new();
    let rules = Rules::new("default deny\n");
    let path = rules.path.to_str().expect("a path is text");
    for (app, arguments) in [("stats", vec!["xd9"]), ("firewall", vec!["xd9", path])] {
        run(&rig, app, &arguments).refused(&[app, "xd9"]);
        let elsewhere = [&arguments[..], &["--socket", "/nowhere"]].concat();
        let output = run(&rig, app, &elsewhere);
        assert_eq!(output.code, Some(3), "{output}");
        assert!(output.stderr.contains("/nowhere"), "{output}");
        assert_eq!(run(&rig, app, &["--nonsense"]).code, Some(2));
        assert_eq!(run(&rig, app, &[]).code, Some(2));
    }
    let output = run(&rig, "stats", &["xd0", "--interval", "0"]);
    assert_eq!(output.code, Some(2), "{output}");

    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.try_chain().is_some()
    });
    run(&rig, "stats", &["xd0"]).refused(&["xd0", "stats"]);
    rig.ctl("unload", &["stats"]).done();
    let (status, errors) = stats.wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("no longer registered on xd0"), "{errors}");

    let checked = run(&rig, "firewall", &["xd0", path, "--check"]);
    assert_eq!(
        checked.done().stdout,
        format!("{path}: 0 rules, default deny\n")
    );
    rules.write("default drop\nallow\n");
    for arguments in [vec!["xd0", path, "--check"], vec!["xd0", path]] {
        let output = run(&rig, "firewall", &arguments);
        output.refused(&[&format!("{path}:1:9: "), &format!("{path}:2:6: ")]);
    }
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_firewall_filters_on_while_the_daemon_is_exchanged() {
    let mut rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    rig.daemon.kill();
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\ndeny 192.0.3.0/24\n",
        "1 added, 0 removed, 2 in force",
    );
    rig.daemon.restart();
    wait_until("the member is claimed again", DEADLINE, || {
        rig.chain().member("firewall").state == "running"
    });
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);
    firewall.change(&rules, "", "0 added, 2 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_ended(firewall.end().0);
    assert!(rig.try_chain().is_none(), "nothing is left");
}

/// What became of a packet in the firewall's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
}

/// Sends one packet and waits until the firewall has judged it.
fn fate(rig: &Rig, tap: &Tap, frame: &[u8]) -> Fate {
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
struct Rules {
    path: PathBuf,
    _directory: TempDir,
}

impl Rules {
    fn new(text: &str) -> Self {
        let directory = TempDir::with_prefix("xdt-rules-").expect("a directory can be made");
        let rules = Self {
            path: directory.path().join("rules.txt"),
            _directory: directory,
        };
        rules.write(text);
        rules
    }

    /// Exchanges the file, as editors do: nobody sees half of it.
    fn write(&self, text: &str) {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, text).expect("a file can be written");
        fs::rename(&fresh, &self.path).expect("a file can be renamed");
    }
}

/// A running firewall.
struct Firewall {
    app: App,
    /// Its first line.
    started: String,
}

impl Firewall {
    fn start(rig: &Rig, rules: &Rules) -> Self {
        let path = rules.path.to_str().expect("a path is text");
        let app = App::start(rig, "firewall", &["xd0", path]);
        let started = app.line();
        Self { app, started }
    }

    /// Writes the file and waits until the firewall says this of it.
    #[track_caller]
    fn change(&self, rules: &Rules, text: &str, said: &str) {
        rules.write(text);
        let line = self.app.line();
        assert_eq!(line, format!("{}: {said}", rules.path.display()));
    }

    /// How it ended, and what it said at last.
    fn end(self) -> (ExitStatus, Vec<String>) {
        let Self { app, .. } = self;
        app.signal(Signal::SIGTERM);
        let said = app.lines.iter().collect(); // until it closes its output
        (app.wait().0, said)
    }
}

/// A running application.
struct App {
    child: Option<Child>,
    lines: Receiver<String>,
    directory: TempDir,
}

impl App {
    fn start(rig: &Rig, name: &str, arguments: &[&str]) -> Self {
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
    fn line(&self) -> String {
        let line = self.lines.recv_timeout(2 * DEADLINE);
        line.unwrap_or_else(|error| panic!("no line: {error}: {}", self.errors()))
    }

    /// The first report of stats that is like this.
    fn report_where(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let line = self.line();
            let report = serde_json::from_str(&line).expect("a line is a document");
            if wanted(&report) {
                return report;
            }
            assert!(start.elapsed() < DEADLINE, "at last: {line}");
        }
    }

    /// What it wrote to standard error.
    fn errors(&self) -> String {
        fs::read_to_string(errors(self.directory.path())).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = i32::try_from(child.id()).expect("a pid is positive");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    fn end(self, signal: Signal) -> ExitStatus {
        let start = Instant::now();
        self.signal(signal);
        let (status, errors) = self.wait();
        assert!(start.elapsed() < Duration::from_secs(2), "it took its time");
        assert_eq!(errors, "");
        status
    }

    /// Its exit status, when it has ended, and what it wrote to standard error.
    fn wait(mut self) -> (ExitStatus, String) {
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
fn assert_ended(status: ExitStatus) {
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

/// Runs an application to its end, in the namespace of the interface under test.
fn run(rig: &Rig, name: &str, arguments: &[&str]) -> Output {
    let output = rig
        .pair
        .near
        .netns
        .run(|| command(rig, name, arguments).output());
    output.expect("an application can be started").into()
}

fn command(rig: &Rig, name: &str, arguments: &[&str]) -> Command {
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

fn protocol<'a>(report: &'a Value, name: &str) -> &'a Value {
    let lines = report["protocols"].as_array().expect("a list");
    let line = lines.iter().find(|line| line["protocol"] == name);
    line.unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// A frame of this many bytes with an IPv4 packet, whose checksums no XDP program looks at.
fn ipv4(source: [u8; 4], protocol: u8, port: u16, length: usize) -> Vec<u8> {
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
fn ipv6(host: u8, protocol: u8, port: u16, length: usize) -> Vec<u8> {
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
fn ipv6_elsewhere(protocol: u8, port: u16) -> Vec<u8> {
    let mut frame = ipv6(1, protocol, port, 80);
    frame[25] = 0xb9;
    frame
}
