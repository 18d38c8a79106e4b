//! Packets of several buffers: a chain takes them if all its members do.

use std::process::Command;

use tests::{DEADLINE, Output, PairOptions, Rig, Tap, frame, object, wait_until};

const DROP: u32 = 1;
const JUMBO: u32 = 9000;

fn jumbo() -> PairOptions {
    PairOptions {
        mtu: JUMBO,
        ..PairOptions::default()
    }
}

const NATIVE: &[&str] = &["--mode", "native"];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_frags_program_runs_on_a_jumbo_interface_and_sees_a_jumbo_packet() {
    let rig = Rig::with(&[], &jumbo());
    rig.load("frags", "frags", NATIVE);
    assert!(rig.chain().frags);
    assert_jumbo_packets_pass(&rig, "frags");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_plain_program_runs_on_an_ordinary_interface() {
    let rig = Rig::new();
    rig.load_verdict("plain", DROP, NATIVE);
    assert!(!rig.chain().frags);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_plain_program_is_refused_on_a_jumbo_interface_and_named() {
    let rig = Rig::with(&[], &jumbo());
    let arguments = ["--mode", "native", "--global", "verdict=1"];
    rig.try_load(&object("verdict"), "plain", &arguments)
        .refused(&["xd0", "several buffers", "plain"]);
    assert_eq!(rig.try_chain(), None);
    assert_eq!(rig.pair.near.xdp_program(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn several_frags_programs_share_a_jumbo_interface() {
    let rig = Rig::with(&[], &jumbo());
    for name in ["a", "b", "c"] {
        rig.load("frags", name, NATIVE);
    }
    assert!(rig.chain().frags);
    for name in ["a", "b", "c"] {
        assert_jumbo_packets_pass(&rig, name);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_plain_program_is_refused_beside_frags_ones_on_a_jumbo_interface_and_the_chain_stays() {
    let rig = Rig::with(&[], &jumbo());
    rig.load("frags", "frags", NATIVE);
    let before = rig.chain();
    rig.try_load(&object("verdict"), "plain", &[])
        .refused(&["xd0", "several buffers", "plain"]);
    assert_eq!(rig.chain(), before);
    assert_jumbo_packets_pass(&rig, "frags");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn on_an_ordinary_interface_a_plain_program_makes_the_chain_plain_until_it_goes() {
    let rig = Rig::new();
    rig.load("frags", "frags", &[]);
    assert!(rig.chain().frags);
    let map_of = |rig: &Rig| rig.map("lengths", "LENGTHS").id();
    rig.load("lengths", "lengths", &[]);
    let map = map_of(&rig);
    rig.load_verdict("plain", DROP, &[]);
    assert!(!rig.chain().frags);
    assert_eq!(rig.root().run(&frame(64)), DROP);
    assert_eq!(map_of(&rig), map, "a reload keeps the maps");
    rig.ctl("unload", &["plain"]).done();
    assert!(rig.chain().frags);
    assert_eq!(map_of(&rig), map, "a reload keeps the maps");

    // The device has known since the first of them that its packets may have several buffers.
    set_mtu(&rig);
    assert_jumbo_packets_pass(&rig, "frags");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_is_for_frags_if_its_loader_says_so() {
    let rig = Rig::with(&[], &jumbo());
    rig.load("verdict", "said", &["--mode", "native", "--frags"]);
    assert!(rig.chain().frags);
    assert_jumbo_packets_pass(&rig, "said");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_jumbo_interface_takes_a_plain_program_in_generic_mode() {
    let rig = Rig::with(&[], &jumbo());
    rig.load_verdict("plain", DROP, &[]);
    assert_eq!(rig.chain().mode, "generic");
}

/// The member says PASS of a packet that takes several pages.
fn assert_jumbo_packets_pass(rig: &Rig, member: &str) {
    let passed = |rig: &Rig| rig.chain().member(member).packets.pass;
    let before = passed(rig);
    Tap::on(&rig.pair.far).send(&frame(8000));
    wait_until("the packet is there", DEADLINE, || passed(rig) > before);
}

/// Both ends' MTU becomes [`JUMBO`].
fn set_mtu(rig: &Rig) {
    for end in [&rig.pair.near, &rig.pair.far] {
        let mut ip = Command::new("ip");
        ip.args(["link", "set", &end.name, "mtu", &JUMBO.to_string()]);
        let output = end
            .netns
            .run(|| ip.output().expect("ip runs (Debian package iproute2)"));
        Output::from(output).done();
    }
}
