//! Upgrades from the first version under traffic, and counts what is lost. `cargo xtask upgrade` builds
//! that version and runs this with the folder of its binaries.

#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tests::{
    Chain, Daemon, LiveFrames, Pair, Pinnable, PinnedMap, Port, Signal, Tap, frame, grace_period,
    wait_until,
};

/// Frames between two looks at whether to stop.
const BURST: u64 = 16_384;
/// Frames that are sent before, between and after what is done.
const FRAMES: u64 = 1_000_000;
/// How long they may take, on a machine that does something else too.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let folder = env::args_os().nth(1).expect("upgrade FOLDER");
    let mut daemon = Daemon::of_version(Path::new(&folder));
    let pair = Pair::new();
    Port::new(&daemon, &pair.near).load_verdict("first", 2, &["--priority", "10"]);
    Port::new(&daemon, &pair.near).load_verdict("second", 2, &["--priority", "20"]);
    // What would get past it was lost by the chain.
    Port::new(&daemon, &pair.near).load_verdict("guard", 1, &["--priority", "30"]);
    let before = Port::new(&daemon, &pair.near).chain();
    println!("The first version: {}", shown(&before));

    let near = Tap::on(&pair.near);
    let (packet, signal) = (frame(64), Signal::default());
    let source = LiveFrames::into(&pair.far);
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, BURST);
        more_packets(&signal);
        daemon.terminate();
        daemon.upgrade();
        let stopped = Instant::now();
        more_packets(&signal);
        daemon.restart();
        println!(
            "Continued by this version {:.1} s later; {FRAMES} frames and more came in between",
            stopped.elapsed().as_secs_f64()
        );
        let found = Port::new(&daemon, &pair.near).chain();
        assert_eq!(ids(&found), ids(&before), "ids are kept");
        assert_eq!(found.generation, before.generation);
        assert_eq!(format(&daemon, &pair), 2, "it is only read");
        more_packets(&signal);
        Port::new(&daemon, &pair.near)
            .ctl("reorder", &["second", "--first"])
            .done();
        assert_eq!(format(&daemon, &pair), 3, "the next change upgrades it");
        more_packets(&signal);
        Port::new(&daemon, &pair.near).load_verdict("late", 2, &["--priority", "25"]);
        more_packets(&signal);
        daemon.kill();
        daemon.restart();
        more_packets(&signal);
        stream.stop()
    });
    grace_period();
    let after = Port::new(&daemon, &pair.near).chain();
    println!("Changed twice and continued again: {}", shown(&after));
    assert_eq!(after.order(), ["second", "first", "late", "guard"]);
    for (name, id) in ids(&before) {
        let member = after.member(name);
        assert_eq!((member.id, member.packets.total()), (id, sent), "{name}");
        assert_eq!(member.program_id, before.member(name).program_id, "{name}");
    }
    let past = std::iter::from_fn(|| near.try_next()).count();
    let counted = after.member("guard").packets.drop;
    println!(
        "Packets sent {sent}, counted {counted}, past the filter {past}: {} lost",
        sent - counted
    );
    assert_eq!((counted, past), (sent, 0));

    newer(&mut daemon, &pair);
}

/// A registry of a later version's is left running.
fn newer(daemon: &mut Daemon, pair: &Pair) {
    let chain = Port::new(daemon, &pair.near).chain();
    let registry = registry(daemon, pair);
    daemon.kill();
    let kept = PinnedMap::open(&registry);
    let mut bytes = kept.get(&0_u32.to_ne_bytes()).expect("it has one element");
    // The version that wrote it, and the version that can read it.
    bytes[4..12].copy_from_slice(&[9, 0, 0, 0, 9, 0, 0, 0]);
    Pinnable::array(&bytes).pin(&registry);
    let root = pair.near.xdp_program();
    daemon.restart();
    let refused = Port::new(daemon, &pair.near).try_load(&tests::object("verdict"), "x", &[]);
    refused.refused(&["later version"]);
    assert_eq!(pair.near.xdp_program(), root);
    let near = Tap::on(&pair.near);
    pair.send(&frame(64), 1000);
    grace_period();
    assert_eq!(near.try_next(), None);
    println!(
        "Revision {} with a later version's registry runs on: {}",
        chain.generation,
        refused.stderr.trim()
    );
}

fn registry(daemon: &Daemon, pair: &Pair) -> std::path::PathBuf {
    let port = Port::new(daemon, &pair.near);
    let build = format!("gen-{}", port.build());
    port.pins().join(build).join("registry")
}

/// The format of the running build's registry.
fn format(daemon: &Daemon, pair: &Pair) -> u8 {
    let kept = PinnedMap::open(&registry(daemon, pair));
    let bytes = kept.get(&0_u32.to_ne_bytes()).expect("it has one element");
    bytes[4]
}

fn ids(chain: &Chain) -> Vec<(&str, u64)> {
    let members = chain.members.iter();
    members.map(|member| (&*member.name, member.id)).collect()
}

fn shown(chain: &Chain) -> String {
    let members = chain.members.iter().map(|member| {
        format!(
            "{} (id {}, {} packets)",
            member.name,
            member.id,
            member.packets.total()
        )
    });
    let members: Vec<_> = members.collect();
    format!("revision {}: {}", chain.generation, members.join(", "))
}

/// Waits until some more packets were sent.
fn more_packets(signal: &Signal) {
    let seen = signal.sent();
    wait_until("packets flow", PATIENCE, || signal.sent() >= seen + FRAMES);
}
