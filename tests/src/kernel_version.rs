//! What the kernel that tests run on is old enough to lack.

use std::fs;

use libdispatch::{Error, RefusalCode};

/// Whether the kernel is at least this new.
pub fn kernel_is(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("it can be read");
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    (number(), number()) >= (Some(version.0), Some(version.1))
}

/// Whether a bound socket was refused because the kernel is older than 6.4. The daemon has to do so
/// there, and may do so nowhere else: a test that goes on with a bare one would hide it.
#[track_caller]
pub fn is_too_old<T>(opened: &Result<T, Error>) -> bool {
    let refusal = match opened.as_ref().map_err(Error::refusal) {
        Ok(_) => None,
        Err(Some(refusal)) => Some((refusal.code, refusal.message.as_str())),
        Err(None) => return false,
    };
    is_refused_for_age(refusal)
}

/// The same of a refusal's code and message, if it was refused.
#[track_caller]
pub fn is_refused_for_age(refusal: Option<(RefusalCode, &str)>) -> bool {
    let refused = match refusal {
        None => false,
        Some((RefusalCode::Unsupported, message)) => message.contains("which Linux 6.4 does"),
        // Something else was wrong first.
        Some(_) => return false,
    };
    assert_eq!(
        refused,
        !kernel_is((6, 4)),
        "from Linux 6.4 on a bound socket can be used, and not before: {refusal:?}"
    );
    refused
}
