//! The application `stats`, and what the applications have in common, as a user runs them.

mod app;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{DEADLINE, Rig, Tap, frame, wait_until};

use app::{App, Firewall, Rules, TCP, UDP, assert_ended, ipv4, ipv6, run};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_counts_every_frame_and_shows_every_slot() {
    const FRAMES: u64 = 500;
    let rig = Rig::new();
    let rules = Rules::new("deny 192.0.2.0/24\n");
    let firewall = Firewall::start(&rig, &rules);
    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.chain().order() == ["stats", "firewall"]
    });
    let tap = Tap::on(&rig.pair.far);
    let passed = ipv4([198, 51, 100, 1], UDP, 53, 200);
    let dropped = ipv4([192, 0, 2, 1], UDP, 53, 100);
    for _ in 0..FRAMES {
        tap.send(&passed);
        tap.send(&dropped);
    }
    let report = stats.report_where(|report| {
        report["total"]["packets"] == 2 * FRAMES
            && report["members"][1]["packets"]["pass"] == FRAMES
            && report["members"][1]["packets"]["drop"] == FRAMES
    });
    let udp = protocol(&report, "ipv4-udp");
    assert_eq!(udp["packets"], 2 * FRAMES);
    assert_eq!(udp["bytes"], FRAMES * 300);
    assert_eq!(report["total"]["bytes"], FRAMES * 300);
    assert_eq!(report["interface"], "xd0");
    let [first, second] = [&report["members"][0], &report["members"][1]];
    assert_eq!(
        (&first["name"], &first["slot"]),
        (&"stats".into(), &0.into())
    );
    assert_eq!(first["priority"], 10);
    assert_eq!(first["packets"]["pass"], 2 * FRAMES);
    assert_eq!(
        (&second["name"], &second["slot"]),
        (&"firewall".into(), &1.into())
    );
    assert_eq!(second["priority"], 20);
    let observer = &rig.chain().members[0];
    assert_eq!(observer.allowed, ["pass"], "it can't drop");

    assert_ended(stats.end(Signal::SIGTERM));
    assert_eq!(rig.chain().order(), ["firewall"]);
    assert_ended(firewall.app.end(Signal::SIGINT));
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_tells_protocols_apart() {
    let rig = Rig::new();
    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.try_chain().is_some()
    });
    let tap = Tap::on(&rig.pair.far);
    let source = [10, 0, 0, 1];
    let mut arp = frame(60);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let sent: [(&str, Vec<u8>); 10] = [
        ("arp", arp),
        ("ipv4-icmp", ipv4(source, 1, 0, 60)),
        ("ipv4-tcp", ipv4(source, TCP, 80, 61)),
        ("ipv4-udp", ipv4(source, UDP, 53, 62)),
        ("ipv4-other", ipv4(source, 47, 0, 63)),
        ("ipv6-icmp", ipv6(1, 58, 0, 80)),
        ("ipv6-tcp", ipv6(1, TCP, 80, 81)),
        ("ipv6-udp", ipv6(1, UDP, 53, 82)),
        ("ipv6-other", ipv6(1, 0, 0, 83)),
        ("other", frame(64)),
    ];
    for (times, (_, frame)) in sent.iter().enumerate() {
        for _ in 0..=times {
            tap.send(frame);
        }
    }
    let report = stats.report_where(|report| report["total"]["packets"] == 55);
    for (times, (name, frame)) in sent.iter().enumerate() {
        let line = protocol(&report, name);
        assert_eq!(line["packets"], times + 1, "{name}");
        assert_eq!(line["bytes"], (times + 1) * frame.len(), "{name}");
    }
    assert_ended(stats.end(Signal::SIGINT));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn stats_prints_once_and_leaves() {
    let rig = Rig::new();
    let output = run(&rig, "stats", &["xd0", "--once", "--interval", "0.05"]);
    let text = &output.done().stdout;
    assert!(text.starts_with("xd0, 0."), "{output}");
    assert!(
        text.contains("\ntotal ") && text.contains("\nstats "),
        "{output}"
    );
    let output = run(
        &rig,
        "stats",
        &["xd0", "--once", "--json", "--interval", "0.05"],
    );
    assert_eq!(output.done().stdout.lines().count(), 1, "{output}");
    assert_eq!(output.json()["members"][0]["name"], "stats");
    assert!(rig.try_chain().is_none(), "nothing is left");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_wrong_is_said_with_its_exit_code() {
    let rig = Rig::new();
    let rules = Rules::new("default deny\n");
    let path = rules.path.to_str().expect("a path is text");
    for (app, arguments) in [("stats", vec!["xd9"]), ("firewall", vec!["xd9", path])] {
        run(&rig, app, &arguments).refused(&[app, "xd9"]);
        let elsewhere = [&arguments[..], &["--socket", "/nowhere"]].concat();
        let output = run(&rig, app, &elsewhere);
        assert_eq!(output.code, Some(3), "{output}");
        assert!(output.stderr.contains("/nowhere"), "{output}");
        assert_eq!(run(&rig, app, &["--nonsense"]).code, Some(2));
        assert_eq!(run(&rig, app, &[]).code, Some(2));
    }
    let output = run(&rig, "stats", &["xd0", "--interval", "0"]);
    assert_eq!(output.code, Some(2), "{output}");

    let stats = App::start(&rig, "stats", &["xd0", "--json", "--interval", "0.05"]);
    wait_until("stats is registered", DEADLINE, || {
        rig.try_chain().is_some()
    });
    run(&rig, "stats", &["xd0"]).refused(&["xd0", "stats"]);
    rig.ctl("unload", &["stats"]).done();
    let (status, errors) = stats.wait();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("no longer registered on xd0"), "{errors}");

    let checked = run(&rig, "firewall", &["xd0", path, "--check"]);
    assert_eq!(
        checked.done().stdout,
        format!("{path}: 0 rules, default deny\n")
    );
    rules.write("default drop\nallow\n");
    for arguments in [vec!["xd0", path, "--check"], vec!["xd0", path]] {
        let output = run(&rig, "firewall", &arguments);
        output.refused(&[&format!("{path}:1:9: "), &format!("{path}:2:6: ")]);
    }
    assert!(rig.try_chain().is_none(), "nothing is left");
}

fn protocol<'a>(report: &'a Value, name: &str) -> &'a Value {
    let lines = report["protocols"].as_array().expect("a list");
    let line = lines.iter().find(|line| line["protocol"] == name);
    line.unwrap_or_else(|| panic!("no {name} in {report}"))
}
