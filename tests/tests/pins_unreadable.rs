//! Pins that are not what they should be: the daemon starts, says what is wrong, leaves that chain as
//! it is, and goes on with all others.

mod pins;

use tests::{Foreign, Pair, Pinnable, Port};

use self::pins::{Pins, Stage, by_later_version};

/// What happens to a chain's pins.
type Spoil = fn(&Pins<'_>);

/// Spoils a chain's pins, and looks at what the next daemon makes of it, and at the way out.
#[track_caller]
fn left_alone(words: &[&str], spoil: impl FnOnce(&Pins<'_>)) {
    left_alone_on(Stage::new(), words, spoil);
}

#[track_caller]
fn left_alone_on(mut stage: Stage, words: &[&str], spoil: impl FnOnce(&Pins<'_>)) {
    let root = stage.victim.near.xdp_program();
    let link = stage.spoil(spoil);
    stage.assert_left_alone(words, root);
    // So does the one after it, killed this time.
    stage.daemon.kill();
    stage.daemon.restart();
    stage.assert_left_alone(words, root);
    stage.daemon.kill();
    drop(link);
    stage.flush_victim().done();
    assert!(!stage.victim().pins().exists());
    assert_eq!(stage.victim.near.xdp_program(), None);
    stage.daemon.restart();
    stage.victim().load_verdict("guard", pins::DROP, &[]);
    stage.assert_filters();
    stage.assert_others_go_on();
}

macro_rules! left_alone {
    ($($name:ident: $words:expr, $spoil:expr;)+) => {$(
        #[test]
        #[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
        fn $name() {
            left_alone(&$words, $spoil);
        }
    )+};
}

left_alone! {
    a_registry_that_is_a_hash: ["gen-1/registry is a map of another kind"], |pins| {
        pins.replace("gen-1/registry", &Pinnable::hash(&pins.registry()));
    };
    a_registry_that_is_a_program: ["gen-1/registry is a program"], |pins| {
        pins.replace("gen-1/registry", &Pinnable::program());
    };
    a_registry_that_is_a_directory: ["gen-1/registry is a directory"], |pins| {
        pins.remove("gen-1/registry");
        pins.directory("gen-1/registry");
    };
    a_registry_that_is_missing: ["gen-1/registry is missing"], |pins| {
        pins.remove("gen-1/registry");
    };
    a_registry_that_is_cut_short: ["gen-1/registry is cut short"], |pins| {
        let bytes = pins.registry();
        pins.write_registry(&bytes[..bytes.len() / 2]);
    };
    a_registry_of_a_later_version: ["gen-1/registry was written by a later version"], |pins| {
        pins.write_registry(&by_later_version(&pins.registry(), 4, 1));
    };
    a_registry_with_something_that_has_to_be_understood: ["option 77 has to be understood"], |pins| {
        pins.write_registry(&by_later_version(&pins.registry(), 3, (1 << 31) + 77));
    };
    a_registry_of_another_build: ["gen-9/registry is that of build 1"], |pins| {
        std::fs::create_dir(pins.path("gen-9")).expect("root may make a directory");
        pins.replace("gen-9/registry", &Pinnable::array(&pins.registry()));
    };
    a_root_that_is_a_map: ["gen-1/root is a map"], |pins| {
        pins.replace("gen-1/root", &Pinnable::array(&[0; 8]));
    };
    counters_of_half_a_slot: ["gen-1/counters is a map of another kind"], |pins| {
        pins.replace("gen-1/counters", &Pinnable::per_cpu(80));
    };
    a_program_array_that_is_none: ["gen-1/jump is a map of another kind"], |pins| {
        pins.replace("gen-1/jump", &Pinnable::array(&[0; 4]));
    };
    a_build_that_is_a_pin: ["gen-7 is a pin, and no directory"], |pins| {
        Pinnable::program().pin_new(&pins.path("gen-7"));
    };
    a_member_that_is_a_pin: ["member-7 is a pin, and no directory"], |pins| {
        Pinnable::program().pin_new(&pins.path("member-7"));
    };
    a_member_that_is_missing: ["member-1 is missing"], |pins| pins.remove("member-1");
    a_program_that_is_a_map: ["member-1/code-1/program is a map"], |pins| {
        pins.replace("member-1/code-1/program", &Pinnable::array(&[0; 8]));
    };
    a_program_that_is_missing: ["member-1/code-1/program is missing"], |pins| {
        pins.remove("member-1/code-1/program");
    };
    a_map_that_is_a_program: ["member-1/code-1/maps/%2erodata is a program"], |pins| {
        pins.replace("member-1/code-1/maps/%2erodata", &Pinnable::program());
    };
    maps_that_are_a_pin: ["member-1/code-1/maps is a pin, and no directory"], |pins| {
        pins.remove("member-1/code-1/maps");
        Pinnable::program().pin_new(&pins.path("member-1/code-1/maps"));
    };
    totals_of_an_odd_size: ["member-1/totals is a map of another kind"], |pins| {
        pins.replace("member-1/totals", &Pinnable::hash(&[0; 83]));
    };
    totals_that_are_an_array: ["member-1/totals is a map of another kind"], |pins| {
        pins.replace("member-1/totals", &Pinnable::array(&[0; 80]));
    };
    totals_that_are_a_directory: ["member-1/totals is a directory"], |pins| {
        pins.remove("member-1/totals");
        pins.directory("member-1/totals");
    };
    a_link_that_is_a_map: ["link is a map"], |pins| {
        pins.replace("link", &Pinnable::array(&[0; 8]));
    };
    a_link_to_be_that_is_a_map: ["link-next is a map"], |pins| {
        Pinnable::array(&[0; 8]).pin_new(&pins.path("link-next"));
    };
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_link_with_a_strangers_program_is_neither_believed_nor_put_over_the_own_one() {
    for name in ["link", "link-next"] {
        let mut stage = Stage::new();
        let root = stage.victim.near.xdp_program();
        let strangers = Pair::new();
        let link = Pinnable::link(&strangers.near);
        let held = strangers.near.xdp_program();
        let own = stage.spoil(|pins| pins.replace(name, &link));
        let why = if name == "link" {
            "link holds program"
        } else {
            "link and link-next hold a hook each"
        };
        stage.assert_left_alone(&[why], root);
        assert_eq!(strangers.near.xdp_program(), held, "its hook is held still");
        drop(own);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_known_of_such_a_chain_is_listed() {
    let spoilt: [(&str, Option<u64>, bool, Spoil); 4] = [
        ("wrong_kind", Some(1), true, |pins| {
            pins.replace("gen-1/root", &Pinnable::array(&[0; 8]));
        }),
        ("missing", None, true, |pins| pins.remove("gen-1/registry")),
        ("registry", None, true, |pins| pins.write_registry(&[7; 40])),
        ("missing", Some(1), false, |pins| {
            pins.remove("member-1");
            Foreign::detach_link(tests::link_id(&pins.path("link")));
        }),
    ];
    for (reason, id, attached, spoil) in spoilt {
        let mut stage = Stage::new();
        let link = stage.spoil(spoil);
        let chain = stage.unreadable();
        assert_eq!(chain.unreadable.reason, reason, "{chain:?}");
        assert_eq!((chain.id, chain.attached), (id, attached), "{chain:?}");
        drop(link);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn garbage_of_many_kinds_in_a_registry_is_no_chain() {
    let mut stage = Stage::new();
    let root = stage.victim.near.xdp_program();
    let good = stage.pins().registry();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // Xorshift: the same bytes in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..12 {
        let noise: Vec<u8> = (0..400).map(|_| next().to_le_bytes()[0]).collect();
        let bytes = match round % 3 {
            0 => noise,
            // A header that is right.
            1 => [&good[..16], &noise[..good.len() - 16]].concat(),
            // The lengths inside.
            _ => {
                let mut bytes = good.clone();
                let at = 36 + usize::from(noise[0]) % 60;
                bytes[at..at + 8].copy_from_slice(&noise[8..16]);
                bytes
            }
        };
        drop(stage.spoil(|pins| pins.write_registry(&bytes)));
        stage.assert_left_alone(&["gen-1/registry"], root);
    }
    drop(stage.spoil(|pins| pins.write_registry(&good)));
    stage.victim().load_verdict("late", pins::PASS, &[]);
    assert_eq!(stage.victim().chain().order(), ["guard", "late"]);
    stage.assert_filters();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_a_later_version_only_added_is_no_reason_to_leave_a_chain_alone() {
    let mut stage = Stage::new();
    let ids: Vec<u64> = ids(stage.victim());
    drop(stage.spoil(|pins| {
        pins.write_registry(&by_later_version(&pins.registry(), 3, 77));
    }));
    stage.victim().load_verdict("late", pins::PASS, &[]);
    assert_eq!(stage.victim().chain().order(), ["guard", "late"]);
    assert_eq!(ids[..], self::ids(stage.victim())[..1]);
    stage.assert_filters();
    stage.assert_others_go_on();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_lies_about_under_other_names_harms_nobody() {
    let mut stage = Stage::new();
    let above = stage.daemon.bpffs().path().join("dispatchd");
    drop(stage.spoil(|pins| {
        // As a chain's directory: an empty one, one that is a pin, one with what no chain has.
        std::fs::create_dir(above.join("7-7")).expect("root may make a directory");
        Pinnable::program().pin_new(&above.join("7-8"));
        std::fs::create_dir_all(above.join("7-9/gen-x/root")).expect("root may make a directory");
        std::fs::create_dir(above.join("x-1")).expect("root may make a directory");
        Pinnable::program().pin_new(&above.join("program"));
        for name in [
            "gen-x",
            "gen-01",
            "member-",
            "member-18446744073709551615",
            "foo",
        ] {
            pins.directory(name);
        }
        for name in ["link2", "gen-", "member-x"] {
            Pinnable::array(&[0; 8]).pin_new(&pins.path(name));
        }
        pins.directory("gen-1/deeper");
        Pinnable::array(&[0; 8]).pin_new(&pins.path("member-1/more"));
    }));
    assert!(!above.join("7-7").exists(), "an empty chain is none");
    assert!(above.join("7-8").exists(), "that one can't be read");
    assert!(stage.daemon.log().contains(". is a pin, and no directory"));
    assert!(above.join("x-1").exists());
    assert!(above.join("program").exists());
    stage
        .victim()
        .load_verdict("late", pins::PASS, &["--priority", "90"]);
    assert_eq!(stage.victim().chain().order(), ["guard", "late"]);
    stage.assert_filters();
    stage.assert_others_go_on();
    stage.daemon.terminate();
    stage.daemon.dispatchd(&["--flush"]).done();
    assert!(!above.join("7-8").exists(), "flushing takes it away");
    stage.daemon.restart();
    std::fs::remove_file(above.join("program")).expect("it is there");
    std::fs::remove_dir(above.join("x-1")).expect("it is there");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_gets_no_id_that_a_chain_has_that_can_not_be_read() {
    let mut stage = Stage::new();
    drop(stage.spoil(|pins| {
        pins.write_registry(&[7; 40]);
        pins.directory("member-900");
    }));
    let [other, _] = &stage.others;
    let port = Port::new(&stage.daemon, &other.near);
    port.load_verdict("second", pins::PASS, &[]);
    assert_eq!(port.chain().member("second").id, 901);
}

fn ids(port: Port<'_>) -> Vec<u64> {
    let chain = port.chain();
    chain.members.iter().map(|member| member.id).collect()
}

mod needs_freplace {
    use super::*;

    #[test]
    #[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
    fn a_slot_whose_link_is_a_map() {
        let stage = Stage::with(&["--engine", "freplace"]);
        let path = stage.pins().path("gen-1/slot-0");
        let link = Pinnable::at(&path);
        left_alone_on(stage, &["gen-1/slot-0 is a map"], |pins| {
            pins.replace("gen-1/slot-0", &Pinnable::array(&[0; 8]));
        });
        drop(link);
    }
}
