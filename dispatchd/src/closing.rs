//! Closes what strangers sent, away from the threads that everybody waits for.
//!
//! To close a descriptor may take as long as whoever made it likes: a TCP socket with `SO_LINGER`
//! set waits for its peer. A connection that is closed takes the descriptors along that nobody has
//! read from it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// It closes descriptors, and nothing deep.
const STACK_BYTES: usize = 64 << 10;

/// Closes what belongs to users, each user's on a thread of its own, so that nobody waits for another.
#[derive(Clone, Default)]
pub struct Closing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queues: Mutex<BTreeMap<u32, Queue>>,
    emptied: Condvar,
}

/// What is to be closed of one user's.
#[derive(Default)]
struct Queue {
    waiting: Vec<Box<dyn Send>>,
    has_thread: bool,
}

impl Closing {
    /// Drops something of this user's on another thread.
    pub fn close(&self, uid: u32, what: impl Send + 'static) {
        let mut queues = self.queues();
        let queue = queues.entry(uid).or_default();
        queue.waiting.push(Box::new(what));
        if std::mem::replace(&mut queue.has_thread, true) {
            return;
        }
        drop(queues);
        let this = self.clone();
        let thread = thread::Builder::new()
            .name(format!("closing-{uid}"))
            .stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || this.close_all(uid)) {
            tracing::error!(%error, uid, "can't start a thread: what a user sent stays open for now");
            self.queues().entry(uid).or_default().has_thread = false;
        }
    }

    /// Waits until nothing of this user's is left to be closed, but no longer than this.
    pub fn settle(&self, uid: u32, timeout: Duration) {
        let has_some = |queues: &mut BTreeMap<u32, Queue>| queues.contains_key(&uid);
        let queues = self.queues();
        let waited = self.0.emptied.wait_timeout_while(queues, timeout, has_some);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn close_all(&self, uid: u32) {
        // Closed without the lock.
        while let Some(what) = self.next(uid) {
            drop(what);
        }
    }

    /// What is closed next; the thread ends where there is nothing.
    fn next(&self, uid: u32) -> Option<Box<dyn Send>> {
        let mut queues = self.queues();
        let next = queues.get_mut(&uid)?.waiting.pop();
        if next.is_none() {
            queues.remove(&uid);
            self.0.emptied.notify_all();
        }
        next
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<u32, Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Something that takes as long to close as it is told to.
    struct Slow {
        until: Receiver<()>,
        closed: Sender<()>,
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.until.recv();
            let _ = self.closed.send(());
        }
    }

    fn slow() -> (Slow, Sender<()>, Receiver<()>) {
        let ((go_on, until), (closed, is_closed)) = (channel(), channel());
        (Slow { until, closed }, go_on, is_closed)
    }

    #[test]
    fn nobody_waits_for_another_users_descriptors() {
        let closing = Closing::default();
        let (first, first_goes_on, first_is_closed) = slow();
        let (second, second_goes_on, second_is_closed) = slow();
        let (other, other_goes_on, other_is_closed) = slow();
        closing.close(1, first);
        closing.close(1, second);
        closing.close(2, other);
        drop(other_goes_on);
        other_is_closed.recv().expect("it is closed at once");
        // The first user's are still waited for, and the second's are not.
        closing.settle(2, Duration::MAX);
        closing.settle(1, Duration::from_millis(1));
        first_is_closed.try_recv().expect_err("it is not closed");
        drop((first_goes_on, second_goes_on));
        closing.settle(1, Duration::MAX);
        first_is_closed.try_recv().expect("it is closed by now");
        second_is_closed.try_recv().expect("it is closed by now");
        // The thread may have ended: another one closes what comes later.
        let (late, late_goes_on, late_is_closed) = slow();
        closing.close(1, late);
        drop(late_goes_on);
        late_is_closed.recv().expect("it is closed too");
    }
}
