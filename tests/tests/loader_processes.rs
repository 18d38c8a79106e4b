//! Objects are loaded in processes that end with their work, their client, or their daemon; and however
//! one ends, it is a refusal.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use libdispatch::{Error, Program};
use nix::sys::signal::Signal;
use rustix::process::Resource;
use tests::loader::{LoaderProcesses, is_alive, signal, status};
use tests::{DEADLINE, PairOptions, Rig, as_user, object, wait_until};

/// Nobody's uids.
const USER: u32 = 54_321;
const OTHER: u32 = 54_322;

/// `CAP_BPF` and `CAP_NET_ADMIN`.
const BPF_AND_NET_ADMIN: &str = "0000008000001000";

fn rig() -> Rig {
    Rig::with(
        &["--allow-uid", "54321:load", "--allow-uid", "54322:load"],
        &PairOptions::default(),
    )
}

fn loader(rig: &Rig) -> LoaderProcesses {
    LoaderProcesses::of(rig.daemon.pid())
}

fn program(source: &str) -> Program {
    let program = Program::from_file(object(source)).expect("it was compiled");
    program.name(source).kept()
}

/// Registers a program as a user.
fn register(rig: &Rig, uid: u32, source: &str) -> Result<(), Error> {
    let program = program(source);
    as_user(uid, || {
        let client = rig.client("user");
        client.change("xd0").register(&program).apply().map(drop)
    })
}

/// What a refusal says.
#[track_caller]
fn refusal(refused: Result<(), Error>) -> String {
    let error = refused.expect_err("it is refused");
    let refusal = error.refusal();
    refusal.unwrap_or_else(|| panic!("{error}")).message.clone()
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_child_that_is_killed_is_a_refusal_that_says_so() {
    let rig = rig();
    for (by, words) in [
        (Signal::SIGKILL, "be killed"),
        (Signal::SIGABRT, "memory"),
        (Signal::SIGILL, "crash (signal 4)"),
        (Signal::SIGXCPU, "processor time"),
        (Signal::SIGVTALRM, "processor time"),
    ] {
        let stopped = loader(&rig).stop_spare();
        thread::scope(|scope| {
            let user = scope.spawn(|| register(&rig, USER, "verdict"));
            loader(&rig).wait_until_busy(stopped);
            signal(stopped, by);
            if by != Signal::SIGKILL {
                signal(stopped, Signal::SIGCONT);
            }
            let refused = user.join().expect("it doesn't panic");
            let message = refusal(refused);
            assert!(
                message.contains("xd0") && message.contains(words),
                "{by}: {message}"
            );
        });
        assert!(!is_alive(stopped));
    }
    register(&rig, USER, "verdict").expect("the next one is as ever");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_load_past_its_processor_time_is_a_refusal() {
    let rig = rig();
    loader(&rig).limit_next(Resource::Cpu, 1, 2);
    let message = refusal(register(&rig, USER, "slow_to_verify"));
    assert!(message.contains("processor time"), "{message}");
    register(&rig, USER, "verdict").expect("that takes less");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_load_out_of_memory_is_a_refusal() {
    let rig = rig();
    // As much as the parent, which has read what it has to by now, and a little more.
    let has = status(loader(&rig).spare(), "VmSize").expect("it runs");
    let kilobytes: u64 = has.trim_end_matches(" kB").parse().expect("a number");
    let bytes = kilobytes * 1024 + (6 << 20);
    loader(&rig).limit_next(Resource::As, bytes, bytes);
    let path = tests::scratch().join(format!("padded-{}.o", std::process::id()));
    let mut large = std::fs::read(object("verdict")).expect("it was compiled");
    // Behind the section headers, where nobody looks.
    large.resize(12 << 20, 0);
    std::fs::write(&path, large).expect("there is room");
    let program = Program::from_file(&path).expect("it was just made").kept();
    let refused = as_user(USER, || {
        let client = rig.client("user");
        client.change("xd0").register(&program).apply().map(drop)
    });
    std::fs::remove_file(path).expect("it was just made");
    let message = refusal(refused);
    assert!(message.contains("memory"), "{message}");
    register(&rig, USER, "verdict").expect("that takes less");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_load_ends_with_its_client() {
    let rig = rig();
    let stopped = loader(&rig).stop_spare();
    let path = object("verdict");
    let netns = ["--netns", rig.pair.near.netns.name()];
    let mut client = rig
        .daemon
        .ctl_command()
        .args(["load", "xd0"])
        .arg(&path)
        .args(netns)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dispatchctl can be started");
    loader(&rig).wait_until_busy(stopped);
    client.kill().expect("it runs");
    client.wait().expect("it was killed");
    wait_until("its load is gone", Duration::from_secs(1), || {
        !is_alive(stopped)
    });
    assert_eq!(rig.try_chain(), None);
    rig.load_verdict("next", 2, &[]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_daemon_that_is_killed_leaves_no_loader() {
    let mut rig = rig();
    let loader = loader(&rig);
    let stopped = loader.stop_spare();
    let parent = loader.parent();
    let mut client = rig
        .daemon
        .ctl_command()
        .args(["load", "xd0"])
        .arg(object("verdict"))
        .args(["--netns", rig.pair.near.netns.name()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dispatchctl can be started");
    loader.wait_until_busy(stopped);
    let all: Vec<u32> = loader.children().into_iter().chain([parent]).collect();
    assert!(all.len() >= 3, "{all:?}");
    rig.daemon.kill();
    wait_until("all of them are gone", Duration::from_secs(2), || {
        !all.iter().any(|pid| is_alive(*pid))
    });
    client.kill().expect("it was not waited for");
    client.wait().expect("it was killed");
    rig.daemon.restart();
    rig.load_verdict("next", 2, &[]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_killed_daemon_leaves_no_process_that_became_a_user() {
    let mut rig = rig();
    let loader = loader(&rig);
    let all = thread::scope(|scope| {
        let client = scope.spawn(|| register(&rig, USER, "slow_to_verify"));
        let mut stopped = None;
        wait_until("a child is the user", DEADLINE, || {
            let uids = format!("{USER} {USER} {USER} {USER}");
            let is_users = |pid: &u32| status(*pid, "Uid").as_ref() == Some(&uids);
            stopped = loader.children().into_iter().find(is_users);
            // It may have ended since.
            stopped.is_some_and(|pid| loader.stop(pid))
        });
        let all: Vec<u32> = stopped.into_iter().chain([loader.parent()]).collect();
        rig.daemon.signal(Signal::SIGKILL);
        client.join().expect("it ends").expect_err("nobody answers");
        all
    });
    rig.daemon.kill();
    wait_until("all of them are gone", Duration::from_secs(2), || {
        !all.iter().any(|pid| is_alive(*pid))
    });
    rig.daemon.restart();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_daemon_that_ends_leaves_no_loader() {
    let mut rig = rig();
    let all: Vec<u32> = [loader(&rig).parent(), loader(&rig).spare()].to_vec();
    rig.daemon.terminate();
    wait_until("all of them are gone", Duration::from_secs(2), || {
        !all.iter().any(|pid| is_alive(*pid))
    });
    rig.daemon.restart();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_loader_that_is_killed_is_started_again_and_it_is_said() {
    let rig = rig();
    let parent = loader(&rig).parent();
    let stopped = loader(&rig).stop_spare();
    thread::scope(|scope| {
        let user = scope.spawn(|| register(&rig, USER, "verdict"));
        loader(&rig).wait_until_busy(stopped);
        signal(parent, Signal::SIGKILL);
        user.join()
            .expect("it doesn't panic")
            .expect("the next loader is asked");
    });
    assert!(!is_alive(stopped), "it went with its parent");
    assert_ne!(loader(&rig).parent(), parent);
    assert!(rig.daemon.log().contains("the loader's process ended"));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_users_load_does_not_wait_for_anothers() {
    let rig = rig();
    let stopped = loader(&rig).stop_spare();
    thread::scope(|scope| {
        let slow = scope.spawn(|| register(&rig, USER, "verdict"));
        loader(&rig).wait_until_busy(stopped);
        register(&rig, OTHER, "counter").expect("it has a child of its own");
        assert!(!slow.is_finished());
        signal(stopped, Signal::SIGCONT);
        slow.join().expect("it doesn't panic").expect("it goes on");
    });
    assert_eq!(rig.chain().order(), ["counter", "verdict"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_load_for_a_stranger_has_two_capabilities_and_no_way_to_more() {
    let rig = rig();
    let loader = loader(&rig);
    let spare = loader.spare();
    let user = format!("{USER} {USER} {USER} {USER}");
    thread::scope(|scope| {
        let slow = scope.spawn(|| register(&rig, USER, "slow_to_verify"));
        let mut found = None;
        wait_until("a child loads", DEADLINE, || {
            let loading = |pid: &u32| {
                *pid != spare && status(*pid, "CapPrm").as_deref() == Some(BPF_AND_NET_ADMIN)
            };
            found = loader.children().into_iter().find(loading);
            found.is_some() || slow.is_finished()
        });
        let child = found.expect("the verifier takes seconds");
        for (field, expected) in [
            ("Uid", &*user),
            ("Gid", "65534 65534 65534 65534"),
            ("Groups", ""),
            ("CapEff", BPF_AND_NET_ADMIN),
            ("CapBnd", BPF_AND_NET_ADMIN),
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(status(child, field).as_deref(), Some(expected), "{field}");
        }
        let open = std::fs::read_dir(format!("/proc/{child}/fd")).expect("root may look");
        assert!(open.count() < 12, "its own, and what it loads");
        // It may be too much for the verifier, which has more to look at than for root.
        let _ = slow.join().expect("it doesn't panic");
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_hundred_loads_leave_nothing_behind() {
    let rig = rig();
    let again = |times: u32| {
        for _ in 0..times {
            rig.load("counter", "again", &[]);
            rig.ctl("unload", &["again"]).done();
            refusal(register(&rig, USER, "rejected"));
        }
        loader(&rig).spare();
        (rig.daemon.descriptors(), rig.daemon.memory())
    };
    let (descriptors, memory) = again(10);
    let (descriptors_after, memory_after) = again(100);
    wait_until("descriptors are closed", DEADLINE, || {
        rig.daemon.descriptors() <= descriptors
    });
    assert!(descriptors_after <= descriptors + 2);
    let grown = memory_after.saturating_sub(memory);
    assert!(grown < 2 << 20, "{memory} bytes became {memory_after}");
}
