//! Connections that have not said a word yet. They wait here together, without a thread or a buffer
//! of their own: whoever connects costs a descriptor until it has greeted.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use planner::ConnectionId;
use protocol::Connection;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::Place;
use crate::session::Admitted;

/// A client that says nothing at all for this long is hung up on.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection before its greeting.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) connection: Connection,
    pub(super) id: ConnectionId,
    pub(super) admitted: Admitted,
    pub(super) place: Place,
    until: Instant,
}

/// What there is to do.
#[derive(Debug)]
pub(super) struct Ready {
    /// Somebody connects, or the listener was shut down.
    pub(super) at_the_door: bool,
    /// Connections with something to be read, or that ended.
    pub(super) speaking: Vec<Newcomer>,
    /// Connections that said nothing for too long.
    pub(super) silent: Vec<Newcomer>,
}

/// The connections that wait.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    newcomers: Vec<Newcomer>,
}

impl Lobby {
    /// Lets a connection wait.
    pub(super) fn add(
        &mut self,
        connection: Connection,
        id: ConnectionId,
        admitted: Admitted,
        place: Place,
    ) {
        self.newcomers.push(Newcomer {
            connection,
            id,
            admitted,
            place,
            until: Instant::now() + GREETING_TIMEOUT,
        });
    }

    /// Waits until there is something to do.
    pub(super) fn wait(&mut self, listener: impl AsFd) -> rustix::io::Result<Ready> {
        let first = self.newcomers.iter().map(|newcomer| newcomer.until).min();
        let patience = first.map(|until| until.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut polled = vec![PollFd::new(&listener, PollFlags::IN)];
        let connections = self.newcomers.iter();
        polled.extend(connections.map(|newcomer| PollFd::new(&newcomer.connection, PollFlags::IN)));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, patience.as_ref()))?;
        let is_ready: Vec<bool> = polled
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty())
            .collect();
        drop(polled);
        let now = Instant::now();
        let (mut speaking, mut silent) = (Vec::new(), Vec::new());
        let mut waiting = Vec::new();
        for (newcomer, is_ready) in self.newcomers.drain(..).zip(&is_ready[1..]) {
            if *is_ready {
                speaking.push(newcomer);
            } else if newcomer.until > now {
                waiting.push(newcomer);
            } else {
                silent.push(newcomer);
            }
        }
        self.newcomers = waiting;
        Ok(Ready {
            at_the_door: is_ready[0],
            speaking,
            silent,
        })
    }
}
