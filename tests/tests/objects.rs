//! Other people's objects: they load, run and unload as they are.

use std::path::Path;

use tests::{Pair, Port, Rig, Tap, frame, grace_period, object, package_object};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn debians_xdp_filter_loads_runs_and_unloads_in_every_variant() {
    for policy in ["alw", "dny"] {
        for what in ["all", "eth", "ip", "tcp", "udp"] {
            let name = format!("xdpfilt_{policy}_{what}");
            load_run_unload(&package_object(&format!("{name}.o")), &[]);
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn debians_af_xdp_program_loads_runs_and_unloads() {
    load_run_unload(&package_object("xsk_def_xdp_prog.o"), &[]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn debians_xdpdump_loads_runs_and_unloads() {
    // Its perf event array is sized by its own tool.
    load_run_unload(
        &package_object("xdpdump_xdp.o"),
        &["--map-size", "xdpdump_perf_map=2"],
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn debians_objects_share_an_interface() {
    let rig = Rig::new();
    let xdpdump = package_object("xdpdump_xdp.o");
    let dump = ["--priority", "1", "--map-size", "xdpdump_perf_map=2"];
    rig.try_load(&xdpdump, "dump", &dump).done();
    rig.try_load(&package_object("xdpfilt_alw_all.o"), "filter", &[])
        .done();
    rig.try_load(&package_object("xsk_def_xdp_prog.o"), "af-xdp", &[])
        .done();
    rig.send(&frame(64), 1000);
    let chain = rig.chain();
    for member in &chain.members {
        assert_eq!(member.packets.missed, 0, "{}", member.name);
    }
    assert_eq!(chain.member("dump").packets.total(), 1000);
    assert_eq!(chain.member("filter").packets.total(), 1000);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn priority_and_actions_that_an_object_says_count_unless_something_else_is_said() {
    let rig = Rig::new();
    let filter = package_object("xdpfilt_alw_all.o");
    rig.try_load(&filter, "as-it-says", &[]).done();
    let said = ["--priority", "77", "--chain-call", "tx"];
    rig.try_load(&filter, "as-we-say", &said).done();
    let chain = rig.chain();
    let member = chain.member("as-it-says");
    // `XDP_RUN_CONFIG` in xdp-tools/xdp-filter/xdpfilt_prog.h.
    assert_eq!(
        (member.priority, &*member.chain_call),
        (10, &["pass".to_owned()][..])
    );
    let member = chain.member("as-we-say");
    assert_eq!(
        (member.priority, &*member.chain_call),
        (77, &["tx".to_owned()][..])
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_old_tutorials_program_with_a_legacy_map_loads_runs_and_unloads() {
    let rig = Rig::new();
    rig.load("legacy", "stats", &[]);
    assert_eq!(rig.chain().member("stats").program, "xdp_stats_func");
    rig.send(&frame(64), 1000);
    assert_eq!(rig.chain().member("stats").packets.pass, 1000);
    let counted = rig.map("stats", "xdp_stats_map").get(&PASS.to_ne_bytes());
    assert_eq!(counted.expect("it has five"), 1000_u64.to_ne_bytes());
    rig.ctl("unload", &["stats"]).done();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_section_name_that_nobody_knows_does_no_harm() {
    let rig = Rig::new();
    rig.load("unknown_section", "guard", &[]);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn of_an_object_with_several_programs_each_can_be_named() {
    let rig = Rig::new();
    for (program, verdict) in [("pass", 2), ("drop", 1), ("aborted", 0), ("tx", 3)] {
        rig.load("several", "member", &["--program", program]);
        assert_eq!(rig.chain().member("member").program, program);
        assert_eq!(rig.root().run(&frame(64)), verdict, "{program}");
        rig.ctl("unload", &["member"]).done();
    }
    rig.try_load(&object("several"), "member", &[]).refused(&[
        "xd0",
        "several programs",
        "pass",
        "drop",
        "aborted",
        "tx",
    ]);
    rig.try_load(&object("several"), "member", &["--program", "for_tc"])
        .refused(&["xd0", "for_tc", "not an XDP program"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_map_without_a_size_needs_one_and_gets_the_one_that_is_said() {
    let rig = Rig::new();
    rig.try_load(&object("unsized"), "flows", &[])
        .refused(&["xd0", "flows", "--map-size"]);
    assert_eq!(rig.try_chain(), None);
    rig.load("unsized", "flows", &["--map-size", "flows=4096"]);
    let flows = rig.map("flows", "flows");
    assert_eq!(flows.entries(), 4096);
    assert_eq!(rig.root().run(&frame(64)), PASS);
    flows
        .set(&0_u32.to_ne_bytes(), &[1; 8])
        .expect("it has room");
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_members_own_program_array_is_filled_through_the_command_line_too() {
    let rig = Rig::new();
    let fill = [
        "--program",
        "choose",
        "--tail-call",
        "targets:0=even",
        "--tail-call",
        "targets:1=odd",
    ];
    rig.load("tailcalls", "choose", &fill);
    let mut packet = frame(64);
    assert_eq!(rig.root().run(&packet), PASS);
    packet[0] |= 1;
    assert_eq!(rig.root().run(&packet), DROP);
    rig.ctl("reorder", &["choose", "--priority", "3"]).done();
    assert_eq!(
        rig.root().run(&packet),
        DROP,
        "a reorder keeps what is in the array"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_map_that_wants_to_be_pinned_by_name_stays_in_its_members_directory() {
    let first = Rig::new();
    let second = Pair::new();
    let other = Port::new(&first.daemon, &second.near);
    first.load("pinned", "pinned", &[]);
    other.load("pinned", "pinned", &[]);
    assert!(!Path::new("/sys/fs/bpf/dispatchd_test_pinned").exists());
    let [one, two] = [first.port(), other].map(|port| port.map("pinned", "dispatchd_test_pinned"));
    assert_ne!(one.id(), two.id(), "each member has its own");
    assert_eq!(first.root().run(&frame(64)), PASS);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_the_loader_can_not_do_is_refused_with_the_reason() {
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &[]);
    let before = rig.chain();
    for (source, program, why) in [
        ("array_of_maps", "array_of_maps", "outer"),
        ("kconfig", "kconfig", "kconfig"),
        ("kfunc", "kfunc", "bpf_xdp_metadata_rx_timestamp"),
        ("static_targets", "static_targets", "targets"),
    ] {
        let output = rig.try_load(&object(source), "member", &["--program", program]);
        output.refused(&["xd0", why]);
        assert_eq!(rig.chain(), before, "{source}");
    }
}

/// Loads an object behind a member that passes and ahead of one that drops, sends packets through
/// it, and unloads it again.
fn load_run_unload(path: &Path, arguments: &[&str]) {
    let rig = Rig::new();
    rig.load_verdict("before", PASS, &["--priority", "1"]);
    rig.load_verdict("after", DROP, &["--priority", "90"]);
    rig.try_load(path, "member", arguments).done();
    assert_eq!(rig.chain().order(), ["before", "member", "after"]);
    let near = Tap::on(&rig.pair.near);
    rig.send(&frame(64), 1000);
    grace_period();
    let chain = rig.chain();
    let packets = chain.member("member").packets;
    let what = path.display();
    assert_eq!((packets.total(), packets.missed), (1000, 0), "{what}");
    assert_eq!(
        chain.member("after").packets.total(),
        packets.pass,
        "{what}"
    );
    assert_eq!(near.try_next(), None, "{what}");
    rig.ctl("unload", &["member"]).done();
    assert_eq!(rig.chain().order(), ["before", "after"]);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}
