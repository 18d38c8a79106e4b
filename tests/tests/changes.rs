//! Changes that take long, and what goes on meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libdispatch::{Position, Program};
use tests::{Pair, Port, Rig, alone, object, patience, volume};

const PASS: u32 = 2;

/// How long what goes on meanwhile may take: it takes a hundredth of that, when nothing else runs.
const PROMPT: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_that_takes_seconds_to_verify_delays_nobody_else() {
    let _alone = alone();
    let rig = Rig::new();
    let second = Pair::new();
    let other = Port::new(&rig.daemon, &second.near);
    other.load_verdict("one", PASS, &[]);
    other.load_verdict("two", PASS, &[]);
    let client = other.client("meanwhile");
    let loader = rig.client("slow");
    let program = slow_to_verify();
    let loaded = AtomicBool::new(false);
    let start = Instant::now();
    let longest = thread::scope(|scope| {
        scope.spawn(|| {
            let change = loader.change("xd0").register(&program);
            let changed = change.apply();
            loaded.store(true, Ordering::SeqCst);
            changed.expect("the verifier takes it in the end");
        });
        let mut longest = Duration::ZERO;
        let mut rounds = 0;
        let mut first = "two";
        while !loaded.load(Ordering::SeqCst) {
            let steps: [(&str, &mut dyn FnMut()); 4] = [
                ("a reorder", &mut || {
                    let change = client.change("xd0").reorder(first, Position::First);
                    change.apply().expect("it can be moved");
                }),
                ("a list", &mut || {
                    drop(client.list(None).expect("it can be listed"));
                }),
                ("a status", &mut || {
                    drop(client.status().expect("it can be asked"));
                }),
                ("a new client's load", &mut || {
                    let newcomer = other.client("newcomer");
                    let small = Program::from_file(object("verdict")).expect("it was compiled");
                    let guard = newcomer.register("xd0", &small).expect("there is room");
                    guard.unregister().expect("it was there");
                }),
            ];
            for (what, step) in steps {
                let begin = Instant::now();
                step();
                let took = begin.elapsed();
                assert!(took < patience(PROMPT), "{what} took {took:?}");
                longest = longest.max(took);
            }
            first = if first == "two" { "one" } else { "two" };
            rounds += 1;
        }
        assert!(rounds >= 3, "only {rounds} rounds went on meanwhile");
        longest
    });
    let whole = start.elapsed();
    assert!(
        whole > Duration::from_millis(500),
        "it took only {whole:?} to verify: no proof"
    );
    assert!(longest < whole, "the longest took {longest:?} of {whole:?}");
    assert_eq!(rig.chain().order(), ["slow_to_verify"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_chain_can_be_changed_while_a_program_for_it_is_verified() {
    let _alone = alone();
    let rig = Rig::new();
    rig.load_verdict("one", PASS, &["--priority", "90"]);
    let loader = rig.client("slow");
    let program = slow_to_verify();
    let loaded = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let changed = loader.change("xd0").register(&program).apply();
            loaded.store(true, Ordering::SeqCst);
            changed.expect("the verifier takes it in the end");
        });
        rig.load_verdict("two", PASS, &["--priority", "91"]);
        rig.load_verdict("three", PASS, &["--priority", "92"]);
        rig.ctl("unload", &["one"]).done();
        assert!(
            !loaded.load(Ordering::SeqCst),
            "it was done too soon: no proof"
        );
    });
    assert_eq!(rig.chain().order(), ["slow_to_verify", "two", "three"]);
}

/// A program that the verifier looks at for about a second, on whatever it runs.
fn slow_to_verify() -> Program {
    // An emulated processor takes seconds for so few, and may have others beside it.
    let paths = volume(volume(1 << 17)).max(1 << 13);
    Program::from_file(object("slow_to_verify"))
        .expect("it was compiled")
        .global("mask", (1_u32 << paths.ilog2()) - 1)
        .kept()
}
