//! A member that should run and did not is never passed over in silence.

use libdispatch::{OnMiss, Program, RefusalCode};
use tests::{PairOptions, Rig, Tap, frame, grace_period, object};

const ABORTED: u32 = 0;
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

/// What a slot returns when its member did not run: see `dispatcher-abi`.
const MISSED: u32 = 0x4d49_5353;

/// By freplace a member's tail calls are its own, and it can't be missed for want of one.
fn by_tail_call() -> Rig {
    Rig::with(&["--engine", "tailcall"], &PairOptions::default())
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn behind_a_member_that_spends_every_tail_call_no_packet_passes_and_the_miss_shows() {
    let rig = by_tail_call();
    let client = rig.client("fail-closed");
    client
        .change("xd0")
        .register(&hungry())
        .apply()
        .expect("it declares one call");
    rig.load_verdict("guard", DROP, &["--priority", "2"]);
    // Older kernels count the tail calls of each slot apart: there the guard runs all the same.
    let verdict = rig.root().run(&frame(64));
    assert!([ABORTED, DROP].contains(&verdict), "{verdict}");

    let near = Tap::on(&rig.pair.near);
    rig.send(&frame(64), 10_000);
    grace_period();
    assert_eq!(near.try_next(), None, "no packet passes");
    let chain = rig.chain();
    assert_eq!(chain.member("hungry").packets.pass, 10_001);
    let guard = chain.member("guard").packets;
    let listing = rig.daemon.ctl(&["list"]);
    let shows_a_miss = listing.done().stdout.contains("missed");
    assert_eq!(shows_a_miss, verdict == ABORTED, "{listing}");
    let counted = if shows_a_miss {
        guard.missed
    } else {
        guard.drop
    };
    assert_eq!((counted, guard.total()), (10_001, 10_001));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_whose_array_entry_is_gone_is_missed_and_no_packet_passes() {
    let rig = by_tail_call();
    rig.load_verdict("first", PASS, &["--priority", "1"]);
    rig.load_verdict("guard", DROP, &["--priority", "2"]);
    rig.load_verdict("last", PASS, &["--priority", "3"]);
    for (slot, name) in [(1_u32, "guard"), (0, "first")] {
        let missed = rig.chain().member(name).packets.missed;
        rig.jump()
            .delete(&slot.to_ne_bytes())
            .expect("root may empty an entry");
        assert_eq!(rig.root().run(&frame(64)), ABORTED);
        let near = Tap::on(&rig.pair.near);
        rig.send(&frame(64), 1000);
        grace_period();
        assert_eq!(near.try_next(), None, "no packet passes");
        assert_eq!(rig.chain().member(name).packets.missed, missed + 1001);
    }
    assert_eq!(rig.chain().member("last").packets.total(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_next_change_puts_a_missing_member_back() {
    let rig = by_tail_call();
    rig.load_verdict("guard", DROP, &[]);
    rig.jump()
        .delete(&0_u32.to_ne_bytes())
        .expect("root may empty an entry");
    assert_eq!(rig.root().run(&frame(64)), ABORTED);
    rig.load_verdict("last", PASS, &["--priority", "90"]);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_that_may_be_missed_is_passed_over_and_counted() {
    let rig = by_tail_call();
    let client = rig.client("fail-closed");
    let optional = Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name("optional")
        .global("verdict", PASS)
        .priority(1)
        .on_miss(OnMiss::Continue)
        .kept();
    client
        .change("xd0")
        .register(&optional)
        .apply()
        .expect("there is room");
    rig.load_verdict("guard", DROP, &["--priority", "2"]);
    rig.jump()
        .delete(&0_u32.to_ne_bytes())
        .expect("root may empty an entry");
    assert_eq!(rig.root().run(&frame(64)), DROP);
    let chain = rig.chain();
    assert_eq!(chain.member("optional").packets.missed, 1);
    assert_eq!(chain.member("guard").packets.drop, 1);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_that_returns_the_value_of_a_miss_is_taken_for_missed() {
    let rig = by_tail_call();
    rig.load_verdict("liar", MISSED, &["--priority", "1"]);
    rig.load_verdict("last", PASS, &["--priority", "2"]);
    assert_eq!(rig.root().run(&frame(64)), ABORTED);
    assert_eq!(rig.chain().member("liar").packets.missed, 1);
    assert_eq!(rig.chain().member("last").packets.total(), 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_polite_members_own_tail_calls_work_in_every_slot() {
    let rig = by_tail_call();
    let client = rig.client("fail-closed");
    client
        .change("xd0")
        .register(&polite("polite-1", 1))
        .apply()
        .expect("2 of 33 calls");
    client
        .change("xd0")
        .register(&polite("polite-2", 2))
        .apply()
        .expect("4 of 33 calls");
    rig.load_verdict("last", TX, &["--priority", "3"]);
    let (even, mut odd) = (frame(64), frame(64));
    odd[0] |= 1;
    assert_eq!(rig.root().run(&even), TX, "both tails said PASS");
    assert_eq!(rig.root().run(&odd), DROP, "the first tail said DROP");
    rig.send(&odd, 1000);
    rig.send(&even, 500);
    let chain = rig.chain();
    let first = chain.member("polite-1").packets;
    assert_eq!((first.pass, first.drop, first.total()), (501, 1001, 1502));
    let second = chain.member("polite-2").packets;
    assert_eq!((second.pass, second.total()), (501, 501));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn tail_calls_that_exceed_what_a_packet_may_make_are_refused() {
    let rig = by_tail_call();
    let client = rig.client("fail-closed");
    rig.load_verdict("first", PASS, &[]);
    let before = rig.chain();
    let greedy = polite("greedy", 1).tail_depth(32);
    let error = client
        .change("xd0")
        .register(&greedy)
        .apply()
        .expect_err("2 slots and 32 calls");
    let refusal = error.refusal().expect("it is a refusal");
    assert_eq!(refusal.code, RefusalCode::TailCallBudget);
    assert!(refusal.message.contains("33"), "{refusal}");
    assert!(refusal.message.contains("xd0"), "{refusal}");
    assert_eq!(rig.chain(), before);

    let fits = polite("fits", 1).tail_depth(31);
    client
        .change("xd0")
        .register(&fits)
        .apply()
        .expect("2 slots and 31 calls are 33");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_thirty_third_member_is_refused_with_the_limit_and_why() {
    let rig = by_tail_call();
    let client = rig.client("fail-closed");
    let verdict = Program::from_file(object("verdict"))
        .expect("it was compiled")
        .global("verdict", PASS)
        .kept();
    let mut change = client.change("xd0");
    for number in 0..32 {
        change = change.register(&verdict.clone().name(format!("m{number}")));
    }
    change.apply().expect("32 have room");
    rig.send(&frame(64), 1000);
    let before = rig.chain();
    assert!(
        before
            .members
            .iter()
            .all(|member| member.packets.pass == 1000)
    );
    rig.try_load(&object("verdict"), "one-too-many", &[])
        .refused(&["xd0", "32", "tail call"]);
    assert_eq!(rig.chain(), before);
}

/// A member that tail-calls itself until the kernel refuses, and declares one call.
fn hungry() -> Program {
    Program::from_file(object("hungry"))
        .expect("it was compiled")
        .name("hungry")
        .program("hungry")
        .priority(1)
        .tail_call("again", 0, "hungry")
        .tail_depth(1)
        .kept()
}

/// A member that tail-calls a program that says PASS if the packet's first byte is even, and one
/// that says DROP if it is odd.
fn polite(name: &str, priority: u32) -> Program {
    Program::from_file(object("tailcalls"))
        .expect("it was compiled")
        .name(name)
        .program("choose")
        .priority(priority)
        .tail_call("targets", 0, "even")
        .tail_call("targets", 1, "odd")
        .kept()
}
