//! A daemon that is killed at every one of its bpf(2) calls, in the middle of a change; when it takes a
//! chain away, also wherever it removes a pin.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;

use libdispatch::{Error, Program};
use tests::{DEADLINE, PinnedProgram, Rig, frame, object, some_of, volume, wait_until};

const PASS: u32 = 2;
/// Where a packet's list of the members that it met begins: see `append.c`.
const LIST: usize = 16;
/// More calls than any change here makes.
const CALLS_MAX: usize = 400;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_reorder_that_is_cut_off_leaves_the_old_order_or_the_new() {
    sweep(&[1, 2, 3], |order| {
        let last = format!("m{}", order[2]);
        Change {
            command: ["reorder", &last, "--first"].map(str::to_owned).into(),
            order: vec![order[2], order[0], order[1]],
        }
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_load_or_an_unload_that_is_cut_off_is_done_or_not() {
    sweep(&[1, 2], |order| {
        if order.len() == 3 {
            return Change {
                command: ["unload", "m3"].map(str::to_owned).into(),
                order: vec![1, 2],
            };
        }
        let object = object("append");
        let object = object.to_str().expect("a path is text");
        let arguments = ["load", object, "--name", "m3", "--global", "number=3"];
        Change {
            command: arguments.map(str::to_owned).into(),
            order: vec![1, 2, 3],
        }
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_replacement_that_is_cut_off_leaves_the_old_code_or_the_new() {
    sweep(&[1, 2], |order| {
        let (old, new) = if order[0] == 1 { (1, 7) } else { (7, 1) };
        let object = object("append");
        let object = object.to_str().expect("a path is text");
        let number = format!("number={new}");
        assert_eq!(order, [old, 2]);
        Change {
            command: ["replace", "m1", object, "--global", &number]
                .map(str::to_owned)
                .into(),
            order: vec![new, 2],
        }
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_registration_that_is_cut_off_is_its_own_clients_or_nobodys() {
    let mut rig = Rig::new();
    rig.load("append", "m1", &["--global", "number=1"]);
    let guard = Program::from_file(object("append"))
        .expect("it was compiled")
        .name("guard")
        .global("number", 2);
    let mut cut_off = 0;
    for call in some_of(1..CALLS_MAX) {
        let client = rig.client("owner");
        let strace = kill_at(&rig, "bpf", call);
        let registering = thread::spawn({
            let guard = guard.clone();
            move || client.register("xd0", &guard)
        });
        wait_until("it is registered or cut off", DEADLINE, || {
            registering.is_finished() || is_dead(&rig)
        });
        let was_killed = is_dead(&rig);
        let_go(strace);
        if was_killed {
            rig.daemon.wait();
            rig.daemon.restart();
            cut_off += 1;
        }
        match registering.join().expect("it doesn't panic") {
            Ok(registration) => {
                let chain = rig.chain();
                let member = chain.member("guard");
                assert_eq!(member.id, registration.id(), "killed at call {call}");
                // An answer may come just before the end: then its client claims it again.
                wait_until("its client has it", DEADLINE, || {
                    rig.chain().member("guard").state == "running"
                });
                assert_eq!(packets_meet(&rig), [1, 2]);
                registration.unregister().expect("it is its own");
            }
            // Before it was asked for.
            Err(Error::NotReachable { .. }) => assert_eq!(rig.chain().order(), ["m1"]),
            Err(error) => panic!("killed at call {call}: {error}"),
        }
        assert_nothing_is_left_over(&rig);
        if !was_killed {
            assert!(cut_off > 3, "the registration made only {call} calls");
            return;
        }
    }
    panic!("the daemon was killed at every call up to {CALLS_MAX}");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_that_was_off_its_interface_when_the_daemon_died_does_not_come_back() {
    let mut rig = Rig::new();
    for system_call in ["bpf", "unlink"] {
        let mut cut_off = 0;
        let ends = some_of(1..CALLS_MAX).any(|call| {
            if rig.pair.near.xdp_program().is_none() {
                rig.load("append", "m1", &["--global", "number=1"]);
            }
            let strace = kill_at(&rig, system_call, call);
            let output = rig.ctl("unload", &["--all"]);
            let_go(strace);
            if output.code == Some(0) {
                assert_eq!(rig.pair.near.xdp_program(), None);
                return true;
            }
            cut_off += 1;
            rig.daemon.wait();
            let was_off = rig.pair.near.xdp_program().is_none();
            rig.daemon.restart();
            let is_off = rig.pair.near.xdp_program().is_none();
            assert!(is_off || !was_off, "killed at {system_call} {call}");
            if is_off {
                assert!(!rig.port().pins().exists(), "{system_call} {call}");
            } else {
                assert_eq!(packets_meet(&rig), [1]);
                assert_nothing_is_left_over(&rig);
            }
            false
        });
        assert!(ends, "the daemon was killed at every {system_call}");
        assert!(cut_off >= volume(2), "{cut_off} calls of {system_call}");
    }
}

/// Whether the daemon has ended; nobody has waited for it yet.
fn is_dead(rig: &Rig) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", rig.daemon.pid()));
    status.is_ok_and(|status| status.contains(") Z "))
}

/// A change and the order that it leads to.
struct Change {
    command: Vec<String>,
    order: Vec<u8>,
}

/// Makes a change again and again, the daemon killed at its first call, its second, and so on until
/// it survives; in between the daemon is started again. `change` says what to do next.
fn sweep(members: &[u8], change: impl Fn(&[u8]) -> Change) {
    let mut rig = Rig::new();
    for number in members {
        let global = format!("number={number}");
        rig.load("append", &format!("m{number}"), &["--global", &global]);
    }
    for (cut_off, call) in some_of(1..CALLS_MAX).enumerate() {
        let before = packets_meet(&rig);
        let change = change(&before);
        let strace = kill_at(&rig, "bpf", call);
        let (verb, arguments) = change.command.split_first().expect("it has a verb");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = rig.ctl(verb, &arguments);
        let_go(strace);
        if output.code == Some(0) {
            assert_eq!(packets_meet(&rig), change.order);
            assert!(cut_off > 3, "the change made only {call} calls");
            return;
        }
        // In the middle, or before it even began: the daemon looks at its chains every second.
        assert!(matches!(output.code, Some(1 | 3)), "{output}");
        rig.daemon.wait();
        let now = packets_meet(&rig);
        assert!(
            now == before || now == change.order,
            "killed at call {call} of {:?}: {before:?} became {now:?}",
            change.command
        );
        rig.daemon.restart();
        assert_eq!(packets_meet(&rig), now, "the next daemon changes nothing");
        assert_eq!(rig.chain().members.len(), now.len());
        assert_nothing_is_left_over(&rig);
    }
    panic!("the daemon was killed at every call up to {CALLS_MAX}");
}

/// Has the daemon killed at this call of a system call, by the thread that comes so far first.
fn kill_at(rig: &Rig, system_call: &str, call: usize) -> Child {
    let pid = rig.daemon.pid();
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={system_call}"))
        .arg("-e")
        .arg(format!("inject={system_call}:signal=KILL:when={call}"))
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace runs (Debian package strace)");
    let threads = format!("/proc/{pid}/task");
    wait_until("strace holds every thread", DEADLINE, || {
        let mut tasks = fs::read_dir(&threads).expect("the daemon runs");
        tasks.all(|task| {
            let status = task.expect("it can be read").path().join("status");
            let status = fs::read_to_string(status).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        })
    });
    strace
}

/// Ends a strace: the daemon runs on, if it still does.
fn let_go(mut strace: Child) {
    // Not politely: it waits for every thread of a process that is gone.
    strace.kill().expect("a child can be killed");
    strace.wait().expect("a child can be waited for");
}

/// The numbers of the members that a packet meets in the program that the interface runs, in order.
fn packets_meet(rig: &Rig) -> Vec<u8> {
    let hook = rig.pair.near.xdp_program().expect("there is always one");
    let pins = rig.port().pins();
    let entries = fs::read_dir(&pins).expect("the chain has pins");
    let roots = entries.map(|entry| entry.expect("it can be read").path().join("root"));
    let root = roots
        .filter(|path| path.exists())
        .map(|path| PinnedProgram::open(&path))
        .find(|root| root.id() == hook)
        .expect("what runs is pinned");
    let (verdict, packet) = root.run_and_see(&frame(64));
    assert_eq!(verdict, PASS, "no member is missed");
    packet[LIST + 1..][..usize::from(packet[LIST])].to_vec()
}

/// What is pinned is one build, its link, and one code for each member.
fn assert_nothing_is_left_over(rig: &Rig) {
    let chain = rig.chain();
    let build = format!("gen-{}", rig.port().build());
    let mut expected: Vec<String> = vec![build, "link".to_owned()];
    expected.extend(
        chain
            .members
            .iter()
            .map(|member| format!("member-{}", member.id)),
    );
    expected.sort();
    assert_eq!(names(&rig.port().pins()), expected);
    for member in &chain.members {
        let pins = names(&rig.port().pins().join(format!("member-{}", member.id)));
        let codes = pins.iter().filter(|name| name.starts_with("code-"));
        assert_eq!(codes.count(), 1, "{}: {pins:?}", member.name);
    }
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
    let mut names: Vec<String> = entries
        .map(|entry| {
            name(entry)
                .expect("it can be read")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
