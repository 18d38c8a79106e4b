//! What happens to the interface's hook from outside.

use tests::{DEADLINE, Foreign, Rig, Tap, frame, grace_period, wait_until};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_that_somebody_detached_is_noticed_said_and_attached_again() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    rig.send(&frame(64), 100);
    let before = rig.chain();
    Foreign::detach_link(rig.port().link());
    assert_eq!(rig.pair.near.xdp_program(), None);
    wait_until("the chain is attached again", DEADLINE, || {
        rig.pair.near.xdp_program().is_some()
    });
    let log = rig.daemon.log();
    assert!(log.contains("xd0") && log.contains("detached"), "{log}");
    let near = Tap::on(&rig.pair.near);
    rig.send(&frame(64), 100);
    grace_period();
    assert_eq!(near.try_next(), None);
    let after = rig.chain();
    assert_eq!(after.order(), before.order());
    assert_eq!(
        after.member("guard").program_id,
        before.member("guard").program_id
    );
    assert_eq!(after.member("guard").packets.drop, 200);
    rig.load_verdict("next", PASS, &[]);
    rig.ctl("unload", &["--all"]).done();
    assert_eq!(rig.pair.near.xdp_program(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_that_somebody_detached_while_no_daemon_ran_is_attached_by_the_next() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let link = rig.port().link();
    let before = rig.chain();
    rig.daemon.kill();
    Foreign::detach_link(link);
    rig.daemon.restart();
    wait_until("the chain is attached again", DEADLINE, || {
        rig.pair.near.xdp_program().is_some()
    });
    assert_eq!(rig.chain().members, before.members);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_that_came_instead_of_a_detached_chain_is_not_touched() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let link = rig.port().link();
    rig.daemon.kill();
    Foreign::detach_link(link);
    let foreign = Foreign::on(&rig.pair.near);
    rig.daemon.restart();
    assert_eq!(rig.pair.near.xdp_program(), Some(foreign.id()));
    rig.try_load(&tests::object("verdict"), "next", &[])
        .refused(&["xd0"]);
    assert_eq!(rig.pair.near.xdp_program(), Some(foreign.id()));
    foreign.remove(&rig.pair.near);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_that_goes_down_and_up_keeps_its_chain() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let program = rig.pair.near.xdp_program();
    rig.pair.near.netns.ip("link set xd0 down");
    rig.ctl("set", &["guard", "--chain-call", "pass,tx"]).done();
    rig.pair.near.netns.ip("link set xd0 up");
    assert_ne!(
        rig.pair.near.xdp_program(),
        program,
        "it was changed meanwhile"
    );
    wait_until("the cable carries packets again", DEADLINE, || {
        rig.send(&frame(64), 1);
        rig.chain().member("guard").packets.drop > 0
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_whose_registry_can_not_be_read_runs_on_and_is_not_changed() {
    let mut rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let running = rig.pair.near.xdp_program();
    rig.daemon.kill();
    let registry = rig.port().pins().join("gen-1/registry");
    std::fs::remove_file(registry).expect("the registry is pinned");
    let pins = rig.daemon.bpffs().pins();
    rig.daemon.restart();
    assert_eq!(rig.pair.near.xdp_program(), running);
    rig.try_load(&tests::object("verdict"), "next", &[])
        .refused(&["xd0", "gen-1/registry is missing"]);
    assert_eq!(rig.pair.near.xdp_program(), running);
    assert_eq!(rig.daemon.bpffs().pins(), pins);
}
