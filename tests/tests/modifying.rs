//! Members that change a packet's length, in every place of a chain.

use tests::{Rig, frame};

const PASS: u32 = 2;
/// The packet that a chain gets.
const LENGTH: usize = 64;
/// What a program of `modifies.c` adds to the packet's length and to its metadata's.
const CHANGES: [(&str, i64, i64); 3] = [("head", 4, 0), ("tail", -4, 0), ("meta", 0, 4)];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn by_the_engine_that_the_daemon_chooses_those_behind_see_the_change() {
    changes_are_seen_behind(&[]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn by_tail_call_those_behind_see_the_change() {
    changes_are_seen_behind(&["--engine", "tailcall"]);
}

mod needs_freplace {
    use super::*;

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn beside_tail_called_members_those_behind_see_the_change() {
        changes_are_seen_behind_with(&["--engine", "freplace"], &["--engine", "tailcall"]);
        changes_are_seen_behind_with(&["--engine", "tailcall"], &["--engine", "freplace"]);
    }
}

fn changes_are_seen_behind(arguments: &[&str]) {
    changes_are_seen_behind_with(arguments, arguments);
}

/// The member that changes the packet is first, in the middle, and last, loaded with these
/// arguments; two others, loaded with those, note the lengths.
fn changes_are_seen_behind_with(changing: &[&str], noting: &[&str]) {
    let rig = Rig::new();
    for name in ["first", "second"] {
        rig.load("lengths", name, noting);
    }
    for (program, packet, metadata) in CHANGES {
        rig.load(
            "modifies",
            "changes",
            &[&["--program", program], changing].concat(),
        );
        for place in [&["--first"][..], &["--after", "first"], &["--last"]] {
            rig.ctl("reorder", &[&["changes"], place].concat()).done();
            let (verdict, bytes) = rig.root().run_and_see(&frame(LENGTH));
            assert_eq!(verdict, PASS, "{program} {place:?}");
            // A test run gives the metadata back in front of the packet.
            assert_eq!(
                length(bytes.len()),
                length(LENGTH) + packet + metadata,
                "{program} {place:?}"
            );
            let chain = rig.chain();
            let changed = chain.member("changes").slot;
            for name in ["first", "second"] {
                let is_behind = chain.member(name).slot > changed;
                let expected = if is_behind {
                    (packet, metadata)
                } else {
                    (0, 0)
                };
                let lengths = rig.map(name, "LENGTHS");
                let note = |key| length(usize::try_from(lengths.sum(key, 0)).expect("it is small"));
                assert_eq!(
                    (note(0) - length(LENGTH), note(1)),
                    expected,
                    "{name} of {program} {place:?}"
                );
            }
        }
        rig.ctl("unload", &["changes"]).done();
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("it is small")
}
