//! Acting as somebody without privileges.

use std::{fs, panic, thread};

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::sys;

/// Runs `work` on a thread that belongs to this user, has no privileges and can't get any: nor can
/// a process that it starts. There is no way back, which is why the thread is one of its own.
pub fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let user = scope.spawn(move || {
            give_up_capabilities(|| sys::become_user(uid));
            set_no_new_privs(true).expect("anybody may");
            assert_powerless("thread-self");
            work()
        });
        user.join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Asserts that a process or a thread (a folder of `/proc`) has no capability in any set, and that
/// no program that it runs gives it one.
#[track_caller]
pub fn assert_powerless(process: &str) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it is there");
    let none = format!("{:016x}", 0);
    for (field, expected) in [
        ("CapInh", &*none),
        ("CapPrm", &none),
        ("CapEff", &none),
        ("CapBnd", &none),
        ("CapAmb", &none),
        ("NoNewPrivs", "1"),
    ] {
        let line = format!("{field}:\t{expected}");
        assert!(
            status.lines().any(|found| found == line),
            "{line}\n{status}"
        );
    }
}

/// Empties every set of the calling thread. Becoming somebody else takes capabilities, and leaves
/// what is inheritable as it was.
fn give_up_capabilities(become_user: impl FnOnce()) {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability).expect("root may"),
            Ok(false) => {}
            // The kernel has no more.
            Err(error) => {
                assert_eq!(error, Errno::INVAL);
                break;
            }
        }
    }
    become_user();
    clear_ambient_capability_set().expect("anybody may");
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets).expect("anybody may");
}
