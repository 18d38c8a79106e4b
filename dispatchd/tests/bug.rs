//! A daemon that isn't whole any more ends.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::{env, thread};

/// Set for the process that is to end.
const ENDS: &str = "TEST_ENDS_BY_A_BUG";

#[test]
fn a_panic_of_any_thread_is_logged_and_ends_the_process() {
    if env::var_os(ENDS).is_some() {
        tracing_subscriber::fmt().init();
        dispatchd::bug::end_process();
        let builds: BTreeMap<u64, u64> = BTreeMap::new();
        let hands = thread::Builder::new().name("hands".to_owned());
        let hands = hands.spawn(move || *builds.get(&7).expect("the build was built here"));
        // Were the process to outlive it, this test would be passed there.
        let _ = hands.expect("there is room for a thread").join();
        return;
    }
    let Output { status, stdout, .. } = Command::new(env::current_exe().expect("it runs"))
        .args(["--nocapture", "--exact"])
        .arg("a_panic_of_any_thread_is_logged_and_ends_the_process")
        .env(ENDS, "1")
        .output()
        .expect("it can be run again");
    assert_eq!(status.code(), Some(101));
    let log = String::from_utf8_lossy(&stdout);
    for said in ["hands", "the build was built here", "tests/bug.rs"] {
        assert!(log.contains(said), "{said:?} in {log}");
    }
}
