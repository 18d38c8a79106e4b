//! Interfaces and namespaces that have nothing to do with each other.

use std::process::Command;
use std::thread;

use tests::{
    DEADLINE, Daemon, End, LiveFrames, NetNs, Output, Pair, PairOptions, Port, Rig, Signal, frame,
    wait_until,
};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn two_interfaces_of_a_namespace_do_not_affect_each_other() {
    let rig = Rig::new();
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    let second = Pair::between(near, far, ["xd1", "far1"], &PairOptions::default());
    changes_here_do_not_show_there(&rig, &second);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn interfaces_of_equal_name_and_index_in_two_namespaces_do_not_affect_each_other() {
    let rig = Rig::new();
    let second = Pair::new();
    assert_eq!(second.near.name, rig.pair.near.name);
    assert_eq!(
        second.near.index, rig.pair.near.index,
        "both are the first of their namespace"
    );
    changes_here_do_not_show_there(&rig, &second);
}

/// While packets flow on both, the first one's chain is changed in every way.
fn changes_here_do_not_show_there(rig: &Rig, second: &Pair) {
    let there = Port::new(&rig.daemon, &second.near);
    let here = rig.port();
    here.load_verdict("guard", DROP, &["--priority", "20"]);
    there.load_verdict("guard", PASS, &["--priority", "20"]);
    there.load("append", "other", &[]);
    let before = there.chain();
    let program = second.near.xdp_program();
    let source = LiveFrames::into(&second.far);
    let signal = Signal::default();
    let packet = frame(64);
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 256);
        here.load_verdict("extra", PASS, &["--priority", "10"]);
        here.ctl("reorder", &["guard", "--first"]).done();
        here.ctl("set", &["extra", "--chain-call", "drop"]).done();
        here.ctl("config", &["--final-verdict", "last"]).done();
        rig.send(&frame(64), 1000);
        assert_eq!(here.chain().member("guard").packets.drop, 1000);
        here.ctl("unload", &["--all"]).done();
        assert_eq!(here.try_chain(), None);
        assert_eq!(rig.pair.near.xdp_program(), None);
        stream.stop()
    });
    let after = there.chain();
    assert_eq!(second.near.xdp_program(), program);
    assert_eq!(after.clone().without_packets(), before.without_packets());
    for name in ["guard", "other"] {
        let packets = after.member(name).packets;
        assert_eq!((packets.pass, packets.total()), (sent, sent), "{name}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_new_namespace_of_the_same_name_does_not_get_a_deleted_ones_chain() {
    let daemon = Daemon::start();
    let name = format!("xdt-again-{}", std::process::id());
    let far = NetNs::new();
    let options = PairOptions::default();
    let old = NetNs::named(&name);
    let pair = Pair::between(&old, &far, ["xd0", "far0"], &options);
    Port::new(&daemon, &pair.near).load_verdict("guard", DROP, &[]);
    let (cookie, index) = (old.cookie(), pair.near.index);
    drop((pair, old));
    wait_until(
        "the namespace goes: nobody keeps it alive",
        DEADLINE,
        || !far.has_interface("far0"),
    );

    let new = NetNs::named(&name);
    let pair = Pair::between(&new, &far, ["xd0", "far0"], &options);
    assert_eq!(pair.near.index, index, "it is as equal as can be");
    assert_ne!(new.cookie(), cookie);
    let port = Port::new(&daemon, &pair.near);
    assert_eq!(port.try_chain(), None);
    assert_eq!(pair.near.xdp_program(), None);
    wait_until("the old chain is forgotten", DEADLINE, || {
        daemon.chains().is_empty()
    });
    port.load_verdict("guard", PASS, &[]);
    let chain = port.chain();
    assert_eq!(chain.order(), ["guard"]);
    assert_eq!(chain.netns.name.as_deref(), Some(&*name));
    pair.send(&frame(64), 100);
    assert_eq!(port.chain().member("guard").packets.pass, 100);
    wait_until("the old chain's pins are gone", DEADLINE, || {
        let pins = daemon.bpffs().pins();
        pins.iter()
            .all(|pin| !pin.to_string_lossy().contains(&format!("{cookie}-")))
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_made_anew_does_not_get_the_old_ones_chain() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    near.ip("link del xd0");
    let again = Pair::between(near, far, ["xd0", "far0"], &PairOptions::default());
    assert_ne!(again.near.index, rig.pair.near.index);
    wait_until("the old chain is forgotten", DEADLINE, || {
        rig.daemon.chains().is_empty()
    });
    assert_eq!(again.near.xdp_program(), None);
    let port = Port::new(&rig.daemon, &again.near);
    port.load_verdict("new", PASS, &[]);
    assert_eq!(port.chain().order(), ["new"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_connected_client_does_not_keep_its_deleted_namespace_alive() {
    let rig = Rig::new();
    let Rig { daemon, pair } = rig;
    let Pair { near, far } = pair;
    let port = Port::new(&daemon, &near);
    let client = port.client("isolation");
    port.load_verdict("guard", DROP, &[]);
    assert_eq!(client.list(Some("xd0")).expect("it is answered").len(), 1);
    drop(near);
    wait_until(
        "the namespace goes: nobody keeps it alive",
        DEADLINE,
        || !far.netns.has_interface("far0"),
    );
    client.status().expect("the daemon still answers");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_renamed_interface_keeps_its_chain() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let near = &rig.pair.near;
    near.netns.ip("link set xd0 down");
    near.netns.ip("link set xd0 name renamed0");
    near.netns.ip("link set renamed0 up");
    let renamed = End::of(&near.netns, "renamed0");
    let port = Port::new(&rig.daemon, &renamed);
    port.load_verdict("extra", PASS, &["--priority", "1"]);
    assert_eq!(port.chain().order(), ["extra", "guard"]);
    rig.ctl("unload", &["guard"]).refused(&["xd0"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_name_is_resolved_in_the_callers_namespace() {
    let rig = Rig::new();
    let stranger = Pair::new();
    rig.load_verdict("guard", DROP, &[]);
    let unload = |inside: &NetNs| {
        let output = inside.run(|| {
            let mut ctl: Command = rig.daemon.ctl_command();
            ctl.args(["unload", "xd0", "guard"]).output()
        });
        Output::from(output.expect("dispatchctl can be started"))
    };
    unload(&stranger.near.netns).refused(&["xd0"]);
    assert_eq!(rig.chain().order(), ["guard"]);
    unload(&rig.pair.near.netns).done();
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_namespace_can_be_given_by_its_path() {
    let rig = Rig::new();
    rig.load_verdict("guard", DROP, &[]);
    let path = rig.pair.near.netns.path();
    let path = path.to_str().expect("a path is text");
    rig.daemon
        .ctl(&["unload", "xd0", "guard", "--netns", path])
        .done();
    assert_eq!(rig.try_chain(), None);
}
