//! The daemon's end, and the next one's start: packets don't notice either.

use std::os::unix::process::CommandExt;
use std::thread;

use libdispatch::Program;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tests::{
    LiveFrames, PairOptions, Rig, Signal, Tap, frame, grace_period, object, scratch, start_failure,
};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_killed_daemons_chain_runs_on_and_the_next_daemon_takes_it_over() {
    let mut rig = Rig::new();
    rig.load_verdict("first", PASS, &["--priority", "10"]);
    rig.load(
        "append",
        "second",
        &["--global", "number=9", "--priority", "20"],
    );
    rig.load_verdict(
        "guard",
        DROP,
        &["--priority", "30", "--allowed", "drop,pass"],
    );
    rig.ctl("reorder", &["second", "--first"]).done();
    rig.ctl("config", &["--final-verdict", "last"]).done();
    rig.map("second", "NOTES")
        .set(&1_u32.to_ne_bytes(), &[7; 8])
        .expect("it can be written");
    let before = rig.chain();
    let program = rig.pair.near.xdp_program();
    let near = Tap::on(&rig.pair.near);
    let packet = frame(64);
    let signal = Signal::default();
    let Rig { daemon, pair } = &mut rig;
    let source = LiveFrames::into(&pair.far);
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 256);
        wait_for_packets(&signal);
        daemon.kill();
        wait_for_packets(&signal);
        daemon.restart();
        wait_for_packets(&signal);
        stream.stop()
    });
    grace_period();
    assert_eq!(near.try_next(), None, "no packet's fate changed");
    assert_eq!(rig.pair.near.xdp_program(), program, "nothing was touched");
    let after = rig.chain();
    assert_eq!(after.clone().without_packets(), before.without_packets());
    for (name, packets) in [
        ("second", after.member("second").packets.pass),
        ("first", after.member("first").packets.pass),
        ("guard", after.member("guard").packets.drop),
    ] {
        assert_eq!(packets, sent, "{name}'s counts go on");
    }

    rig.ctl("reorder", &["first", "--first"]).done();
    assert_eq!(rig.chain().order(), ["first", "second", "guard"]);
    let note = rig
        .map("second", "NOTES")
        .get(&1_u32.to_ne_bytes())
        .expect("it can be read");
    assert_eq!(note, [7; 8], "a map's contents survive");
    rig.load_verdict("new", PASS, &["--priority", "1"]);
    let ids: Vec<u64> = rig.chain().members.iter().map(|member| member.id).collect();
    assert_eq!(
        ids.iter()
            .filter(|id| **id == rig.chain().member("new").id)
            .count(),
        1
    );
    assert_eq!(rig.chain().member("guard").packets.drop, sent);
    rig.ctl("unload", &["first", "new"]).done();
    assert_eq!(rig.chain().order(), ["second", "guard"]);
    rig.ctl("unload", &["--all"]).done();
    assert_eq!(rig.pair.near.xdp_program(), None);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_terminated_daemon_leaves_the_chain_running_and_says_so() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let program = rig.pair.near.xdp_program();
    let status = rig.daemon.terminate();
    assert!(status.success(), "{status}");
    let log = rig.daemon.log();
    let said = log
        .lines()
        .any(|line| line.contains("xd0") && line.contains("running"));
    assert!(said, "{log}");
    assert_eq!(rig.pair.near.xdp_program(), program);
    assert!(!rig.daemon.socket().exists(), "it cleans its socket up");
    let near = Tap::on(&rig.pair.near);
    rig.send(&frame(64), 1000);
    grace_period();
    assert_eq!(near.try_next(), None);
    rig.daemon.ctl(&["list"]).unreachable(&["can't be reached"]);
    rig.daemon.restart();
    assert_eq!(rig.chain().member("guard").packets.drop, 1000);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_daemon_that_detaches_on_exit_leaves_nothing() {
    let mut rig = Rig::with(&["--detach-on-exit"], &PairOptions::default());
    rig.load_verdict("guard", DROP, &[]);
    assert!(rig.daemon.terminate().success());
    assert_eq!(rig.pair.near.xdp_program(), None);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn flush_removes_what_a_daemon_left_and_nothing_while_one_runs() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let before = rig.chain();
    let refused = rig.daemon.dispatchd(&["--flush"]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert_eq!(rig.chain(), before);
    rig.daemon.kill();
    rig.daemon.dispatchd(&["--flush"]).done();
    assert_eq!(rig.pair.near.xdp_program(), None);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
    rig.daemon.dispatchd(&["--flush"]).done();
    rig.daemon.restart();
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_second_daemon_on_the_same_bpffs_is_refused() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let bpffs = rig.daemon.bpffs().path().to_str().expect("a path is text");
    let socket = scratch().join("second.sock");
    let socket = socket.to_str().expect("a path is text");
    let output = start_failure(&["--socket", socket, "--bpffs", bpffs], |_| {});
    output.refused(&[bpffs]);
    assert_eq!(rig.chain().order(), ["guard"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_directory_that_is_no_bpffs_is_refused() {
    let directory = scratch();
    let directory = directory.to_str().expect("a path is text");
    let socket = format!("{directory}/no-bpffs.sock");
    let output = start_failure(&["--socket", &socket, "--bpffs", directory], |_| {});
    output.refused(&[directory, "bpffs"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_bpffs_that_only_the_daemons_mount_namespace_has_is_refused() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().to_owned();
    let socket = format!("{}/private.sock", scratch().display());
    let bpffs = path.to_str().expect("a path is text");
    let output = start_failure(&["--socket", &socket, "--bpffs", bpffs], |command| {
        let path = path.clone();
        let private = move || {
            let nothing = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(
                nothing,
                "/",
                nothing,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                nothing,
            )?;
            mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), nothing)?;
            Ok(())
        };
        // SAFETY: between fork and exec, only system calls are made.
        unsafe { command.pre_exec(private) };
    });
    output.refused(&[bpffs]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_whose_interface_went_while_no_daemon_ran_is_forgotten() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    rig.daemon.kill();
    rig.pair.near.netns.ip("link del xd0");
    rig.daemon.restart();
    assert_eq!(rig.daemon.chains(), []);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_can_be_replaced_and_set_by_a_later_daemon() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", PASS, &[]);
    rig.daemon.kill();
    rig.daemon.restart();
    let client = rig.client("restart");
    let program = Program::from_file(object("verdict")).expect("it was compiled");
    let program = program.global("verdict", DROP);
    client
        .change("xd0")
        .replace("guard", &program)
        .apply()
        .expect("it can be replaced");
    assert_eq!(rig.root().run(&frame(64)), DROP);
    rig.ctl("set", &["guard", "--allowed", "pass"]).done();
    assert_eq!(rig.root().run(&frame(64)), PASS);
    rig.daemon.kill();
    rig.daemon.restart();
    let chain = rig.chain();
    assert_eq!(chain.member("guard").allowed, ["pass"]);
    assert_eq!(chain.member("guard").packets.overruled, 1);
    assert_eq!(chain.member("guard").packets.drop, 1);
}

/// Waits until some more packets were sent.
fn wait_for_packets(signal: &Signal) {
    let seen = signal.sent();
    tests::wait_until("packets flow", tests::DEADLINE, || {
        signal.sent() > seen + 10_000
    });
}
