//! Of several threads that wait for something that one of them has to fetch, one fetches.
//!
//! The others sleep until it has fetched something, which may be theirs. No lock is held while it
//! fetches. When it finds its own, or has no more time, another takes its place.

use std::{
    ops::{Deref, DerefMut},
    sync::PoisonError,
    time::Instant,
};

use super::sync::{Condvar, Mutex, MutexGuard};

/// What threads share, and whose turn it is to fetch.
#[derive(Debug)]
pub(crate) struct Turn<S> {
    shared: Mutex<Shared<S>>,
    /// Told when something was fetched or changed: then the turn is free as well.
    changed: Condvar,
}

/// What threads share.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    state: S,
    taken: bool,
}

impl<S> Turn<S> {
    pub(crate) fn new(state: S) -> Self {
        Self {
            shared: Mutex::new(Shared {
                state,
                taken: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Looks at what is shared. A change that others wait for is told by [`change`](Self::change).
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // It is consistent between any two steps.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shared, and tells those that wait.
    pub(crate) fn change(&self, act: impl FnOnce(&mut S)) {
        act(&mut self.lock().state);
        self.changed.notify_all();
    }

    /// Waits until what is looked for is there, or the time is over. While nobody else does,
    /// fetches, at most until the time is over, and keeps what it got.
    pub(crate) fn wait<T, F>(
        &self,
        limit: Instant,
        mut look: impl FnMut(&mut S) -> Option<T>,
        fetch: impl Fn() -> F,
        keep: impl Fn(&mut S, F),
    ) -> Option<T> {
        let mut shared = self.lock();
        loop {
            if let Some(found) = look(&mut shared.state) {
                return Some(found);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if shared.taken {
                let waited = self.changed.wait_timeout(shared, left);
                shared = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            shared.taken = true;
            drop(shared);
            let fetched = fetch();
            shared = self.lock();
            shared.taken = false;
            keep(&mut shared.state, fetched);
            self.changed.notify_all();
        }
    }
}

impl<S> Deref for Shared<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> DerefMut for Shared<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.state
    }
}
