//! Waiting for a socket.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;

/// How often to look whether the interface is still there, since the kernel wakes nobody when it
/// goes: `poll` on such a socket waits on.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until the socket is ready for this, at most so long; false if it isn't, or a signal came.
/// `prepare` is called first, and then each second.
pub(super) fn wait(
    socket: BorrowedFd<'_>,
    ready: PollFlags,
    timeout: Option<Duration>,
    mut prepare: impl FnMut(),
) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        prepare();
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let interval = left.map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL));
        let interval = Timespec::try_from(interval).expect("it is at most a second");
        let mut sockets = [PollFd::from_borrowed_fd(socket, ready)];
        match poll(&mut sockets, Some(&interval)) {
            Ok(_) if sockets[0].revents().intersects(ready) => return Ok(true),
            Ok(_) => check(socket)?,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if left.is_some_and(|left| left <= LOOK_INTERVAL) {
            return Ok(false);
        }
    }
}

/// Whether the interface is still there, which a call that has nothing to do says.
fn check(socket: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::net::recv(socket, &mut [0; 0], RecvFlags::DONTWAIT) {
        Err(error @ (Errno::NETDOWN | Errno::NXIO)) => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}
