//! A receive queue and its `AF_XDP` socket, lent by the daemon: a guard.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use protocol::{OpenSocket, ReplyBody, RequestBody, SocketGrant, Token};

use crate::claim::ClaimNumber;
use crate::patience::Patience;
use crate::{Client, Error, Note, SocketRequest, token, words};

/// How long dropping a lease waits for the daemon.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

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
    token: Token,
    claim: ClaimNumber,
}

impl SocketLease {
    pub(crate) fn open(
        client: Client,
        request: &SocketRequest,
        grant: SocketGrant,
        memory: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        let interface = request.interface.clone();
        let token = token::draw();
        let body = RequestBody::OpenSocket(OpenSocket {
            interface: interface.clone(),
            queue: request.queue,
            grant,
            redirect: request.redirect,
            token,
            options: protocol::Options::new(),
        });
        let session = client.session();
        let patience = session.patience();
        let asked = session.ask(
            &body,
            memory.as_slice(),
            &patience,
            |(answer, mut fds)| match (answer, fds.pop()) {
                (ReplyBody::Socket(shape), Some(socket)) => Ok((shape, Arc::new(socket))),
                (other, _) => Err(other.into()),
            },
        );
        let ((shape, socket), line) = asked?;
        let held = Arc::clone(&socket);
        let claim =
            session.with_claims(|claims| claims.opened(line, &interface, shape.queue, token, held));
        client.start_keeper();
        Ok(Self {
            client,
            interface,
            socket,
            shape,
            token,
            claim,
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
    /// A socket without an RX ring is refused ([`RefusalCode::Conflict`](crate::RefusalCode)). Make that of a bare socket
    /// before.
    pub fn activate(&self) -> Result<Vec<Note>, Error> {
        self.check_held()?;
        let body = RequestBody::ActivateSocket {
            interface: self.interface.clone(),
            queue: self.queue(),
            token: self.token(),
        };
        let session = self.client.session();
        // Before it is known: if the connection is lost with the answer, the socket may be active.
        let before = session.with_claims(|claims| claims.set_active(self.claim, true));
        let activated = session.ask(&body, &[], &session.patience(), |answer| match answer {
            (ReplyBody::SocketActivated { notes }, _) => Ok(words::all(notes)),
            (other, _) => Err(other.into()),
        });
        if let Err(Error::Refused(_)) = activated {
            session.with_claims(|claims| claims.set_active(self.claim, before));
        }
        Ok(activated?.0)
    }

    /// Gives the queue back. The socket itself is closed when all its descriptors are.
    pub fn close(self) -> Result<(), Error> {
        let session = self.client.session();
        let closed = self
            .check_held()
            .and_then(|()| self.give_back(&session.patience()));
        // The drop has nothing to do, whatever became of this.
        session.with_claims(|claims| claims.release(self.claim));
        closed
    }

    /// Whether the queue is still this client's, as far as can be known without asking for it.
    pub fn check_held(&self) -> Result<(), Error> {
        let name = || format!("the socket of queue {}", self.queue());
        self.client
            .session()
            .check_held(self.claim, &self.interface, name)
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

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The claim is made again until the daemon has answered: it takes a queue back from its owner only.
    fn give_back(&self, patience: &Patience) -> Result<(), Error> {
        let body = RequestBody::CloseSocket {
            interface: self.interface.clone(),
            queue: self.queue(),
            token: self.token(),
        };
        let session = self.client.session();
        session.ask(&body, &[], patience, |answer| match answer {
            (ReplyBody::SocketClosed, _) => Ok(()),
            (other, _) => Err(other.into()),
        })?;
        Ok(())
    }
}

impl AsFd for SocketLease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for SocketLease {
    fn drop(&mut self) {
        let session = self.client.session();
        if session.with_claims(|claims| claims.is_ours(self.claim)) {
            // A queue that can't be given back now goes with the connection.
            let _ = self.give_back(&Patience::for_all(DROP_TIMEOUT));
        }
        session.with_claims(|claims| claims.release(self.claim));
    }
}
