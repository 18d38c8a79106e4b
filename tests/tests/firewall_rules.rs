//! The application `firewall`, as a user runs it.

mod app;
mod packet;

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::channel;
use std::thread;

use app::{
    Fate, Firewall, Rules, TCP, UDP, assert_ended, fate, hits, ipv4, ipv6, ipv6_elsewhere, listed,
    run,
};
use nix::sys::signal::Signal;
use packet::{AUTHENTICATION, FRAGMENT, HOP_BY_HOP, OPTIONS, ROUTING, Sent};
use tests::{DEADLINE, Packets, Rig, Tap, frame, volume, wait_until};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_prefix_is_blocked_and_unblocked_while_the_firewall_runs() {
    let rig = Rig::new();
    let rules = Rules::new("# nothing yet\n");
    let firewall = Firewall::start(&rig, &rules);
    assert_eq!(firewall.started, "firewall on xd0: slot 0, 0 rules");
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    let other = ipv4([192, 0, 3, 7], UDP, 53, 64);
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);

    let id = rig.chain().member("firewall").program_id;
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\n",
        "1 added, 0 removed, 1 in force",
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);
    assert_eq!(fate(&rig, &tap, &other), Fate::Pass);
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\nallow 192.0.2.7\n",
        "1 added, 0 removed, 2 in force",
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    firewall.change(&rules, "", "0 added, 2 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_eq!(rig.chain().member("firewall").program_id, id);

    let (status, said) = firewall.end();
    assert_ended(status);
    let last = said.last().expect("it says what became of packets");
    assert_eq!(
        last,
        "firewall on xd0: removed, 4 allowed, 1 denied, 0 malformed, 0 not-ip"
    );
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_documented_precedence_decides() {
    let rig = Rig::new();
    let rules = Rules::new(
        "default deny\n\
         allow 10.0.0.0/8\n\
         deny  10.0.0.0/8 udp\n\
         allow 10.0.0.0/8 udp port 53\n\
         deny  10.1.0.0/16\n\
         allow 10.1.0.0/16 tcp port 22\n\
         allow tcp port 443\n\
         allow 2001:db8::/64\n\
         deny  2001:db8::2 udp\n\
         deny  0.0.0.0/0 icmp\n\
         allow any icmpv6\n",
    );
    let firewall = Firewall::start(&rig, &rules);
    assert_eq!(firewall.started, "firewall on xd0: slot 0, 10 rules");
    let tap = Tap::on(&rig.pair.far);
    let expected = [
        (ipv4([10, 2, 0, 1], TCP, 1, 64), Fate::Pass),
        (ipv4([10, 2, 0, 1], UDP, 1, 64), Fate::Drop),
        (ipv4([10, 2, 0, 1], UDP, 53, 64), Fate::Pass),
        (ipv4([10, 2, 0, 1], 1, 0, 64), Fate::Pass), // the longer prefix wins
        (ipv4([10, 1, 0, 1], TCP, 443, 64), Fate::Drop),
        (ipv4([10, 1, 0, 1], UDP, 53, 64), Fate::Drop),
        (ipv4([10, 1, 0, 1], TCP, 22, 64), Fate::Pass),
        (ipv4([11, 0, 0, 1], TCP, 443, 64), Fate::Pass),
        (ipv4([11, 0, 0, 1], TCP, 444, 64), Fate::Drop),
        (ipv4([11, 0, 0, 1], UDP, 443, 64), Fate::Drop),
        (ipv4([11, 0, 0, 1], 1, 0, 64), Fate::Drop),
        (ipv6(1, UDP, 9, 80), Fate::Pass),
        (ipv6(2, UDP, 9, 80), Fate::Drop),
        (ipv6(2, TCP, 9, 80), Fate::Pass),
        (ipv6_elsewhere(TCP, 443), Fate::Pass),
        (ipv6_elsewhere(TCP, 80), Fate::Drop),
        (ipv6_elsewhere(58, 0), Fate::Pass),
        (frame(64), Fate::Pass), // neither IPv4 nor IPv6
    ];
    for (index, (frame, expected)) in expected.iter().enumerate() {
        assert_eq!(fate(&rig, &tap, frame), *expected, "packet {index}");
    }
    firewall.change(
        &rules,
        "default allow\n",
        "0 added, 10 removed, 0 in force, default now allow",
    );
    for (index, (frame, _)) in expected.iter().enumerate() {
        assert_eq!(fate(&rig, &tap, frame), Fate::Pass, "packet {index}");
    }
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn no_packet_meets_a_moment_without_rules() {
    // The same packets, allowed by one rule or another: none may meet the default.
    let ways = [
        "default deny\nallow 10.0.0.0/8\n",
        "default deny\nallow 10.1.2.3\ndeny 10.0.0.0/8\n",
        "deny any\nallow 10.1.2.3 udp port 53\ndeny 10.1.2.3\ndeny 10.1.2.3 udp\n",
        "default deny\nallow 10.1.2.0/24 udp\ndeny 10.1.2.0/24\nallow 10.0.0.0/8 tcp\n",
    ];
    let rig = Rig::new();
    let rules = Rules::new(ways[0]);
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let packet = ipv4([10, 1, 2, 3], UDP, 53, 64);
    let (stop, stopped) = channel::<()>();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            let stopped = stopped;
            while stopped.try_recv().is_err() {
                sent += u64::from(tap.try_send(&packet));
            }
            sent
        });
        for round in 0..6 {
            for (index, way) in ways.iter().enumerate().skip(usize::from(round == 0)) {
                rules.write(way);
                firewall.app.signal(Signal::SIGHUP);
                let line = firewall.app.line();
                assert!(line.contains(" in force"), "way {index}: {line}");
            }
        }
        stop.send(())
            .expect("the sender goes on until it is stopped");
        sender.join().expect("packets can be sent")
    });
    assert!(sent > volume(1000), "packets flowed: {sent}");
    let mut packets = Packets::default();
    wait_until("every packet is judged", DEADLINE, || {
        packets = rig.chain().member("firewall").packets;
        packets.total() == sent
    });
    assert_eq!((packets.pass, packets.drop), (sent, 0));
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_file_with_errors_changes_nothing() {
    let rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    let path = rules.path.display();

    firewall.change(
        &rules,
        "allow 192.0.2.7\ndeny 10.0.0.1/8\ndeny tcp port x\n",
        "2 errors, nothing changed, 1 in force",
    );
    let errors = firewall.app.errors();
    let expected = format!("{path}:3:15: expected a port number from 0 to 65535, found `x`");
    assert!(errors.contains(&expected), "{errors}");
    assert!(errors.contains(&format!("{path}:2:6: ")), "{errors}");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);

    fs::remove_file(&rules.path).expect("the file is there");
    let line = firewall.app.line();
    assert_eq!(
        line,
        format!("{path}: 1 error, nothing changed, 1 in force")
    );
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);

    firewall.change(&rules, "", "0 added, 1 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn many_rules_are_loaded_and_changed() {
    // More than there is room for if nobody says otherwise.
    let addresses = u32::try_from(volume(70_000)).expect("it is less");
    let rig = Rig::new();
    let lines: Vec<String> = (0..addresses)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            format!("deny 10.{a}.{b}.{c}\n")
        })
        .collect();
    let mut text = lines.concat();
    let rules = Rules::new(&text);
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    assert_eq!(
        firewall.started,
        format!("firewall on xd0: slot 0, {addresses} rules")
    );
    let [_, a, b, c] = (addresses - 1).to_be_bytes();
    let listed = ipv4([10, a, b, c], UDP, 9, 64);
    let other = ipv4([10, 9, 2, 3], UDP, 9, 64);
    assert_eq!(fate(&rig, &tap, &listed), Fate::Drop);
    assert_eq!(fate(&rig, &tap, &other), Fate::Pass);
    text += "deny 10.9.2.3\n";
    let in_force = format!("1 added, 0 removed, {} in force", addresses + 1);
    firewall.change(&rules, &text, &in_force);
    assert_eq!(fate(&rig, &tap, &other), Fate::Drop);
    assert_ended(firewall.end().0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_firewall_filters_on_while_the_daemon_is_exchanged() {
    let mut rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let blocked = ipv4([192, 0, 2, 7], UDP, 53, 64);
    rig.daemon.kill();
    firewall.change(
        &rules,
        "deny 192.0.2.0/24\ndeny 192.0.3.0/24\n",
        "1 added, 0 removed, 2 in force",
    );
    rig.daemon.restart();
    wait_until("the member is claimed again", DEADLINE, || {
        rig.chain().member("firewall").state == "running"
    });
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Drop);
    firewall.change(&rules, "", "0 added, 2 removed, 0 in force");
    assert_eq!(fate(&rig, &tap, &blocked), Fate::Pass);
    assert_ended(firewall.end().0);
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_packet_is_counted_for_the_rule_that_decided_it() {
    let rig = Rig::new();
    let text = "deny 192.0.2.0/24\nallow 192.0.2.7\ndeny udp port 53\n\
                deny 2001:db8::/32 tcp port 22\nallow 2001:db8::/32\n";
    let rules = Rules::new(text);
    let firewall = Firewall::start(&rig, &rules);
    let tap = Tap::on(&rig.pair.far);
    let v4 = |source: &str, protocol, port| Sent::new(source, protocol, port);
    let v6 = |extensions: &[(u8, u8)], protocol, port| Sent {
        extensions: extensions.to_vec(),
        ..Sent::new("2001:db8::9", protocol, port)
    };
    let tagged = |tags, sent| Sent { tags, ..sent };
    let later = |sent| Sent {
        fragment_offset: 185,
        ..sent
    };
    let sent = [
        (v4("192.0.2.1", TCP, 80), "deny 192.0.2.0/24"),
        (tagged(1, v4("192.0.2.1", TCP, 80)), "deny 192.0.2.0/24"),
        (tagged(2, v4("192.0.2.7", UDP, 53)), "allow 192.0.2.7"),
        (
            tagged(2, v4("198.51.100.1", UDP, 53)),
            "deny any udp port 53",
        ),
        (later(v4("198.51.100.1", UDP, 53)), "default"),
        (later(v4("192.0.2.1", UDP, 53)), "deny 192.0.2.0/24"),
        (v6(&[], TCP, 22), "deny 2001:db8::/32 tcp port 22"),
        (
            v6(&[(HOP_BY_HOP, 0), (ROUTING, 2)], TCP, 22),
            "deny 2001:db8::/32 tcp port 22",
        ),
        (
            v6(&[(OPTIONS, 1), (AUTHENTICATION, 2)], TCP, 80),
            "allow 2001:db8::/32",
        ),
        (
            tagged(1, v6(&[(FRAGMENT, 0)], TCP, 22)),
            "deny 2001:db8::/32 tcp port 22",
        ),
        (later(v6(&[(OPTIONS, 0)], TCP, 22)), "allow 2001:db8::/32"),
        (v6(&[(OPTIONS, 0); 9], TCP, 80), "unreadable"),
        (tagged(3, v4("192.0.2.7", UDP, 53)), "unreadable"),
        (v4("203.0.113.1", TCP, 53), "default"),
    ];
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (times, (packet, decided_by)) in (1..).zip(&sent) {
        for _ in 0..times {
            tap.send(&packet.frame());
        }
        *expected.entry((*decided_by).to_owned()).or_default() += times;
    }
    let total: u64 = expected.values().sum();
    wait_until("every packet is judged", DEADLINE, || {
        rig.chain().member("firewall").packets.total() == total
    });
    let found = listed(&rig);
    let mut counted = hits(&found);
    for other in ["default", "unreadable"] {
        counted.insert(
            other.to_owned(),
            found[other]["hits"].as_u64().expect("a count"),
        );
    }
    assert_eq!(counted, expected);
    let packets = &found["packets"];
    let denied = rig.chain().member("firewall").packets.drop;
    assert_eq!(packets["malformed"], expected["unreadable"]);
    assert_eq!(
        packets["denied"].as_u64(),
        Some(denied - expected["unreadable"])
    );

    // A rule that stays keeps its count, one that is another now has its own, from 0.
    firewall.change(
        &rules,
        &text.replace("deny 192.0.2.0/24", "allow 192.0.2.0/24"),
        "1 added, 1 removed, 5 in force",
    );
    counted = hits(&listed(&rig));
    expected.retain(|rule, _| rule.contains(' ') && rule != "deny 192.0.2.0/24");
    expected.insert("allow 192.0.2.0/24".to_owned(), 0);
    assert_eq!(counted, expected);

    let top = run(&rig, "firewall", &["list", "xd0", "--top", "1"]);
    assert!(
        top.done()
            .stdout
            .starts_with("deny 2001:db8::/32 tcp port 22 "),
        "{top}"
    );
    firewall.app.signal(Signal::SIGUSR1);
    let line = firewall.app.line();
    assert_eq!(
        line,
        "firewall on xd0: `deny 2001:db8::/32 tcp port 22` decided 25"
    );
    let (status, said) = firewall.end();
    assert_ended(status);
    assert!(
        said.contains(&"firewall on xd0: `allow 192.0.2.7` decided 3".to_owned()),
        "{said:?}"
    );
}
