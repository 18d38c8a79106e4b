//! Waiting for a socket.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

/// Waits until the socket is ready for this, at most so long; false if it isn't, or a signal came.
pub(super) fn wait(
    socket: BorrowedFd<'_>,
    ready: PollFlags,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    // A timeout that is too long to be told is none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut sockets = [PollFd::from_borrowed_fd(socket, ready)];
    match poll(&mut sockets, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let events = sockets[0].revents();
    if events.intersects(PollFlags::ERR | PollFlags::HUP) {
        let pending = sockopt::socket_error(socket)?;
        return Err(pending.err().unwrap_or(Errno::NETDOWN).into());
    }
    Ok(events.intersects(ready))
}
