//! `xsk-echo --forward` between two cables, as somebody runs it who has no privilege: one memory for
//! sockets on two interfaces.

mod echo;
mod xsk;

use std::os::unix::process::ExitStatusExt as _;

use echo::{Echo, NOBODY};
use libdispatch::{RefusalCode, SocketRequest};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{DEADLINE, Pair, PairOptions, Port, Rig, Tap, volume, wait_until};
use xsk::{BURST, index, numbered, turn};

/// The address of `xd1`, which is not that of `xd0`.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// Whoever is to get what is sent on.
const TO: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A daemon, the cable of `xd0` and that of `xd1`.
struct Cables {
    rig: Rig,
    other: Pair,
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_comes_by_one_interface_leaves_by_the_other_with_its_addresses_exchanged() {
    let count = volume(20_000);
    let cables = Cables::new();
    let mut echo = Echo::start(&cables.rig, &["xd0", "--forward", "xd1"]);
    let taps = [Tap::on(&cables.rig.pair.far), Tap::on(&cables.other.far)];
    let bytes = assert_forwarded(&taps, count, turn);
    assert_counted(&mut echo, count, bytes);
    // The other interface only sends: its packets are the kernel's as before.
    assert_eq!(cables.rig.chain().order(), ["xsk-redirect"]);
    assert_eq!(cables.other_port().try_chain(), None);
    let counted = cables.rig.chain().member("xsk-redirect").packets;
    assert_eq!((counted.redirect, counted.total()), (count, count));
    assert!(echo.end(Signal::SIGTERM).success());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_forwarded_to_somebody_comes_from_the_interface_that_it_leaves_by() {
    let count = volume(2000);
    let cables = Cables::new();
    let to = TO.map(|byte| format!("{byte:02x}")).join(":");
    let arguments = ["xd0", "--forward", "xd1", "--to", &to];
    let mut echo = Echo::start(&cables.rig, &arguments);
    let taps = [Tap::on(&cables.rig.pair.far), Tap::on(&cables.other.far)];
    let bytes = assert_forwarded(&taps, count, |packet| {
        packet[..6].copy_from_slice(&TO);
        packet[6..12].copy_from_slice(&OTHER_MAC);
    });
    assert_counted(&mut echo, count, bytes);
    assert!(echo.end(Signal::SIGTERM).success());
}

/// Each time the next one forwards the other way, by the very queues that the one before had.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn however_it_ends_both_chains_are_gone_and_both_queues_are_free() {
    let count = volume(500);
    let cables = Cables::new();
    let (rig, other) = (&cables.rig, &cables.other);
    let there = (["xd0", "--forward", "xd1"], [&rig.pair.far, &other.far]);
    let back = (["xd1", "--forward", "xd0"], [&other.far, &rig.pair.far]);
    for (signal, (arguments, ends)) in [
        (Signal::SIGTERM, &there),
        (Signal::SIGTERM, &back),
        (Signal::SIGKILL, &there),
        (Signal::SIGKILL, &back),
        (Signal::SIGTERM, &there),
    ] {
        let mut echo = Echo::start(rig, arguments);
        for interface in ["xd0", "xd1"] {
            cables.assert_taken(interface);
        }
        let bytes = assert_forwarded(&ends.map(Tap::on), count, turn);
        assert_counted(&mut echo, count, bytes);

        let ended = echo.end(signal);
        if signal == Signal::SIGKILL {
            assert_eq!(ended.signal(), Some(signal as i32));
        } else {
            assert!(ended.success());
        }
        wait_until("both chains are gone", DEADLINE, || {
            rig.daemon.chains().is_empty()
        });
    }
}

impl Cables {
    fn new() -> Self {
        let options = PairOptions::default();
        let rig = Rig::with(&["--allow-bare", &NOBODY.to_string()], &options);
        let Pair { near, far } = &rig.pair;
        let other = Pair::between(&near.netns, &far.netns, ["xd1", "far1"], &options);
        let mac = OTHER_MAC.map(|byte| format!("{byte:02x}")).join(":");
        near.netns.ip(&format!("link set xd1 address {mac}"));
        Self { rig, other }
    }

    fn other_port(&self) -> Port<'_> {
        Port::new(&self.rig.daemon, &self.other.near)
    }

    /// Nobody else can have the interface's queue.
    #[track_caller]
    fn assert_taken(&self, interface: &str) {
        let client = self.rig.client("rival");
        let opened = client.open_bare_socket(&SocketRequest::new(interface, 0));
        let error = opened.expect_err("it is xsk-echo's");
        let code = error.refusal().map(|refusal| refusal.code);
        assert_eq!(code, Some(RefusalCode::QueueTaken), "{error}");
        assert!(error.to_string().contains("\"xsk-echo\""), "{error}");
    }
}

/// Sends packets into the first cable, all of which come out of the second one, in order and with
/// exactly their bytes, changed like this; and none of the first. Returns how many bytes were sent.
fn assert_forwarded(taps: &[Tap; 2], packets: u64, change: impl Fn(&mut [u8])) -> usize {
    let [source, sink] = taps;
    let (mut next, mut bytes) = (0, 0);
    while next < packets {
        let burst: Vec<Vec<u8>> = (next..packets)
            .take(BURST)
            .map(|number| numbered(number, 60 + index(number) * 7 % 1455))
            .collect();
        next += burst.len() as u64;
        for packet in &burst {
            source.send(packet);
            bytes += packet.len();
        }
        for mut packet in burst {
            change(&mut packet);
            assert_eq!(sink.next_frame(), packet);
        }
    }
    assert_eq!((source.try_next(), sink.try_next()), (None, None));
    bytes
}

/// So many packets came, and were forwarded, and nothing else.
fn assert_counted(echo: &mut Echo, packets: u64, bytes: usize) {
    let report = echo.report_where(|report| report["received"]["packets"] == packets);
    assert_eq!(report["received"]["bytes"], bytes);
    for (kind, forwarded) in [("sent", packets), ("dropped", 0), ("lost", 0)] {
        assert_eq!(sum(&report[kind]), forwarded, "{report}");
    }
    assert_eq!(report["sent"]["forwarded"]["packets"], packets);
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().expect("it has words");
    let packets = counts.values().map(|count| count["packets"].as_u64());
    packets.map(|count| count.expect("it is a number")).sum()
}
