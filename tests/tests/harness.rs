//! What the other tests rely on: packets that are sent arrive, and nothing else does; who should have
//! no privilege has none.

use std::fs;
use std::process::Command;

use tests::{Foreign, Pair, PairOptions, Tap, as_user, assert_powerless, frame, volume};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_live_frame_arrives_at_a_native_program() {
    let pair = Pair::new();
    let program = Foreign::on(&pair.near);
    assert_eq!(pair.near.xdp_program(), Some(program.id()));
    let count = volume(1_000_000);
    pair.send(&frame(64), count);
    assert_eq!(pair.near.driver_count("xdp_packets"), count);
    program.remove(&pair.near);
    assert_eq!(pair.near.xdp_program(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_single_frame_arrives_as_it_was_sent() {
    let pair = Pair::with(&PairOptions {
        queues: 2,
        addresses: true,
        ..PairOptions::default()
    });
    let (far, near) = (Tap::on(&pair.far), Tap::on(&pair.near));
    let mut sent = frame(64);
    sent[63] = 7;
    far.send(&sent);
    assert_eq!(near.next_frame(), sent);
    assert_eq!(near.try_next(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn who_acts_as_somebody_else_has_no_privilege_and_who_had_it_done_has_all() {
    let before = own_status();
    as_user(65_534, || {
        assert_powerless("thread-self");
        let id = Command::new("id").output().expect("it can be started");
        let id = String::from_utf8(id.stdout).expect("it is text");
        assert!(
            id.starts_with("uid=65534") && id.contains(" gid=65534"),
            "{id}"
        );
        // Nor has what it starts.
        let status = Command::new("cat").arg("/proc/self/status").output();
        let status = String::from_utf8(status.expect("it can be started").stdout);
        assert!(status.expect("it is text").contains("NoNewPrivs:\t1\n"));
    });
    assert_eq!(own_status(), before);
    assert!(before.contains(&"NoNewPrivs:\t0".to_owned()), "{before:?}");
    drop(Pair::new());
}

/// What this thread may do, line by line.
fn own_status() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("it is there");
    let fields = ["Uid", "Gid", "Groups", "Cap", "NoNew"];
    let rights = |line: &&str| fields.iter().any(|field| line.starts_with(field));
    status
        .lines()
        .filter(rights)
        .map(ToOwned::to_owned)
        .collect()
}
