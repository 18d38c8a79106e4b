//! `xsk-echo` as somebody runs it who has no privilege at all.

mod echo;

use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use echo::{Echo, NOBODY};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{DEADLINE, End, PairOptions, Rig, binary, frame, volume, wait_until};

const NEAR: &str = "10.1.0.1";
const FAR: &str = "10.1.0.2";

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_datagram_comes_back_as_it_was() {
    const AT_A_TIME: u64 = 32;
    let rounds = volume(100_000) / AT_A_TIME;
    let count = rounds * AT_A_TIME;
    let rig = rig();
    let mut echo = Echo::start(&rig, &["xd0"]);
    assert_eq!(rig.chain().order(), ["xsk-redirect"]);

    let socket = socket(&rig.pair.far, FAR);
    socket.connect((NEAR, 7)).expect("there is a route");
    let mut buffer = [0; 2048];
    for round in 0..rounds {
        let numbers = round * AT_A_TIME..(round + 1) * AT_A_TIME;
        for number in numbers.clone() {
            let sent = socket.send(&datagram(number)).expect("the cable has room");
            assert_eq!(sent, datagram(number).len());
        }
        for number in numbers {
            let length = socket.recv(&mut buffer).expect("it comes back");
            assert_eq!(buffer[..length], datagram(number), "datagram {number}");
        }
    }
    let report = echo.report_where(|report| report["received"]["packets"] == count);
    assert_eq!(report["sent"]["udp4"]["packets"], count);
    assert_eq!(report["lost"]["ring-full"]["packets"], 0);

    assert!(echo.end(Signal::SIGTERM).success());
    wait_until("the chain is gone", DEADLINE, || rig.try_chain().is_none());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_killed_leaves_its_queue_to_the_kernel() {
    let rig = rig();
    let echo = Echo::start(&rig, &["xd0"]);
    let far = socket(&rig.pair.far, FAR);
    far.send_to(b"echo", (NEAR, 7)).expect("the cable has room");
    let mut buffer = [0; 16];
    let length = far.recv(&mut buffer).expect("it comes back");
    assert_eq!(buffer[..length], *b"echo");

    assert_eq!(echo.end(Signal::SIGKILL).signal(), Some(9));
    wait_until("the chain is gone", DEADLINE, || rig.try_chain().is_none());
    let near = rig.pair.near.netns.run(|| UdpSocket::bind((NEAR, 7)));
    let near = near.expect("the port is free");
    near.set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    far.send_to(b"kernel", (NEAR, 7))
        .expect("the cable has room");
    let length = near.recv(&mut buffer).expect("it arrives");
    assert_eq!(buffer[..length], *b"kernel");

    // The queue is free again.
    drop(near);
    assert!(Echo::start(&rig, &["xd0"]).end(Signal::SIGINT).success());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_queue_that_somebody_has_is_refused_with_their_name() {
    let rig = rig();
    let echo = Echo::start(&rig, &["xd0"]);
    let output = command(&rig, &["xd0", "--json"]).output();
    let output = output.expect("an application can be started");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "queue 0 of interface xd0 belongs to \"xsk-echo\" (uid 65534";
    assert!(said.contains(expected), "{said}");
    assert!(echo.end(Signal::SIGHUP).success());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_to_be_dropped_is_dropped_and_counted() {
    let count = volume(1_000_000);
    let rig = rig();
    let mut echo = Echo::start(&rig, &["xd0", "--drop"]);
    rig.send(&frame(64), count);
    let number = |report: &Value, kind: &str, what: &str| {
        report[kind][what]["packets"]
            .as_u64()
            .expect("it is a number")
    };
    // A source that is faster than we are finds the rings full.
    let report = echo.report_where(|report| {
        let lost = number(report, "lost", "ring-full") + number(report, "lost", "no-frame");
        number(report, "dropped", "all") + lost == count
    });
    assert!(number(&report, "dropped", "all") > 0);
    assert!(echo.end(Signal::SIGTERM).success());
}

/// A daemon that lets the user nobody in, and a pair with addresses.
fn rig() -> Rig {
    let options = PairOptions {
        addresses: true,
        ..PairOptions::default()
    };
    Rig::with(&["--allow-bare", &NOBODY.to_string()], &options)
}

/// Up to 1400 bytes that no other datagram has.
fn datagram(number: u64) -> Vec<u8> {
    let length = usize::try_from(number % 1400).expect("it is small");
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..length).map(|place| (place as u64 ^ number).to_le_bytes()[0]));
    bytes
}

fn socket(end: &End, address: &str) -> UdpSocket {
    let socket = end.netns.run(|| UdpSocket::bind((address, 0)));
    let socket = socket.expect("the address is this end's");
    socket
        .set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    socket
}

fn command(rig: &Rig, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("xsk-echo"));
    command
        .args(arguments)
        .args(["--netns", rig.pair.near.netns.name()])
        .arg("--socket")
        .arg(rig.daemon.socket())
        .stdin(Stdio::null());
    command
}
