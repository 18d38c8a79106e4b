//! A daemon that isn't whole any more ends; one that lost a client's thread is whole.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::{env, thread};

/// Set for the process that has a bug, to whose thread panics.
const BUG: &str = "TEST_BUG_OF";

/// Runs a test of this binary again, as a process with a bug, and returns its exit code and log.
fn process_with_bug(test: &str, thread_of: &str) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = Command::new(env::current_exe().expect("it runs"))
        .args(["--nocapture", "--exact", test])
        .env(BUG, thread_of)
        .output()
        .expect("it can be run again");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

/// Panics in a thread, if this process is to. It returns only if the process outlives that.
fn has_bug() -> bool {
    let Ok(thread_of) = env::var(BUG) else {
        return false;
    };
    tracing_subscriber::fmt().init();
    dispatchd::bug::end_process();
    let builds: BTreeMap<u64, u64> = BTreeMap::new();
    let thread = thread::Builder::new().name(thread_of.clone());
    let panics = thread.spawn(move || {
        if thread_of == "client" {
            dispatchd::bug::is_clients();
        }
        *builds.get(&7).expect("the build was built here")
    });
    let panics = panics.expect("there is room for a thread");
    panics.join().expect_err("it panics");
    true
}

#[test]
fn a_panic_is_logged_and_ends_the_process() {
    if has_bug() {
        return;
    }
    let (code, log) = process_with_bug("a_panic_is_logged_and_ends_the_process", "hands");
    assert_eq!(code, Some(101), "{log}");
    for said in ["hands", "the build was built here", "tests/bug.rs"] {
        assert!(log.contains(said), "{said:?} in {log}");
    }
}

#[test]
fn a_panic_of_a_clients_thread_is_logged_and_ends_nothing_else() {
    if has_bug() {
        return;
    }
    let test = "a_panic_of_a_clients_thread_is_logged_and_ends_nothing_else";
    let (code, log) = process_with_bug(test, "client");
    assert_eq!(code, Some(0), "{log}");
    for said in ["client", "the build was built here", "tests/bug.rs"] {
        assert!(log.contains(said), "{said:?} in {log}");
    }
}
