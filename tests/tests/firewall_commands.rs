//! A running firewall is told what to change.

mod app;

use std::thread;

use app::{App, Fate, Firewall, Rules, UDP, assert_ended, fate, hits, ipv4, listed, run, run_with};
use nix::sys::signal::Signal;
use tests::{DEADLINE, LiveFrames, Rig, Tap, volume, wait_until};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn rules_come_and_go_by_commands() {
    let rig = Rig::new();
    let rules = Rules::new("default deny\nallow 10.0.0.0/8\n");
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let packet = ipv4([10, 1, 2, 3], UDP, 53, 64);
    assert_eq!(fate(&rig, &tap, &packet), Fate::Pass);

    let said = |added: usize, removed: usize, in_force: usize| {
        format!("firewall on xd0: {added} added, {removed} removed, {in_force} in force")
    };
    let steps: [(&[&str], String, Fate); 7] = [
        (
            &["add", "xd0", "deny", "10.1.0.0/16"],
            said(1, 0, 2),
            Fate::Drop,
        ),
        (
            &["add", "xd0", "allow 10.1.0.0/16"],
            said(1, 1, 2),
            Fate::Pass,
        ),
        (
            &["add", "xd0", "allow 10.1.0.0/16"],
            said(0, 0, 2),
            Fate::Pass,
        ),
        (
            &["add", "xd0", "deny udp port 53"],
            said(1, 0, 3),
            Fate::Pass,
        ),
        (
            &["add", "xd0", "deny 10.1.2.3 udp port 53"],
            said(1, 0, 4),
            Fate::Drop,
        ),
        (
            &["remove", "xd0", "10.1.2.3", "udp", "port", "53"],
            said(0, 1, 3),
            Fate::Pass,
        ),
        (
            &["remove", "xd0", "allow 10.1.0.0/16"],
            said(0, 1, 2),
            Fate::Pass,
        ),
    ];
    for (arguments, expected, expected_fate) in steps {
        let output = run(&rig, "firewall", arguments);
        assert!(output.done().stdout.starts_with(&expected), "{output}");
        assert_eq!(firewall.app.line(), expected);
        assert_eq!(fate(&rig, &tap, &packet), expected_fate, "{arguments:?}");
    }
    let output = run(&rig, "firewall", &["add", "xd0", "default allow", "--json"]);
    let answer = output.json();
    assert_eq!(
        (&answer["default"], &answer["in_force"]),
        (&"allow".into(), &2.into())
    );
    assert!(
        answer["us"].as_f64() <= answer["total_us"].as_f64(),
        "{answer}"
    );
    let line = firewall.app.line();
    assert_eq!(line, said(0, 0, 2) + ", default now allow");

    assert_ended(firewall.end().0);
    run(&rig, "firewall", &["list", "xd0"]).refused(&["/run/firewall/"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn commands_that_cant_be_meant_change_nothing() {
    let rig = Rig::new();
    let rules = Rules::new("allow 10.0.0.0/8\ndeny udp port 53\n");
    let firewall = Firewall::start(&rig, &rules);
    for (arguments, problem) in [
        (
            ["add", "xd0", "deny 10.0.0.1/8"],
            "1:6: the address has bits behind the prefix",
        ),
        (
            ["add", "xd0", "allow 0.0.0.0/0 udp port 53"],
            "`deny any udp port 53` says the opposite",
        ),
        (
            ["add", "xd0", "deny any protocol 43"],
            "1:19: protocol 43 is an IPv6 extension header",
        ),
        (
            ["remove", "xd0", "10.9.0.0/16"],
            "there is no rule `10.9.0.0/16`",
        ),
        (
            ["remove", "xd0", "deny 10.0.0.0/8"],
            "there is no rule `deny 10.0.0.0/8`",
        ),
        (["add", "xd9", "deny 10.0.0.0/8"], "xd9"),
    ] {
        run(&rig, "firewall", &arguments).refused(&[problem]);
    }
    let in_force: Vec<String> = hits(&listed(&rig)).into_keys().collect();
    assert_eq!(in_force, ["allow 10.0.0.0/8", "deny any udp port 53"]);
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_list_is_a_rules_file_and_the_file_takes_the_place_of_commands() {
    let rig = Rig::new();
    let rules = Rules::new("allow 10.0.0.0/8\n");
    let firewall = Firewall::start(&rig, &rules);
    run(&rig, "firewall", &["add", "xd0", "deny udp port 53"]).done();
    firewall.app.line();
    let list = run(&rig, "firewall", &["list", "xd0"]);
    firewall.change(
        &rules,
        &list.done().stdout,
        "0 added, 0 removed, 2 in force",
    );
    run(&rig, "firewall", &["add", "xd0", "deny udp port 54"]).done();
    firewall.app.line();
    firewall.app.signal(Signal::SIGHUP);
    let line = firewall.app.line();
    assert!(line.ends_with("0 added, 1 removed, 2 in force"), "{line}");
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn commands_under_traffic_misjudge_no_packet() {
    let rig = Rig::new();
    let rules = Rules::new("default deny\nallow 10.0.0.0/8\n");
    let firewall = Firewall::start(&rig, &rules);
    let source = LiveFrames::into(&rig.pair.far);
    let packet = ipv4([10, 1, 2, 3], 0, 0, 64);
    let signal = tests::Signal::default();
    let sent = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, volume(4096));
        for _ in 0..volume(20) {
            // By each of these, and between them, the packet is allowed.
            for arguments in [
                ["add", "xd0", "allow 10.1.2.3"],
                ["add", "xd0", "deny 10.0.0.0/8"],
                ["add", "xd0", "allow 10.1.2.0/24"],
                ["remove", "xd0", "10.1.2.3"],
                ["add", "xd0", "allow 10.0.0.0/8"],
                ["remove", "xd0", "10.1.2.0/24"],
            ] {
                run(&rig, "firewall", &arguments).done();
            }
            let before = signal.sent();
            wait_until("packets flow", DEADLINE, || signal.sent() > before);
        }
        stream.stop()
    });
    let packets = rig.chain().member("firewall").packets;
    assert_eq!((packets.pass, packets.drop), (sent, 0));
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn many_rules_come_at_once_and_go_one_by_one() {
    const ADDRESSES: u32 = 2900;
    let rig = Rig::new();
    let rules = Rules::new("");
    let path = rules.path.to_str().expect("a path is text");
    let app = App::start(&rig, "firewall", &["xd0", path, "--room", "6000"]);
    let started = app.line();
    let firewall = Firewall { app, started };
    let lines: Vec<String> = (0..ADDRESSES)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            format!("deny 10.{a}.{b}.{c}\n")
        })
        .collect();
    let text = lines.concat();
    let output = run_with(&rig, "firewall", &["add", "xd0", "-", "--json"], &text);
    let answer = output.json();
    assert_eq!(
        (&answer["added"], &answer["in_force"]),
        (&ADDRESSES.into(), &ADDRESSES.into())
    );
    // The old ones have to be through before there is room for as many again.
    for round in 0..4 {
        let other = text.replace("deny", if round % 2 == 0 { "allow" } else { "deny" });
        let output = run_with(&rig, "firewall", &["add", "xd0", "-", "--json"], &other);
        assert_eq!(output.json()["removed"], ADDRESSES, "{output}");
    }
    let more = text.replace("deny 10.", "deny 11.") + &text.replace("deny 10.", "deny 12.");
    let output = run_with(&rig, "firewall", &["add", "xd0", "-"], &more);
    output.refused(&["no room for 8700 entries", "--room"]);
    let tap = Tap::on(&rig.pair.far);
    let packet = ipv4([10, 0, 3, 7], UDP, 9, 64);
    assert_eq!(fate(&rig, &tap, &packet), Fate::Drop);
    run(&rig, "firewall", &["remove", "xd0", "deny 10.0.3.7"]).done();
    assert_eq!(fate(&rig, &tap, &packet), Fate::Pass);
    assert_ended(firewall.end().0);
}
