//! The thread that re-claims members when the application is idle: a member whose claim nobody
//! renews is removed after its linger time.
//!
//! It sleeps in `poll` until the connection breaks, a claim is wanted that it doesn't know of, or the
//! last clone of the client is dropped.

use std::{
    io::{self, PipeReader, Read as _},
    os::fd::AsFd as _,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use crate::{line::Line, request::Failure, session::Session};

/// The first pause before a new attempt. A restarted daemon listens after some 10 ms.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: well below the default linger time of 30 s, which starts anew with a daemon.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the keeper does next.
enum Next {
    /// Everything is held: wait until this connection breaks.
    Watch(Arc<Line>),
    /// Something is wanted that can't be had now.
    Retry,
    /// There is nothing to keep.
    Stop,
}

/// Why a wait ended.
enum Woken {
    /// The client is gone.
    Gone,
    /// There is a claim to be made.
    Called,
    /// The connection broke, or the time has passed.
    Due,
}

/// Starts the thread, unless it runs or there is nothing to keep. Without it (the process may
/// have too many threads) the next request does the same work.
pub(crate) fn start(session: &Arc<Session>) {
    session.employ(|| {
        let (gone, alive) = io::pipe().ok()?;
        // A pipe that is full wakes as well.
        rustix::io::ioctl_fionbio(&alive, true).ok()?;
        let kept = Arc::downgrade(session);
        let builder = thread::Builder::new().name("dispatch-keeper".to_owned());
        builder.spawn(move || keep(&kept, &gone)).ok()?;
        Some(alive)
    });
}

fn keep(session: &Weak<Session>, gone: &PipeReader) {
    let mut pause = PAUSE_MIN;
    loop {
        let Some(kept) = session.upgrade() else {
            return;
        };
        let next = tend(&kept);
        drop(kept);
        match next {
            Next::Stop => return,
            Next::Retry => {}
            Next::Watch(line) => {
                let since = Instant::now();
                match wait(gone, Some(&line), None) {
                    Woken::Gone => return,
                    Woken::Called => continue,
                    Woken::Due => {}
                }
                // A daemon that accepts and hangs up at once is not asked without pause.
                if since.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
        }
        if let Woken::Gone = wait(gone, None, Some(pause)) {
            return;
        }
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Does everything that can be done now so that nothing is wanted.
fn tend(session: &Session) -> Next {
    session.lose_if_broken();
    if session.rests() {
        return Next::Stop;
    }
    let patience = session.patience();
    let Ok(line) = session.home(&patience) else {
        return Next::Retry;
    };
    match session.reclaim(&line, &patience) {
        Ok(()) if session.with_claims(|claims| claims.any_wanted()) => Next::Retry,
        Ok(()) => Next::Watch(line),
        // It may come late: the line is good.
        Err(Failure::Failed(_)) => Next::Retry,
        Err(Failure::Unsent(_) | Failure::Unanswered) => {
            session.lose(&line);
            Next::Retry
        }
    }
}

/// Waits until the connection breaks, the time has passed, or the session says something.
fn wait(gone: &PipeReader, line: Option<&Line>, pause: Option<Duration>) -> Woken {
    let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
    let mut polled = vec![PollFd::new(gone, PollFlags::IN)];
    polled.extend(line.map(|line| PollFd::from_borrowed_fd(line.as_fd(), PollFlags::RDHUP)));
    loop {
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            // No memory for it: look again at the next turn.
            Err(_) => return Woken::Due,
        }
    }
    if polled[0].revents().is_empty() {
        return Woken::Due;
    }
    // Something was said, or the other end is closed: neither waits.
    let mut calls = [0; 64];
    match (&mut &*gone).read(&mut calls) {
        Ok(0) => Woken::Gone,
        Ok(_) | Err(_) => Woken::Called,
    }
}
