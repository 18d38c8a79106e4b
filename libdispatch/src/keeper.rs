//! The thread that re-claims members when the application is idle: a member whose claim nobody
//! renews is removed after its linger time.
//!
//! It sleeps in `poll` until the connection breaks or the last clone of the client is dropped.

use std::{
    io::{self, PipeReader},
    sync::{Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use protocol::Connection;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use crate::session::{Next, Session};

/// The first pause before a new attempt. A restarted daemon listens after some 10 ms.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: well below the default linger time of 30 s, which starts anew with a daemon.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Starts the thread, unless it runs or there is nothing to keep. Without it (the process may
/// have too many threads) the next request does the same work.
pub(crate) fn start(session: &mut Session, shared: Weak<Mutex<Session>>) {
    if session.keeper.is_some() || !session.has_claims() {
        return;
    }
    let Ok((gone, alive)) = io::pipe() else {
        return;
    };
    let builder = thread::Builder::new().name("dispatch-keeper".to_owned());
    if builder.spawn(move || keep(&shared, &gone)).is_ok() {
        session.keeper = Some(alive);
    }
}

fn keep(shared: &Weak<Mutex<Session>>, gone: &PipeReader) {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(session) = shared.upgrade() else {
            return;
        };
        let next = session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tend();
        // Not held while waiting: the last clone's drop must be the last.
        drop(session);
        match next {
            Next::Stop => return,
            Next::Retry => {}
            Next::Watch(connection) => {
                let since = Instant::now();
                if wait(gone, Some(&connection), None) {
                    return;
                }
                // A daemon that accepts and hangs up at once is not asked without pause.
                if since.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
        }
        if wait(gone, None, Some(pause)) {
            return;
        }
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Waits until the connection breaks or the time has passed; says whether the client is gone.
fn wait(gone: &PipeReader, connection: Option<&Connection>, pause: Option<Duration>) -> bool {
    let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
    let mut polled = vec![PollFd::new(gone, PollFlags::IN)];
    polled.extend(connection.map(|connection| PollFd::new(connection, PollFlags::RDHUP)));
    loop {
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => return !polled[0].revents().is_empty(),
            Err(Errno::INTR) => {}
            // No memory for it: look again at the next turn.
            Err(_) => return false,
        }
    }
}
