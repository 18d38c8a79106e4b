//! What a bug does to the daemon: it ends with the first thread that panics.
//!
//! Without that thread it would take requests and do nothing. The chains run on meanwhile, and the
//! next daemon continues them.

use std::any::Any;
use std::{panic, process, thread};

/// The exit code after a panic, as Rust's own.
const PANICKED: i32 = 101;

/// From now on the panic of any thread is logged and ends the process.
pub fn end_process() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            thread = thread::current().name(),
            place,
            said = said(panic.payload()),
            "a thread panicked, which is a bug; the chains keep running",
        );
        process::exit(PANICKED);
    }));
}

/// What a panic says.
pub(crate) fn said(panic: &dyn Any) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panic")
}
