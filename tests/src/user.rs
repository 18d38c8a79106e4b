//! Acting as somebody without privileges.

use std::{panic, thread};

use crate::sys;

/// Runs `work` on a thread that belongs to this user and has no privileges.
pub fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let user = scope.spawn(move || {
            sys::become_user(uid);
            work()
        });
        user.join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}
