//! What is left when a chain is gone: nothing.

use std::thread;

use libdispatch::{Program, RefusalCode};
use tests::{
    Census, Foreign, LiveFrames, Rig, Signal, alone, frame, object, package_object, volume,
};

const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn after_the_last_unload_nothing_is_left() {
    let _alone = alone();
    let rig = Rig::new();
    let census = Census::take();
    for last in ["--all", "name by name", "by the client"] {
        rig.load_verdict("first", PASS, &[]);
        rig.load("append", "second", &[]);
        rig.load("counter", "third", &["--priority", "5"]);
        rig.ctl("reorder", &["second", "--first"]).done();
        rig.ctl("set", &["first", "--chain-call", "pass,tx"]).done();
        rig.ctl("config", &["--counters", "off"]).done();
        let counter = object("counter");
        rig.ctl(
            "replace",
            &["third", counter.to_str().expect("a path is text")],
        )
        .done();
        rig.send(&frame(64), 100);
        let made = Census::take();
        assert!(made.programs.difference(&census.programs).count() >= 4);
        if last == "name by name" {
            for name in ["second", "first", "third"] {
                rig.ctl("unload", &[name]).done();
            }
        } else if last == "--all" {
            rig.ctl("unload", &["--all"]).done();
        } else {
            let client = rig.client("cleanliness");
            let change = client.change("xd0");
            change.unregister_all().apply().expect("it can be done");
        }
        assert_eq!(rig.pair.near.xdp_program(), None, "{last}");
        assert_eq!(rig.try_chain(), None, "{last}");
        assert_eq!(rig.daemon.bpffs().pins().len(), 0, "{last}");
        census.wait_until_nothing_more();
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_that_goes_away_under_traffic_loses_no_packet() {
    let _alone = alone();
    for end in ["unload", "SIGTERM", "--flush"] {
        let mut rig = if end == "SIGTERM" {
            Rig::with(&["--detach-on-exit"], &tests::PairOptions::default())
        } else {
            Rig::new()
        };
        let packet = frame(64);
        rig.pair.near.gro();
        for _ in 0..volume(8) {
            // Packets pass, before and after; a chain that is half gone would abort them.
            for name in ["first", "second", "third", "fourth"] {
                rig.load_verdict(name, PASS, &[]);
            }
            let Rig { daemon, pair } = &mut rig;
            let source = LiveFrames::into(&pair.far);
            let signal = Signal::default();
            thread::scope(|scope| {
                let stream = source.stream(scope, &signal, &packet, 256);
                tests::wait_until("packets flow", tests::DEADLINE, || signal.sent() > 0);
                match end {
                    "unload" => {
                        let netns = pair.near.netns.name();
                        daemon
                            .ctl(&["unload", "xd0", "--all", "--netns", netns])
                            .done();
                    }
                    "SIGTERM" => {
                        daemon.terminate();
                        daemon.restart();
                    }
                    _ => {
                        daemon.kill();
                        daemon.dispatchd(&["--flush"]).done();
                        daemon.restart();
                    }
                }
                stream.stop();
            });
            assert_eq!(rig.pair.near.xdp_program(), None, "{end}");
            assert_eq!(rig.pair.near.driver_count("xdp_drops"), 0, "{end}");
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_hundred_changes_leave_as_much_as_one() {
    let _alone = alone();
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &[]);
    rig.load("append", "second", &[]);
    let client = rig.client("cleanliness");
    let reorder = |first: &str| {
        let change = client
            .change("xd0")
            .reorder(first, libdispatch::Position::First);
        change.apply().expect("it can be done");
    };
    reorder("second");
    let census = Census::take();
    let pins = rig.daemon.bpffs().pins().len();
    for round in 0..volume(100) {
        reorder(if round % 2 == 0 { "first" } else { "second" });
    }
    assert_eq!(rig.daemon.bpffs().pins().len(), pins);
    tests::wait_until("old generations are freed", tests::DEADLINE, || {
        let now = Census::take();
        // The root is another one, with an array, counters, a registry and a read-only global.
        now.programs.difference(&census.programs).count() <= 1
            && now.maps.difference(&census.maps).count() <= 4
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_refused_leaves_nothing() {
    let _alone = alone();
    let rig = Rig::new();
    let client = rig.client("cleanliness");
    let census = Census::take();
    let good = Program::from_file(object("counter"))
        .expect("it was compiled")
        .kept();
    let bad = Program::from_file(object("rejected"))
        .expect("it was compiled")
        .kept();
    for _ in 0..5 {
        let change = client.change("xd0").register(&good).register(&bad);
        let error = change.apply().expect_err("the second is bad");
        assert_eq!(
            error.refusal().map(|it| it.code),
            Some(RefusalCode::Verifier)
        );
        let change = client.change("xd0").register(&good).expect_revision(7);
        change.apply().expect_err("there is no generation 7");
        client
            .change("xd0")
            .register(&good)
            .dry_run(true)
            .apply()
            .expect("it would work");
    }
    let foreign = Foreign::on(&rig.pair.near);
    client
        .change("xd0")
        .register(&good)
        .apply()
        .expect_err("the interface is taken");
    foreign.remove(&rig.pair.near);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
    census.wait_until_nothing_more();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_object_of_many_maps_goes_with_all_of_them() {
    let _alone = alone();
    let rig = Rig::new();
    let census = Census::take();
    let object = package_object("xdpfilt_dny_all.o");
    rig.try_load(&object, "filter", &["--program", "xdpfilt_dny_all"])
        .done();
    assert!(Census::take().maps.difference(&census.maps).count() > 3);
    rig.ctl("unload", &["filter"]).done();
    census.wait_until_nothing_more();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn ten_restarts_in_a_row_make_and_leak_nothing() {
    let _alone = alone();
    let mut rig = Rig::new();
    rig.load_verdict("first", PASS, &[]);
    rig.load("append", "second", &[]);
    let before = rig.chain();
    let pins = rig.daemon.bpffs().pins();
    rig.daemon.kill();
    let census = Census::take();
    for round in 0..10 {
        rig.daemon.restart();
        assert_eq!(rig.chain(), before);
        assert_eq!(rig.daemon.bpffs().pins(), pins);
        if round % 2 == 0 {
            rig.daemon.kill();
        } else {
            rig.daemon.terminate();
        }
    }
    assert_eq!(rig.daemon.bpffs().pins(), pins);
    census.wait_until_nothing_more();
    rig.daemon.restart();
}
