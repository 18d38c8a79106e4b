//! What happens to the interface's hook from outside.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{DEADLINE, Foreign, Rig, Tap, frame, grace_period, patience, wait_until};

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
fn a_hook_that_somebody_took_is_shown_with_its_program_until_it_is_free() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    assert_eq!(listed(&rig)["attached"], true);
    assert!(age(&rig) < Some(2000), "{:?}", age(&rig));
    // As somebody does who is faster than the daemon.
    rig.daemon.signal(Signal::SIGSTOP);
    Foreign::detach_link(rig.port().link());
    let foreign = Foreign::on(&rig.pair.near);
    rig.daemon.signal(Signal::SIGCONT);
    wait_until("the chain is shown as one that waits", DEADLINE, || {
        listed(&rig)["attached"] == false
    });
    let chain = listed(&rig);
    let program = json!({ "id": foreign.id(), "name": "xdt_foreign" });
    assert_eq!(chain["hook_program"], program, "{chain}");
    assert_eq!(chain["hook"], Value::Null, "{chain}");
    let member = &chain["members"][0];
    assert_eq!(
        (&member["state"], &member["slot"]),
        (&json!("waiting"), &Value::Null)
    );
    let named = format!("the hook runs xdt_foreign (id {})", foreign.id());
    let text = rig.ctl("list", &[]);
    assert!(
        text.done()
            .stdout
            .contains(&format!("NOT ATTACHED: {named}")),
        "{text}"
    );
    let status = rig.daemon.ctl(&["status", "--json"]).done().json();
    assert_eq!(
        status["warnings"],
        json!([format!("the chain of xd0 is not attached: {named}")])
    );
    let said = format!("xdt_foreign (id {})", foreign.id());
    rig.try_load(&tests::object("verdict"), "next", &[])
        .refused(&["xd0", "somebody else's program", &said]);
    // It is looked at again and again, said once, and not touched.
    let before = Instant::now();
    wait_until("some looks have passed", DEADLINE, || {
        assert!(age(&rig) < Some(2000), "{:?}", age(&rig));
        before.elapsed() > Duration::from_secs(3)
    });
    assert_eq!(rig.pair.near.xdp_program(), Some(foreign.id()));
    let log = rig.daemon.log();
    assert_eq!(
        log.matches("somebody else's program is").count(),
        1,
        "{log}"
    );
    foreign.remove(&rig.pair.near);
    let free = Instant::now();
    wait_until("the chain is back", DEADLINE, || {
        listed(&rig)["attached"] == true
    });
    assert!(
        free.elapsed() < patience(Duration::from_millis(2500)),
        "{:?}",
        free.elapsed()
    );
    let chain = listed(&rig);
    assert_eq!(
        (&chain["hook"], &chain["hook_program"]),
        (&json!("link"), &Value::Null)
    );
    assert_eq!(chain["members"][0]["state"], "running");
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

/// The chain as `list --json` has it.
fn listed(rig: &Rig) -> Value {
    let document = rig.ctl("list", &["--json"]).done().json();
    document["chains"][0].clone()
}

/// How old the last look at the hook is, in milliseconds.
fn age(rig: &Rig) -> Option<u64> {
    listed(rig)["looked_ms_ago"].as_u64()
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
