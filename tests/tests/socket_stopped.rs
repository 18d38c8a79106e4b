//! An application that is stopped loses its own queue's packets, which are counted, and nobody else's.

mod echo;
mod flows;
mod socket;

use std::fs;

use echo::{Echo, NOBODY, received};
use flows::{Flows, arrived, queues};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket::lends_bound_sockets;
use tests::{DEADLINE, Rig, wait_until};

const PASS: u32 = 2;
const DROP: u32 = 1;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_stopped_socket_owner_loses_its_own_queues_packets_and_goes_on_when_continued() {
    let rig = Rig::with(&["--allow-bare", &NOBODY.to_string()], &queues(4));
    rig.load_verdict("ahead", PASS, &["--priority", "10"]);
    rig.load_verdict("behind", DROP, &["--priority", "30"]);
    // Entries of each of xsk-echo's rings, by who pins its memory.
    let bound = lends_bound_sockets(&rig.client("observer"));
    let ring = if bound { 2048 } else { 1024 };
    let mut running = Echo::start(&rig, &["xd0", "--drop", "--queue", "0"]);
    let mut stopped = Echo::start(&rig, &["xd0", "--drop", "--queue", "1"]);
    let mut flows = Flows::into(&rig);
    for _ in 0..4 {
        flows.send_round(&rig);
    }
    let before = arrived(&rig, 1);
    stopped.report_where(|report| received(report) == before);
    // By now it has given all frames back to the kernel.
    stopped.report();

    stopped.signal(Signal::SIGSTOP);
    wait_until("it is stopped", DEADLINE, || is_stopped(stopped.pid()));
    while arrived(&rig, 1) < before + ring + 500 {
        for _ in 0..16 {
            flows.send_round(&rig);
        }
    }
    let lost = arrived(&rig, 1) - before - ring;
    let shown = counts(&rig);
    assert_eq!(shown[1]["rx_dropped"], lost, "{shown:?}");
    assert_eq!(shown[1]["rx_fill_ring_empty_descs"], lost, "{shown:?}");
    assert_eq!(shown[1]["rx_ring_full"], 0, "{shown:?}");
    assert_others_have_all(&rig, &flows, &mut running);

    stopped.signal(Signal::SIGCONT);
    let report = stopped.report_where(|report| received(report) == before + ring);
    assert_eq!(report["lost"]["no-frame"]["packets"], lost);
    for _ in 0..4 {
        flows.send_round(&rig);
    }
    let all = arrived(&rig, 1) - lost;
    let report = stopped.report_where(|report| received(report) == all);
    assert_eq!(report["lost"]["no-frame"]["packets"], lost);
    assert_others_have_all(&rig, &flows, &mut running);

    for echo in [running, stopped] {
        assert!(echo.end(Signal::SIGTERM).success());
    }
    assert_eq!(rig.chain().order(), ["ahead", "behind"]);
}

/// The other queues' application and the other members missed nothing.
#[track_caller]
fn assert_others_have_all(rig: &Rig, flows: &Flows, running: &mut Echo) {
    let arrived = [0, 1, 2, 3].map(|queue| arrived(rig, queue));
    assert_eq!(arrived.iter().sum::<u64>(), flows.sent());
    let report = running.report_where(|report| received(report) == arrived[0]);
    for what in ["no-frame", "ring-full"] {
        assert_eq!(report["lost"][what]["packets"], 0, "{report}");
    }
    let shown = counts(rig);
    assert_eq!(shown[0]["rx_dropped"], 0, "{shown:?}");
    let chain = rig.chain();
    let packets = |name| chain.member(name).packets;
    assert_eq!(packets("ahead").pass, flows.sent());
    let redirect = packets("xsk-redirect");
    let elsewhere = arrived[2] + arrived[3];
    assert_eq!(redirect.redirect, arrived[0] + arrived[1]);
    assert_eq!(
        (redirect.pass, packets("behind").drop),
        (elsewhere, elsewhere)
    );
}

/// What `dispatchctl` shows of both queues' sockets.
fn counts(rig: &Rig) -> [Value; 2] {
    let output = rig.ctl("show", &["xsk-redirect", "--json"]);
    let mut shown: Value = serde_json::from_str(&output.done().stdout).expect("its output is JSON");
    [0, 1].map(|queue| {
        let socket = &mut shown["sockets"][queue];
        assert_eq!(socket["queue"], queue);
        assert_eq!(socket["state"], "active");
        socket["counts"].take()
    })
}

fn is_stopped(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, state) = status.rsplit_once(") ").expect("its name is in brackets");
    state.starts_with('T')
}
