//! Waiting for something, and not longer than makes sense.

use std::thread;
use std::time::{Duration, Instant};

use crate::{patience, sys};

/// Long enough for anything that a healthy system does at all, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until no packet is inside what it was in when this was called: whatever was counted by
/// then has been handed on, too.
pub fn grace_period() {
    sys::grace_period();
}

/// Waits until `condition` holds, at most `deadline` by a real processor's [`patience`]; then panics
/// with `what` was waited for.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = patience(deadline);
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain until {what}"
        );
        thread::sleep(POLL_INTERVAL);
    }
}
