//! What the other tests rely on: packets that are sent arrive, and nothing else does.

use tests::{Foreign, Pair, PairOptions, Tap, frame, volume};

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
