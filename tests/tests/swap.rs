//! A change of a chain, as packets see it: all of it at once, and none of them lost.

use std::thread;

use libdispatch::{Position, Program, RefusalCode, Settings};
use tests::{
    DEADLINE, LiveFrames, Rig, Signal, Strangers, Tap, alone, frame, grace_period, object, volume,
    wait_until,
};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn of_500_reorders_under_traffic_each_packet_sees_one_complete_order() {
    reorders_under_traffic("native", 500, 1_000_000);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn of_100_reorders_in_generic_mode_each_packet_sees_one_complete_order_too() {
    reorders_under_traffic("generic", 100, 100_000);
}

/// Two members that append their number to the packet, and a third that counts the sequences and
/// drops: every packet met one of the two orders, none was lost, none got past the third.
fn reorders_under_traffic(mode: &str, reorders: u64, packets_min: u64) {
    let _alone = alone();
    // The last one of an even number brings the first order back.
    let (reorders, packets_min) = (2 * volume(reorders / 2), volume(packets_min));
    let rig = Rig::new();
    rig.pair.near.gro();
    rig.load(
        "append",
        "one",
        &["--global", "number=1", "--priority", "10", "--mode", mode],
    );
    rig.load(
        "append",
        "two",
        &["--global", "number=2", "--priority", "10"],
    );
    rig.load("validate", "last", &["--priority", "90"]);
    let ids = |rig: &Rig| {
        rig.chain()
            .members
            .iter()
            .map(|it| it.program_id)
            .collect::<Vec<_>>()
    };
    let ids_before = ids(&rig);
    let generation = rig.chain().generation;
    let client = rig.client("swap");
    let source = LiveFrames::into(&rig.pair.far);
    let signal = Signal::default();
    let packet = frame(64);
    let stack = Tap::on(&rig.pair.near);

    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 8192);
        for round in 0..reorders {
            let first = if round % 2 == 0 { "two" } else { "one" };
            client
                .change("xd0")
                .reorder(first, Position::First)
                .apply()
                .expect("it can be moved");
        }
        wait_until("enough packets were sent", DEADLINE, || {
            signal.sent() >= packets_min
        });
        stream.stop()
    });

    let chain = rig.chain();
    assert_eq!(
        chain.generation,
        generation + reorders,
        "each reorder was one swap"
    );
    assert_eq!(ids(&rig), ids_before, "nothing was reloaded");
    if mode == "native" {
        assert_eq!(
            rig.pair.near.driver_count("xdp_packets"),
            sent,
            "what was on the cable was in front of the hook"
        );
    }
    grace_period();
    assert_eq!(stack.try_next(), None, "none passed unfiltered");
    let seen = rig.map("last", "SEEN");
    let [one_two, two_one, other] = [0, 1, 2].map(|sequence| seen.sum(sequence, 0));
    assert_eq!(other, 0, "every packet saw one of the two complete orders");
    assert_eq!(one_two + two_one, sent, "none was lost");
    assert!(one_two > 0 && two_one > 0);
    for name in ["one", "two"] {
        let packets = chain.member(name).packets;
        assert_eq!(
            (packets.pass, packets.total()),
            (sent, sent),
            "{name}'s counts add up"
        );
    }
    let last = chain.member("last").packets;
    assert_eq!(
        (last.drop, last.total()),
        (sent, sent),
        "the last one's counts add up"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn counters_never_go_backwards_while_the_chain_changes() {
    let _alone = alone();
    let rig = Rig::new();
    rig.load_verdict("one", PASS, &[]);
    rig.load_verdict("two", DROP, &["--priority", "90"]);
    let client = rig.client("swap");
    let source = LiveFrames::into(&rig.pair.far);
    let signal = Signal::default();
    let packet = frame(64);
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 8192);
        let mut earlier = rig.chain();
        for round in 0..volume(100) {
            let mask = if round % 2 == 0 { "pass,tx" } else { "pass" };
            let settings = Settings {
                chain_call: Some(mask.parse().expect("it is a mask")),
                ..Settings::default()
            };
            client
                .change("xd0")
                .set("one", settings)
                .apply()
                .expect("it can be set");
            for _ in 0..3 {
                let now = rig.chain();
                for name in ["one", "two"] {
                    let (then, now) = (earlier.member(name).packets, now.member(name).packets);
                    assert!(now.is_not_below(&then), "{name}: {then:?}, later {now:?}");
                }
                earlier = now;
            }
        }
        stream.stop()
    });
    let chain = rig.chain();
    assert_eq!(chain.member("one").packets.pass, sent);
    assert_eq!(chain.member("two").packets.drop, sent);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_change_of_three_operations_is_one_swap() {
    let _alone = alone();
    let rig = Rig::new();
    rig.load_verdict("old", PASS, &["--priority", "10"]);
    rig.load_verdict("stays", PASS, &["--priority", "20"]);
    let before = rig.chain();
    let client = rig.client("swap");
    let changed = client
        .change("xd0")
        .expect_revision(before.generation)
        .unregister("old")
        .register(&member("new", DROP))
        .reorder("new", Position::First)
        .apply()
        .expect("all three can be done");
    assert_eq!(changed.revision, before.generation + 1);
    let after = rig.chain();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.order(), ["new", "stays"]);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_bad_operation_in_a_change_changes_nothing() {
    let _alone = alone();
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &["--priority", "10"]);
    rig.load_verdict("second", PASS, &["--priority", "20"]);
    let before = rig.chain();
    let pins = rig.daemon.bpffs().pins();
    let program = rig.pair.near.xdp_program();
    let client = rig.client("swap");
    let good = || {
        client
            .change("xd0")
            .unregister("first")
            .register(&member("third", DROP))
    };
    let rejected = Program::from_file(object("rejected"))
        .expect("it was compiled")
        .name("bad");
    for (change, code) in [
        (good().unregister("nobody"), RefusalCode::NoSuchMember),
        (
            good().reorder("second", Position::After("nobody".into())),
            RefusalCode::NoSuchMember,
        ),
        (
            good().register(&member("second", DROP)),
            RefusalCode::NameTaken,
        ),
        (
            good().register(&member("../evil", DROP)),
            RefusalCode::BadName,
        ),
        (good().register(&rejected), RefusalCode::Verifier),
        (good().order(&["second"]), RefusalCode::Conflict),
    ] {
        let error = change.apply().expect_err("the last operation is bad");
        let refusal = error.refusal().expect("it is a refusal");
        assert_eq!(refusal.code, code, "{refusal}");
        assert_eq!(rig.chain(), before, "{refusal}");
        assert_eq!(rig.daemon.bpffs().pins(), pins, "{refusal}");
        assert_eq!(rig.pair.near.xdp_program(), program, "{refusal}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_change_that_expects_an_old_generation_is_refused() {
    let _alone = alone();
    let rig = Rig::new();
    let object = object("verdict");
    rig.try_load(&object, "none-yet", &["--if-generation", "1"])
        .refused(&["xd0", "generation"]);
    assert_eq!(rig.try_chain(), None);
    rig.try_load(&object, "first", &["--if-generation", "0"])
        .done();
    rig.load_verdict("second", PASS, &[]);
    let before = rig.chain();
    let old = (before.generation - 1).to_string();
    let now = before.generation.to_string();
    for (verb, arguments) in [
        (
            "load",
            vec![object.to_str().expect("a path is text"), "--name", "third"],
        ),
        ("unload", vec!["first"]),
        ("reorder", vec!["second", "--first"]),
        ("set", vec!["first", "--chain-call", "drop"]),
        (
            "replace",
            vec!["first", object.to_str().expect("a path is text")],
        ),
        ("config", vec!["--final-verdict", "last"]),
    ] {
        let arguments = [&arguments[..], &["--if-generation", &old]].concat();
        rig.ctl(verb, &arguments).refused(&["xd0", &old, &now]);
        assert_eq!(rig.chain(), before, "{verb}");
    }
    rig.ctl("reorder", &["second", "--first", "--if-generation", &now])
        .done();
    assert_eq!(rig.chain().order(), ["second", "first"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_slow_member_in_slot_0_gets_its_verdict_through_while_the_chain_changes() {
    let _alone = alone();
    slow_member_under_changes();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_same_with_60_other_xdp_programs_on_the_host() {
    let _alone = alone();
    // With more than 48, replacing a program waits for nothing: only an explicit grace period
    // keeps the old chain alive for the packets inside it.
    let _strangers = Strangers::new(60);
    slow_member_under_changes();
}

/// Packets spend about a millisecond in slot 0 while what they will need next is replaced, cleaned
/// up and freed.
fn slow_member_under_changes() {
    let rig = Rig::new();
    rig.load(
        "slow",
        "slow",
        &["--global", "rounds=500", "--priority", "1"],
    );
    rig.load_verdict("guard", DROP, &["--priority", "50"]);
    let client = rig.client("swap");
    let source = LiveFrames::into(&rig.pair.far);
    let signal = Signal::default();
    let packet = frame(64);
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 4);
        for round in 0..3 * volume(20) {
            match round % 3 {
                0 => client
                    .change("xd0")
                    .replace("guard", &member("guard", DROP)),
                1 => client.change("xd0").register(&member("extra", PASS)),
                _ => client.change("xd0").unregister("extra"),
            }
            .apply()
            .expect("it can be done");
        }
        stream.stop()
    });
    // Where a packet takes long, the kernel puts those behind it off, and the source comes back.
    wait_until("every packet is through", DEADLINE, || {
        rig.chain().member("guard").packets.total() >= sent
    });
    let chain = rig.chain();
    let (slow, guard) = (chain.member("slow").packets, chain.member("guard").packets);
    assert_eq!((slow.pass, slow.total()), (sent, sent));
    assert_eq!(
        (guard.drop, guard.total()),
        (sent, sent),
        "no verdict changed"
    );
    assert!(sent >= volume(100), "only {sent} packets were sent");
}

fn member(name: &str, verdict: u32) -> Program {
    Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name(name)
        .global("verdict", verdict)
        .kept()
}
