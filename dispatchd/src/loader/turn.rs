//! A user's turns to load.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// Loads of one uid at once, root's apart: each may keep a core busy for seconds.
const LOADS_PER_UID: usize = 2;

/// The loads that run, by uid.
#[derive(Debug, Default)]
pub(super) struct Turns {
    running: Mutex<BTreeMap<u32, usize>>,
    ended: Condvar,
}

/// One of a user's turns.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    uid: u32,
}

impl Turns {
    /// Waits until the user may load once more.
    pub(super) fn take(&self, uid: u32) -> Turn<'_> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = self
            .ended
            .wait_while(running, |running| {
                uid != 0
                    && running
                        .get(&uid)
                        .is_some_and(|loads| *loads >= LOADS_PER_UID)
            })
            .unwrap_or_else(PoisonError::into_inner);
        *running.entry(uid).or_default() += 1;
        Turn { turns: self, uid }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self
            .turns
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(loads) = running.get_mut(&self.uid) {
            *loads -= 1;
            if *loads == 0 {
                running.remove(&self.uid);
            }
        }
        self.turns.ended.notify_all();
    }
}
