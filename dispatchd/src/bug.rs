//! What a bug does to the daemon: it ends with the first thread that panics, unless that thread works
//! for one client alone.
//!
//! Without any other it would take requests and do nothing. The chains run on meanwhile, and the
//! next daemon continues them. What a client's own thread panics over may be the client's doing, and
//! would end the daemon for all.

use std::any::Any;
use std::cell::Cell;
use std::{panic, process, thread};

/// The exit code after a panic, as Rust's own.
const PANICKED: i32 = 101;

thread_local! {
    static IS_CLIENTS: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic is logged, and ends the process unless its thread is a client's.
pub fn end_process() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let is_clients = IS_CLIENTS.get();
        tracing::error!(
            thread = thread::current().name(),
            place,
            said = said(panic.payload()),
            "a thread panicked, which is a bug{}",
            if is_clients {
                ": its client is hung up on"
            } else {
                "; the chains keep running"
            },
        );
        if !is_clients {
            process::exit(PANICKED);
        }
    }));
}

/// The calling thread works for one client alone: its panic ends nothing else.
pub fn is_clients() {
    IS_CLIENTS.set(true);
}

/// What a panic says.
pub(crate) fn said(panic: &dyn Any) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panic")
}
