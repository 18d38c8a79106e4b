//! Whatever is written to a socket's rings, and whenever, no frame has two owners or none.
//!
//! `cargo +nightly fuzz run xsk_rings`
#![no_main]

use libdispatch::xsk::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::rings(bytes));
