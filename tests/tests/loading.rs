//! How programs come into a chain: globals, maps, modes, sharing, replacing.

use libdispatch::{Count, Mode, ModeChoice, Program};
use tests::{Pair, PairOptions, PinnedMap, Port, Rig, Tap, frame, grace_period, object};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn globals_are_set_before_the_program_is_loaded() {
    let rig = Rig::new();
    rig.load(
        "append",
        "one",
        &["--global", "number=0x2a", "--global", "verdict=3"],
    );
    let (verdict, packet) = rig.root().run_and_see(&frame(64));
    assert_eq!((verdict, packet[16], packet[17]), (3, 1, 0x2a));
    rig.ctl("unload", &["one"]).done();
    rig.load(
        "append",
        "one",
        &["--global", "number=hex:07", "--global", "verdict=-1"],
    );
    let (verdict, packet) = rig.root().run_and_see(&frame(64));
    assert_eq!((verdict, packet[17]), (u32::MAX, 7));
    rig.ctl("unload", &["one"]).done();
    for (global, why) in [
        ("nothing=1", "nothing"),
        ("number=256", "number"),
        ("number=hex:0102", "number"),
        ("verdict=4294967296", "verdict"),
    ] {
        let output = rig.try_load(&object("append"), "one", &["--global", global]);
        output.refused(&["xd0", why]);
    }
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_map_gets_the_size_that_is_said_and_an_unknown_map_is_refused() {
    let rig = Rig::new();
    rig.load("append", "one", &["--map-size", "NOTES=99"]);
    assert_eq!(rig.map("one", "NOTES").entries(), 99);
    let output = rig.try_load(&object("append"), "two", &["--map-size", "NOTHING=9"]);
    output.refused(&["xd0", "NOTHING"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn several_objects_come_with_one_swap() {
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &[]);
    let generation = rig.chain().generation;
    let paths = ["counter", "several", "append"].map(object);
    let [counter, _, append] = paths
        .each_ref()
        .map(|path| path.to_str().expect("it is text"));
    rig.ctl("load", &[counter, append, "--priority", "9"])
        .done();
    let chain = rig.chain();
    assert_eq!(chain.generation, generation + 1);
    assert_eq!(
        chain.order(),
        ["counter", "append", "first"],
        "the program is the name"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn several_interfaces_get_a_member_each_or_none() {
    let rig = Rig::new();
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    let second = Pair::between(near, far, ["xd1", "far1"], &PairOptions::default());
    let port = Port::new(&rig.daemon, &second.near);
    let path = object("counter");
    let path = path.to_str().expect("a path is text");
    let place = ["--netns", near.name()];
    let load = |interfaces: &str| {
        rig.daemon
            .ctl(&[&["load", interfaces, path], &place[..]].concat())
    };
    load("xd0,nowhere").refused(&["nowhere"]);
    assert_eq!(
        rig.try_chain(),
        None,
        "what was loaded before the refusal is gone again"
    );
    load("xd0,xd1").done();
    assert_eq!(
        (rig.chain().order(), port.chain().order()),
        (vec!["counter"], vec!["counter"])
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn members_of_a_share_group_share_maps_across_interfaces_and_others_do_not() {
    let rig = Rig::new();
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    let second = Pair::between(near, far, ["xd1", "far1"], &PairOptions::default());
    let port = Port::new(&rig.daemon, &second.near);
    let share = ["--share-group", "counts"];
    rig.load("counter", "shared", &share);
    port.load("counter", "shared", &share);
    rig.load("counter", "also-shared", &share);
    rig.load("counter", "alone", &[]);
    let id = |port: Port<'_>, name: &str| port.map(name, "packets").id();
    let shared = id(rig.port(), "shared");
    assert_eq!(id(port, "shared"), shared);
    assert_eq!(id(rig.port(), "also-shared"), shared);
    assert_ne!(id(rig.port(), "alone"), shared);
    rig.send(&frame(64), 100);
    second.send(&frame(64), 10);
    let counted = port.map("shared", "packets").get(&0_u32.to_ne_bytes());
    assert_eq!(counted.expect("it has one"), 210_u64.to_ne_bytes());

    rig.ctl("unload", &["--all"]).done();
    let counted = port.map("shared", "packets").get(&0_u32.to_ne_bytes());
    assert_eq!(
        counted.expect("its last user still has it"),
        210_u64.to_ne_bytes()
    );
    let larger = rig.try_load(
        &object("counter"),
        "larger",
        &[&share[..], &["--map-size", "packets=2"]].concat(),
    );
    larger.done();
    assert_ne!(
        id(rig.port(), "larger"),
        shared,
        "another shape is another map"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_replacement_takes_the_slot_and_the_maps_of_the_same_name_and_shape() {
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &["--priority", "1"]);
    let settings = [
        "--priority",
        "2",
        "--chain-call",
        "pass,tx",
        "--allowed",
        "pass,drop",
    ];
    rig.load(
        "append",
        "second",
        &[&settings[..], &["--global", "number=1"]].concat(),
    );
    rig.load_verdict("third", PASS, &["--priority", "3"]);
    rig.map("second", "NOTES")
        .set(&3_u32.to_ne_bytes(), &[9; 8])
        .expect("it has four");
    rig.send(&frame(64), 100);
    let before = rig.chain();
    let notes = rig.map("second", "NOTES").id();

    let append = object("append");
    let append = append.to_str().expect("a path is text");
    rig.ctl("replace", &["second", append, "--global", "number=2"])
        .done();
    let after = rig.chain();
    assert_eq!(after.generation, before.generation + 1);
    let (then, now) = (before.member("second"), after.member("second"));
    assert_ne!(now.program_id, then.program_id);
    let mut expected = then.clone();
    expected.program_id = now.program_id;
    assert_ne!(now.pins, then.pins, "the code is pinned beside the old one");
    expected.pins.clone_from(&now.pins);
    assert_eq!(*now, expected, "priority, actions, id, counts stay");
    assert_eq!(after.member("first"), before.member("first"));
    assert_eq!(after.member("third"), before.member("third"));
    assert_eq!(rig.map("second", "NOTES").id(), notes);
    let note = rig.map("second", "NOTES").get(&3_u32.to_ne_bytes());
    assert_eq!(note.expect("it has four"), [9; 8]);
    assert_eq!(
        rig.root().run_and_see(&frame(64)).1[17],
        2,
        "the new code runs"
    );

    rig.ctl("replace", &["second", append, "--map-size", "NOTES=8"])
        .done();
    assert_ne!(
        rig.map("second", "NOTES").id(),
        notes,
        "another shape is another map"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_owner_gets_a_descriptor_of_a_members_own_map() {
    let rig = Rig::new();
    let client = rig.client("application");
    let program = Program::from_file(object("counter")).expect("it was compiled");
    let registration = client.register("xd0", &program).expect("there is room");
    rig.send(&frame(64), 100);
    let packets = PinnedMap::from(registration.map("packets").expect("it is ours"));
    assert_eq!(
        packets.get(&0_u32.to_ne_bytes()).expect("it has one"),
        100_u64.to_ne_bytes()
    );
    packets
        .set(&0_u32.to_ne_bytes(), &[0; 8])
        .expect("it is writable");
    registration
        .map("nothing")
        .expect_err("there is no such map");
    let shown = registration.detail().expect("it is registered");
    let shape = shown
        .maps
        .iter()
        .find(|map| map.name == "packets")
        .expect("it is shown");
    assert_eq!(
        (shape.key_size, shape.value_size, shape.max_entries),
        (4, 8, 1)
    );
    assert_eq!(shape.id, packets.id());
    assert_eq!(
        registration
            .counters()
            .expect("it is registered")
            .get(Count::Pass),
        100
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn native_generic_and_auto_mode_put_the_hook_where_they_say() {
    for (asked, got) in [
        ("native", "native"),
        ("generic", "generic"),
        ("auto", "native"),
    ] {
        let rig = Rig::new();
        rig.pair.near.gro();
        rig.load_verdict("guard", DROP, &["--mode", asked]);
        assert_eq!(rig.chain().mode, got);
        let near = Tap::on(&rig.pair.near);
        rig.send(&frame(64), 1000);
        grace_period();
        assert_eq!(near.try_next(), None);
        assert_eq!(rig.chain().member("guard").packets.drop, 1000);
        let other = if got == "native" { "generic" } else { "native" };
        let refused = rig.try_load(&object("verdict"), "second", &["--mode", other]);
        refused.refused(&["xd0", got, other]);
        rig.ctl("config", &["--mode", other]).done();
        assert_eq!(rig.chain().mode, other);
        rig.send(&frame(64), 1000);
        assert_eq!(
            rig.chain().member("guard").packets.drop,
            2000,
            "counts go on"
        );
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn where_the_driver_can_not_auto_falls_back_to_generic_and_says_so() {
    // Packets of 9000 bytes don't fit a page, which native mode needs.
    let rig = Rig::with(
        &[],
        &PairOptions {
            mtu: 9000,
            ..PairOptions::default()
        },
    );
    rig.try_load(&object("verdict"), "guard", &["--mode", "native"])
        .refused(&["xd0", "native"]);
    assert_eq!(rig.try_chain(), None);
    let client = rig.client("application");
    let program = Program::from_file(object("verdict"))
        .expect("it was compiled")
        .mode(ModeChoice::Auto)
        .kept();
    let changed = client
        .change("xd0")
        .register(&program)
        .apply()
        .expect("generic can");
    assert_eq!(changed.mode, Some(Mode::Generic));
    let said = changed
        .notes
        .iter()
        .any(|note| note.to_string().contains("generic"));
    assert!(said, "{:?}", changed.notes);
    assert_eq!(rig.chain().mode, "generic");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_frags_program_and_a_plain_one_share_an_ordinary_interface() {
    let rig = Rig::new();
    rig.load("frags", "frags", &["--priority", "1"]);
    rig.load_verdict("plain", DROP, &["--priority", "2"]);
    assert_eq!(rig.root().run(&frame(64)), DROP);
    rig.ctl("unload", &["plain"]).done();
    assert_eq!(rig.root().run(&frame(64)), PASS);
}
