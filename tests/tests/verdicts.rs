//! What the chain makes of its members' verdicts.

use std::collections::BTreeMap;

use libdispatch::{Client, Count, Program, Settings, Verdict, VerdictMask};
use tests::{
    DEADLINE, Foreign, PinnedProgram, Rig, Tap, frame, grace_period, object, some_of, wait_until,
};

const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;
const NO_OPINION: u32 = 31;

/// Each verdict, "no opinion", and values that are none.
const VALUES: [u32; 11] = [0, 1, 2, 3, 4, NO_OPINION, 5, 32, 200, 255, u32::MAX];

/// What the second member says: nothing that the first one says.
const SENTINEL: u32 = 77;

/// The five verdicts that can be in a mask and mean something there.
const MASKABLE: [Verdict; 5] = [
    Verdict::Aborted,
    Verdict::Drop,
    Verdict::Pass,
    Verdict::Tx,
    Verdict::Redirect,
];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_value_against_every_chain_call_mask_goes_on_or_ends_as_defined() {
    let rig = Rig::new();
    let client = rig.client("verdicts");
    client
        .change("xd0")
        .register(&member("first", 0))
        .apply()
        .expect("there is room");
    client
        .change("xd0")
        .register(&member("second", SENTINEL))
        .apply()
        .expect("there is room");
    let mut expected: BTreeMap<Verdict, u64> = BTreeMap::new();
    let mut chained_on = 0;
    for mask in some_of(every_mask()) {
        let settings = Settings {
            chain_call: Some(mask),
            ..Settings::default()
        };
        client
            .change("xd0")
            .set("first", settings)
            .apply()
            .expect("it can be set");
        for value in VALUES {
            let root = with_first_saying(&rig, &client, value);
            let verdict = Verdict::of(value);
            let goes_on = value == NO_OPINION || (value < 5 && mask.contains(verdict));
            let ends_with = if goes_on { SENTINEL } else { value };
            assert_eq!(
                root.run(&frame(64)),
                ends_with,
                "{value} with chain-call {mask}"
            );
            *expected.entry(verdict).or_default() += 1;
            chained_on += u64::from(goes_on);
        }
    }
    let first = client
        .show("xd0", "first")
        .expect("it is there")
        .member
        .packets;
    for verdict in Verdict::ALL {
        assert_eq!(
            first.get(Count::of(verdict)),
            expected[&verdict],
            "{verdict}"
        );
    }
    let second = client
        .show("xd0", "second")
        .expect("it is there")
        .member
        .packets;
    assert_eq!(
        (second.get(Count::Other), second.total()),
        (chained_on, chained_on)
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_value_against_every_allowed_mask_counts_or_is_overruled() {
    let rig = Rig::new();
    let client = rig.client("verdicts");
    client
        .change("xd0")
        .register(&member("first", 0))
        .apply()
        .expect("there is room");
    client
        .change("xd0")
        .register(&member("second", SENTINEL))
        .apply()
        .expect("there is room");
    let mut overruled = 0;
    for mask in some_of(every_mask()) {
        let settings = Settings {
            chain_call: Some(VerdictMask::NONE),
            allowed: Some(mask),
            ..Settings::default()
        };
        client
            .change("xd0")
            .set("first", settings)
            .apply()
            .expect("it can be set");
        for value in VALUES {
            let root = with_first_saying(&rig, &client, value);
            let allowed = mask.contains(Verdict::of(value));
            let goes_on = value == NO_OPINION || !allowed;
            let ends_with = if goes_on { SENTINEL } else { value };
            assert_eq!(
                root.run(&frame(64)),
                ends_with,
                "{value} with allowed {mask}"
            );
            overruled += u64::from(!allowed);
        }
    }
    let first = client
        .show("xd0", "first")
        .expect("it is there")
        .member
        .packets;
    assert_eq!(first.get(Count::Overruled), overruled);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_that_went_on_to_its_end_returns_pass_or_the_last_verdict() {
    let rig = Rig::new();
    let client = rig.client("verdicts");
    let everything: VerdictMask = MASKABLE.into_iter().collect();
    for name in ["first", "second"] {
        let program = member(name, PASS).chain_call(everything);
        client
            .change("xd0")
            .register(&program)
            .apply()
            .expect("there is room");
    }
    for rule in ["last", "pass"] {
        rig.ctl("config", &["--final-verdict", rule]).done();
        assert_eq!(rig.chain().final_verdict, rule);
        for (first, second) in [
            (0, 1),
            (1, 0),
            (2, 3),
            (3, 4),
            (4, 2),
            (1, 1),
            (1, NO_OPINION),
            (NO_OPINION, 3),
            (NO_OPINION, NO_OPINION),
        ] {
            client
                .change("xd0")
                .replace("first", &member("first", first))
                .replace("second", &member("second", second))
                .apply()
                .expect("both can be replaced");
            let last = match (first, second) {
                (NO_OPINION, NO_OPINION) => PASS,
                (verdict, NO_OPINION) | (_, verdict) => verdict,
            };
            let expected = if rule == "last" { last } else { PASS };
            let said = rig.root().run(&frame(64));
            assert_eq!(
                said, expected,
                "{first} then {second}, final verdict {rule}"
            );
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_final_verdict_of_a_lone_overruled_member_is_pass_by_both_rules() {
    let rig = Rig::new();
    rig.load_verdict("observer", DROP, &["--allowed", "pass"]);
    for rule in ["last", "pass"] {
        rig.ctl("config", &["--final-verdict", rule]).done();
        assert_eq!(rig.root().run(&frame(64)), PASS);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn real_packets_meet_the_same_verdicts() {
    let cases = [
        // (first's verdict, its chain-call actions, second's verdict, what becomes of the packet)
        (PASS, "pass", DROP, Fate::Dropped),
        (PASS, "drop", DROP, Fate::Passed), // a mask without PASS stops at PASS
        (PASS, "none", DROP, Fate::Passed),
        (DROP, "pass", PASS, Fate::Dropped), // DROP stops
        (DROP, "drop", PASS, Fate::Passed),
        (0, "pass", PASS, Fate::Dropped),
        (0, "aborted,pass", PASS, Fate::Passed),
        (TX, "pass", DROP, Fate::Returned),
        (TX, "tx", PASS, Fate::Passed),
        (NO_OPINION, "none", DROP, Fate::Dropped),
        (NO_OPINION, "none", NO_OPINION, Fate::Passed), // 31 never reaches the driver
    ];
    for mode in ["native", "generic"] {
        let rig = Rig::new();
        // Or what is sent back waits at the far end for something else to wake it.
        let _far = Foreign::on(&rig.pair.far);
        rig.load_verdict("first", PASS, &["--mode", mode]);
        rig.load_verdict("second", PASS, &[]);
        assert_eq!(rig.chain().mode, mode);
        let client = rig.client("verdicts");
        for (first, chain_call, second, fate) in cases {
            let mask = chain_call.parse().expect("it is a mask");
            let settings = Settings {
                chain_call: Some(mask),
                ..Settings::default()
            };
            client
                .change("xd0")
                .set("first", settings)
                .replace("first", &member("first", first))
                .replace("second", &member("second", second))
                .apply()
                .expect("both can be replaced");
            let seen = fate_of_a_packet(&rig, fate);
            assert_eq!(
                seen, fate,
                "{mode}: {first} with chain-call {chain_call}, then {second}"
            );
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_observer_that_says_drop_drops_nothing_and_shows_as_overruled() {
    let rig = Rig::new();
    rig.load_verdict("observer", DROP, &["--allowed", "pass", "--priority", "1"]);
    rig.load_verdict("last", PASS, &["--priority", "2"]);
    for _ in 0..5 {
        assert_eq!(fate_of_a_packet(&rig, Fate::Passed), Fate::Passed);
    }
    rig.send(&frame(64), 10_000);
    let chain = rig.chain();
    let observer = chain.member("observer").packets;
    assert_eq!((observer.overruled, observer.total()), (10_005, 10_005));
    let last = chain.member("last").packets;
    assert_eq!((last.pass, last.total()), (10_005, 10_005));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn counters_that_are_off_count_nothing_and_change_no_verdict() {
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &["--priority", "1"]);
    rig.load_verdict("second", DROP, &["--priority", "2"]);
    rig.send(&frame(64), 1000);
    rig.ctl("config", &["--counters", "off"]).done();
    rig.send(&frame(64), 1000);
    assert_eq!(rig.root().run(&frame(64)), DROP);
    assert_eq!(
        rig.chain().member("second").packets.drop,
        1000,
        "what was counted stays"
    );
    rig.ctl("config", &["--counters", "on"]).done();
    rig.send(&frame(64), 1000);
    assert_eq!(rig.chain().member("second").packets.drop, 2000);
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    Returned,
    Dropped,
}

/// Sends one packet and sees whether it turns up where it is expected, and nowhere else.
fn fate_of_a_packet(rig: &Rig, expected: Fate) -> Fate {
    let (far, near) = (Tap::on(&rig.pair.far), Tap::on(&rig.pair.near));
    let counted = packets_in_first_slot(rig);
    far.send(&frame(64));
    wait_until("the packet is counted", DEADLINE, || {
        packets_in_first_slot(rig) > counted
    });
    // The packet was counted within the very interrupt that hands it on; on its way back, another
    // one has to receive it.
    grace_period();
    let returned = match expected {
        Fate::Returned => Some(far.next_frame()),
        Fate::Passed | Fate::Dropped => far.try_next(),
    };
    match (near.try_next(), returned) {
        (Some(_), None) => Fate::Passed,
        (None, Some(_)) => Fate::Returned,
        (None, None) => Fate::Dropped,
        (Some(_), Some(_)) => panic!("one packet became two"),
    }
}

fn packets_in_first_slot(rig: &Rig) -> u64 {
    rig.chain().members[0].packets.total()
}

fn with_first_saying(rig: &Rig, client: &Client, value: u32) -> PinnedProgram {
    client
        .change("xd0")
        .replace("first", &member("first", value))
        .apply()
        .expect("it can be replaced");
    rig.root()
}

fn member(name: &str, verdict: u32) -> Program {
    Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name(name)
        .global("verdict", verdict)
        .kept()
}

fn every_mask() -> impl Iterator<Item = VerdictMask> {
    (0..1_u32 << MASKABLE.len()).map(|bits| {
        MASKABLE
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| bits >> bit & 1 == 1)
            .map(|(_, verdict)| verdict)
            .collect()
    })
}
