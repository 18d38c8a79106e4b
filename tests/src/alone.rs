//! Tests that must not run beside others in their binary.

use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

/// The turn that a test holds; the next one waits for its drop.
pub struct Alone {
    _turn: MutexGuard<'static, ()>,
}

/// Waits until no other test of this binary that called this runs. Cargo runs test binaries one
/// after the other, so where every test of a binary takes a turn, each has the host for itself.
pub fn alone() -> Alone {
    Alone {
        _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
    }
}
