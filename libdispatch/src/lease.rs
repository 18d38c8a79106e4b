//! A receive queue and its `AF_XDP` socket, lent by the daemon: a guard.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{OpenSocket, ReplyBody, RequestBody, SocketGrant};

use crate::claim::Held;
use crate::{Client, Error, Note, Refusal, RefusalCode, SocketRequest, token, words};

/// How long dropping a lease waits for the daemon.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a restarted daemon waits for an active socket's client.
const LINGER: Duration = Duration::from_secs(30);

/// An `AF_XDP` socket that the daemon opened, and the receive queue that is this client's with it.
///
/// The queue's packets go elsewhere until [`activate`](Self::activate), and again after the drop. An
/// active socket goes on receiving while the daemon is away; the library claims it again from the next.
#[derive(Debug)]
#[must_use = "dropping a lease gives the queue back"]
pub struct SocketLease {
    client: Client,
    interface: String,
    socket: Arc<OwnedFd>,
    shape: protocol::Socket,
    token: protocol::Token,
    /// The drop has nothing to do.
    released: bool,
}

/// What a client has to tell a new daemon of a lease.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) interface: String,
    pub(crate) queue: u32,
    pub(crate) socket: Arc<OwnedFd>,
    /// Only then a daemon that comes after knows of it.
    active: bool,
    pub(crate) held: Held,
}

impl Leased {
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.held, Held::Lost(_))
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if self.is_lost() {
            return;
        }
        self.held = if self.active {
            Held::Wanted { asked: None }
        } else {
            Held::Lost(Refusal::new(
                RefusalCode::NoSuchSocket,
                "the connection was lost before the socket was activated",
            ))
        };
    }

    /// The daemon said no: as for a member, some answers can change.
    pub(crate) fn refused(&mut self, refusal: Refusal, now: Instant) {
        let Held::Wanted { asked } = &mut self.held else {
            return;
        };
        let since = *asked.get_or_insert(now);
        let is_final = matches!(
            refusal.code,
            RefusalCode::NoSuchSocket
                | RefusalCode::NoSuchInterface
                | RefusalCode::InterfaceGone
                | RefusalCode::NotAllowed
        );
        if is_final || now.duration_since(since) >= LINGER {
            self.held = Held::Lost(refusal);
        }
    }
}

impl SocketLease {
    pub(crate) fn open(
        client: Client,
        request: &SocketRequest,
        grant: SocketGrant,
        memory: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        let token = token::draw();
        let body = RequestBody::OpenSocket(OpenSocket {
            interface: request.interface.clone(),
            queue: request.queue,
            grant,
            redirect: request.redirect,
            token,
            options: protocol::Options::new(),
        });
        let mut session = client.session();
        let (answer, mut fds) = session.request_with(&body, &[], memory.as_slice())?;
        let (ReplyBody::Socket(shape), Some(socket)) = (&answer, fds.pop()) else {
            return Err(session.unexpected(&body, &answer));
        };
        let socket = Arc::new(socket);
        let leased = Leased {
            interface: request.interface.clone(),
            queue: shape.queue,
            socket: Arc::clone(&socket),
            active: false,
            held: Held::Yes,
        };
        session.leases.insert(token, leased);
        client.start_keeper(&mut session);
        drop(session);
        Ok(Self {
            interface: request.interface.clone(),
            socket,
            shape: shape.clone(),
            token,
            released: false,
            client,
        })
    }

    /// Gives the socket its queue's packets. Put frames into the FILL ring before: packets that find it
    /// empty are lost. Returns what the daemon has to say, such as why the chain's mode is generic.
    ///
    /// The redirect program `xsk-redirect` joins the interface's chain with its first active socket,
    /// at priority 20, and leaves it with its last socket.
    ///
    /// # Errors
    ///
    /// A socket without an RX ring is refused ([`RefusalCode::Conflict`]). Make that of a bare socket
    /// before.
    pub fn activate(&self) -> Result<Vec<Note>, Error> {
        let mut session = self.client.session();
        let (interface, queue, token) = (self.interface.clone(), self.queue(), self.token);
        let body = RequestBody::ActivateSocket {
            interface,
            queue,
            token,
        };
        self.check(&mut session)?;
        match session.request_with(&body, &[], &[])? {
            (ReplyBody::SocketActivated { notes }, _) => {
                if let Some(leased) = session.leases.get_mut(&self.token()) {
                    leased.active = true;
                }
                Ok(words::all(notes))
            }
            (answer, _) => Err(session.unexpected(&body, &answer)),
        }
    }

    /// Gives the queue back. The socket itself is closed when all its descriptors are.
    pub fn close(mut self) -> Result<(), Error> {
        self.released = true;
        let client = self.client.clone();
        let mut session = client.session();
        self.check(&mut session)?;
        session.leases.remove(&self.token());
        let body = self.close_request();
        match session.request_with(&body, &[], &[])? {
            (ReplyBody::SocketClosed, _) => Ok(()),
            (answer, _) => Err(session.unexpected(&body, &answer)),
        }
    }

    /// Whether the queue is still this client's, as far as can be known without asking for it.
    pub fn check_held(&self) -> Result<(), Error> {
        self.check(&mut self.client.session())
    }

    /// A descriptor of the socket, to map its rings from and to send and receive with. As long as it is
    /// open, nobody else can bind the queue.
    pub fn try_clone_socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's index in its own namespace, which may be another than this process's.
    pub fn ifindex(&self) -> u32 {
        self.shape.ifindex
    }

    /// The receive queue.
    pub fn queue(&self) -> u32 {
        self.shape.queue
    }

    /// Whether packets are not copied; false for a bare socket, which isn't bound yet.
    pub fn zero_copy(&self) -> bool {
        self.shape.zero_copy
    }

    pub(crate) fn token(&self) -> [u8; 16] {
        self.token
    }

    fn close_request(&self) -> RequestBody {
        RequestBody::CloseSocket {
            interface: self.interface.clone(),
            queue: self.queue(),
            token: self.token,
        }
    }

    fn check(&self, session: &mut crate::session::Session) -> Result<(), Error> {
        session.connected()?;
        let leased = session.leases.get(&self.token());
        match leased.map(|leased| &leased.held) {
            Some(Held::Lost(reason)) => Err(Error::Lost {
                interface: self.interface.clone(),
                name: format!("the socket of queue {}", self.queue()),
                reason: Box::new(reason.clone()),
            }),
            Some(Held::Yes | Held::Wanted { .. }) | None => Ok(()),
        }
    }
}

impl AsFd for SocketLease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for SocketLease {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let mut session = self.client.session();
        let leased = session.leases.remove(&self.token());
        if leased.is_none_or(|leased| leased.is_lost()) {
            return;
        }
        let patience = mem::replace(&mut session.timeout, DROP_TIMEOUT);
        // A queue that can't be given back now goes with the connection.
        let _ = session.request_with(&self.close_request(), &[], &[]);
        session.timeout = patience;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_socket_is_wanted_after_a_lost_connection() {
        let mut active = leased(true);
        active.disconnected();
        assert_eq!(active.held, Held::Wanted { asked: None });
        let mut opened = leased(false);
        opened.disconnected();
        assert!(opened.is_lost());
    }

    #[test]
    fn a_socket_is_wanted_until_the_daemon_does_not_know_it() {
        let mut active = leased(true);
        active.disconnected();
        let start = Instant::now();
        active.refused(refusal(RefusalCode::Claim), start);
        assert_eq!(active.held, Held::Wanted { asked: Some(start) });
        active.refused(refusal(RefusalCode::NoSuchSocket), start);
        assert_eq!(active.held, Held::Lost(refusal(RefusalCode::NoSuchSocket)));
        active.disconnected();
        assert!(active.is_lost());
    }

    fn leased(active: bool) -> Leased {
        let (end, _) = io::pipe().unwrap();
        Leased {
            interface: "eth0".to_owned(),
            queue: 0,
            socket: Arc::new(end.into()),
            active,
            held: Held::Yes,
        }
    }

    fn refusal(code: RefusalCode) -> Refusal {
        Refusal::new(code, "no")
    }
}
