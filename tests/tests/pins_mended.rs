//! Pins that are missing: what the kernel still has is pinned again, and what is gone is said.

mod pins;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use tests::{DEADLINE, Foreign, Pair, Pinnable, Port, wait_until};

use self::pins::{Pins, Stage, bytes};

/// Spoils a chain's pins so that they can be mended: the chain filters, counts and is changed.
#[track_caller]
fn mended(said: &str, spoil: impl FnOnce(&Pins<'_>)) {
    let mut stage = Stage::new();
    stage.assert_filters();
    let root = stage.victim.near.xdp_program();
    let before = stage.victim().chain();
    let link = stage.spoil(spoil);
    let log = stage.daemon.log();
    let mut lines = log.lines();
    let found = lines.any(|line| line.contains("mended") && line.contains(said));
    assert!(found, "{said:?} in {log}");
    assert_eq!(stage.victim.near.xdp_program(), root);
    drop(link);
    stage.assert_filters();
    assert_eq!(
        stage.victim().chain().member("guard").packets.drop,
        before.member("guard").packets.drop + 100
    );
    // What was mended lasts: nothing is left to mend.
    let already = stage.daemon.log().matches("mended").count();
    stage.daemon.kill();
    stage.daemon.restart();
    assert_eq!(stage.daemon.log().matches("mended").count(), already);
    stage.assert_filters();
    stage.victim().load_verdict("late", pins::PASS, &[]);
    stage.assert_filters();
    let chain = stage.victim().chain();
    assert_eq!(chain.order(), ["guard", "late"]);
    assert_eq!(
        chain.member("guard").packets.drop,
        before.member("guard").packets.drop + 300
    );
    stage.assert_others_go_on();
}

macro_rules! mended {
    ($($name:ident: $said:expr, $spoil:expr;)+) => {$(
        #[test]
        #[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
        fn $name() {
            mended($said, $spoil);
        }
    )+};
}

mended! {
    a_root_without_its_pin_is_pinned_again: "pins of its root are gone", |pins| {
        pins.remove("gen-1/root");
    };
    counters_without_their_pin_are_pinned_again: "pins of its root are gone", |pins| {
        pins.remove("gen-1/counters");
    };
    a_program_array_without_its_pin_is_filled_again: "slot 0 of its program array", |pins| {
        pins.remove("gen-1/jump");
    };
    a_registry_that_never_came_into_force_goes: "a registry was left", |pins| {
        let next = Pinnable::array(&[9; 60]);
        next.pin_new(&pins.path("gen-1/registry-next"));
    };
    totals_that_never_came_into_force_go: "totals of member 1 were left", |pins| {
        let next = Pinnable::hash(&[9; 88]);
        next.pin_new(&pins.path("member-1/totals-next"));
    };
    a_link_that_was_not_in_its_place_yet_takes_it: "its link was not in its place", |pins| {
        fs::rename(pins.path("link"), pins.path("link-next")).expect("root may rename it");
    };
    a_link_that_holds_no_hook_goes: "a link that holds no hook", |pins| {
        let pair = Pair::new();
        let link = Pinnable::link(&pair.near);
        link.pin_new(&pins.path("link-next"));
        Foreign::detach_link(tests::link_id(&pins.path("link-next")));
    };
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_can_not_be_mended_at_the_start_is_mended_later() {
    let mut stage = Stage::new();
    let next = stage.pins().path("gen-1/registry-next");
    let mut mounted = None;
    drop(stage.spoil(|pins| {
        Pinnable::array(&[9; 60]).pin_new(&next);
        mounted = Some(Mounted::on(&pins.path("gen-1/registry-next")));
    }));
    let said = "a chain's pins could not be mended";
    assert_eq!(stage.daemon.log().matches(said).count(), 1);
    assert!(next.exists(), "what is mounted can't be removed");
    stage.assert_filters();
    drop(mounted);
    // It is tried again after half a minute.
    wait_until("it is mended", Duration::from_secs(30) + DEADLINE, || {
        !next.exists()
    });
    wait_until("it is said", DEADLINE, || {
        stage.daemon.log().contains("mended a chain's pins")
    });
    assert_eq!(stage.daemon.log().matches(said).count(), 1, "said once");
    stage.victim().load_verdict("late", pins::PASS, &[]);
    stage.assert_filters();
    stage.assert_others_go_on();
}

/// A pin that nobody can remove: it is mounted on itself.
struct Mounted(PathBuf);

impl Mounted {
    fn on(path: &Path) -> Self {
        let nothing = None::<&str>;
        mount(Some(path), path, nothing, MsFlags::MS_BIND, nothing).expect("root may mount");
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        umount(&self.0).expect("root may unmount");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_without_totals_begins_anew_and_that_is_said() {
    let mut stage = Stage::new();
    stage.assert_filters();
    stage.victim().load_verdict("late", pins::PASS, &[]);
    drop(stage.spoil(|pins| pins.remove("member-1/totals")));
    assert!(
        stage
            .daemon
            .log()
            .contains("the totals of member 1 are gone")
    );
    assert_eq!(stage.victim().chain().member("guard").packets.drop, 0);
    stage.assert_filters();
    stage.victim().ctl("unload", &["late"]).done();
    stage.assert_filters();
    assert_eq!(stage.victim().chain().member("guard").packets.drop, 200);
    stage.assert_others_go_on();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_without_totals_gets_its_slot_back_too() {
    let mut stage = Stage::new();
    drop(stage.spoil(|pins| {
        pins.remove("gen-1/jump");
        pins.remove("member-1/totals");
    }));
    let log = stage.daemon.log();
    assert!(log.contains("slot 0 of its program array"), "{log}");
    assert!(!log.contains("could not be mended"), "{log}");
    stage.assert_filters();
    assert_eq!(stage.victim().chain().member("guard").packets.drop, 100);
    stage.assert_others_go_on();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn totals_of_any_length_are_read_and_keep_what_is_not_known() {
    // What was folded into them last, then counts: DROP is the second. A change folds what build 1
    // counted since: 100 packets.
    let cases = [
        (vec![0, 0, 7, 5], 107),
        (vec![0], 100),
        (vec![0; 5], 100),
        (vec![0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 11, 12, 13], 107),
    ];
    for (words, dropped) in cases {
        let mut stage = Stage::new();
        stage.assert_filters();
        let written: Vec<u8> = words.iter().copied().flat_map(u64::to_ne_bytes).collect();
        drop(stage.spoil(|pins| {
            pins.replace("member-1/totals", &Pinnable::hash(&written));
        }));
        let drops = || stage.victim().chain().member("guard").packets.drop;
        assert_eq!(drops(), dropped);
        stage.victim().load_verdict("late", pins::PASS, &[]);
        assert_eq!(drops(), dropped);
        let after = bytes(&stage.pins().path("member-1/totals"));
        let after: Vec<u64> = after
            .chunks(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("it is whole")))
            .collect();
        assert!(after.len() >= words.len().max(3), "{after:?}");
        assert_eq!((after[0], after[2]), (1, dropped));
        let unknown = |words: &[u64]| words.get(10..).unwrap_or_default().to_vec();
        assert_eq!(unknown(&after), unknown(&words), "kept as they were");
        assert!(!stage.pins().path("member-1/totals-next").exists());
        stage.daemon.kill();
        stage.daemon.restart();
        assert_eq!(stage.victim().chain().member("guard").packets.drop, dropped);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_is_removed_by_hand_while_the_daemon_runs_is_pinned_again() {
    let mut stage = Stage::new();
    let root = stage.victim.near.xdp_program();
    let before = stage.daemon.bpffs().pins();
    let directory = stage.victim().pins();
    for name in [
        "link",
        "gen-1/root",
        "gen-1/jump",
        "gen-1/counters",
        "gen-1/registry",
        "gen-1",
        "member-1/totals",
        "member-1/code-1/program",
        "member-1/code-1/maps/%2erodata",
        "member-1",
    ] {
        stage.pins().remove(name);
        pinned_again(&stage, &directory.join(name), &before);
    }
    fs::remove_dir_all(&directory).expect("root may remove it");
    pinned_again(&stage, &directory, &before);
    stage.daemon.kill();
    stage.daemon.restart();
    assert_eq!(stage.victim.near.xdp_program(), root, "it ran on");
    stage.assert_filters();
    stage.victim().load_verdict("late", pins::PASS, &[]);
    assert_eq!(stage.victim().chain().order(), ["guard", "late"]);
    assert_eq!(stage.victim().chain().member("guard").packets.drop, 100);
    stage.assert_others_go_on();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn something_else_in_a_pins_place_is_left_there_and_told() {
    let mut stage = Stage::new();
    let other = Port::new(&stage.daemon, &stage.others[0].near);
    let path = other.pins().join("gen-1/registry");
    let real = Pinnable::at(&path);
    Pinnable::program().pin(&path);
    let told = "something else was pinned at gen-1/registry";
    wait_until("it is told", DEADLINE, || stage.daemon.log().contains(told));
    real.pin(&path);
    stage.daemon.kill();
    stage.daemon.restart();
    stage.assert_others_go_on();
}

#[track_caller]
fn pinned_again(stage: &Stage, path: &Path, before: &[PathBuf]) {
    let what = format!("{} is pinned again", path.display());
    wait_until(&what, DEADLINE, || stage.daemon.bpffs().pins() == before);
}
