//! One client's conversation with the daemon, and its renewal after the connection was lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use protocol::{Connection, Digest, Hello, Operation, ReplyBody, RequestBody};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{
    Error, Lifetime, RefusalCode, Remedy,
    claim::{Claim, Claims, Held},
    exchange::{self, Answer, Failure, attaches, is_harmless, name_of},
    lease::Leased,
    netns::NetNsFile,
    program::Object,
};

/// How long the registration of an attached member whose answer was lost waits for a daemon to be
/// there again: what a service manager takes to start one, several times over. Without its client
/// the member would run until its linger time is over.
const COME_BACK: Duration = Duration::from_secs(10);
/// Between two looks for it: there is nothing to wait on.
const COME_BACK_PAUSE: Duration = Duration::from_millis(50);

/// The connection and everything that a new one has to be told again.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) socket: PathBuf,
    pub(crate) netns: NetNsFile,
    pub(crate) name: String,
    /// How long one answer may take.
    pub(crate) timeout: Duration,
    /// Open while the keeper is to run; closing it wakes the keeper.
    pub(crate) keeper: Option<PipeWriter>,
    pub(crate) claims: Claims,
    /// Sockets, by token.
    pub(crate) leases: BTreeMap<[u8; 16], Leased>,
    connection: Option<Arc<Connection>>,
    last_id: u64,
    /// The objects that this connection has.
    staged: BTreeSet<Digest>,
}

/// What the keeper does next.
pub(crate) enum Next {
    /// Everything is held: wait until this connection breaks.
    Watch(Arc<Connection>),
    /// Something is wanted that can't be had now.
    Retry,
    /// There is nothing to keep.
    Stop,
}

impl Session {
    pub(crate) fn new(socket: PathBuf, netns: NetNsFile, name: String, timeout: Duration) -> Self {
        Self {
            socket,
            netns,
            name,
            timeout,
            keeper: None,
            claims: Claims::new(),
            leases: BTreeMap::new(),
            connection: None,
            last_id: 0,
            staged: BTreeSet::new(),
        }
    }

    /// Asks, over a new connection if the old one is gone. What the daemon can't have seen is
    /// asked again; what it may have done is not, unless doing it twice does no harm.
    pub(crate) fn request(
        &mut self,
        body: &RequestBody,
        objects: &[Object],
    ) -> Result<Answer, Error> {
        self.request_with(body, objects, &[])
    }

    /// The same, with descriptors that the request brings.
    pub(crate) fn request_with(
        &mut self,
        body: &RequestBody,
        objects: &[Object],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Answer, Error> {
        let mut retried = false;
        let mut sent = false;
        loop {
            let connection = match self.connected() {
                Ok(connection) => connection,
                Err(_) if sent => {
                    let request = name_of(body);
                    return Err(Error::Disconnected { request });
                }
                Err(error) => return Err(error),
            };
            let failure = match self.stage_and_ask(&connection, body, objects, fds) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Unsent(source) => {
                    self.hang_up();
                    if retried {
                        return Err(self.not_reachable(source));
                    }
                }
                Failure::Unanswered => {
                    self.hang_up();
                    if retried || !is_harmless(body) {
                        let request = name_of(body);
                        return Err(Error::Disconnected { request });
                    }
                    if let RequestBody::Change(change) = body
                        && !change.dry_run
                    {
                        sent = true;
                        if attaches(change) {
                            self.await_daemon();
                        }
                    }
                }
                Failure::Failed(error) => {
                    if matches!(error, Error::Unexpected { .. }) {
                        self.hang_up();
                    }
                    return Err(error);
                }
            }
            retried = true;
        }
    }

    /// Waits for a daemon that is started anew, so that it can be asked what became of a change.
    fn await_daemon(&mut self) {
        let deadline = Instant::now() + self.timeout.min(COME_BACK);
        while matches!(self.connected(), Err(Error::NotReachable { .. }))
            && Instant::now() < deadline
        {
            thread::sleep(COME_BACK_PAUSE);
        }
    }

    /// Changes a chain, and the claims with it.
    pub(crate) fn change(
        &mut self,
        change: protocol::Change,
        objects: &[Object],
    ) -> Result<protocol::Changed, Error> {
        let body = RequestBody::Change(change);
        let changed = match self.request(&body, objects)? {
            (ReplyBody::Changed(changed), _) => changed,
            (answer, _) => return Err(self.unexpected(&body, &answer)),
        };
        if let RequestBody::Change(change) = body
            && !change.dry_run
        {
            self.note(change, &changed);
        }
        Ok(changed)
    }

    /// Whether this member is still ours, as far as can be known without asking for it.
    pub(crate) fn check_held(&mut self, interface: &str, name: &str, id: u64) -> Result<(), Error> {
        self.connected()?;
        let key = (interface.to_owned(), name.to_owned());
        match self.claims.get(&key) {
            Some(claim) if claim.id == id => match &claim.held {
                Held::Lost(reason) => Err(Error::Lost {
                    interface: key.0,
                    name: key.1,
                    reason: Box::new(reason.clone()),
                }),
                Held::Yes | Held::Wanted { .. } => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The keeper's turn: everything that can be done now so that nothing is wanted.
    pub(crate) fn tend(&mut self) -> Next {
        if self.connection.as_deref().is_some_and(is_broken) {
            self.hang_up();
        }
        let all_lost =
            self.claims.values().all(Claim::is_lost) && self.leases.values().all(Leased::is_lost);
        if all_lost && self.connection.is_none() {
            self.keeper = None;
            return Next::Stop;
        }
        let Ok(connection) = self.connected() else {
            return Next::Retry;
        };
        if self.reclaim(&connection).is_err() || self.wants_claims() {
            return Next::Retry;
        }
        Next::Watch(connection)
    }

    /// The connection, made now if there is none.
    pub(crate) fn connected(&mut self) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = &self.connection {
            return Ok(Arc::clone(connection));
        }
        let connection = Connection::connect(&self.socket)
            .map(Arc::new)
            .map_err(|source| self.not_reachable(source))?;
        self.greet(&connection)?;
        self.connection = Some(Arc::clone(&connection));
        if let Err(source) = self.reclaim(&connection) {
            self.hang_up();
            return Err(self.not_reachable(source));
        }
        Ok(connection)
    }

    /// Agrees on a version.
    fn greet(&mut self, connection: &Connection) -> Result<(), Error> {
        let hello = RequestBody::Hello(Hello {
            lowest: protocol::VERSION_LOWEST,
            highest: protocol::VERSION_HIGHEST,
            client: self.name.clone(),
            options: protocol::Options::new(),
        });
        // One that can't be opened is an error now, not with the first request.
        drop(self.netns.open()?);
        let answer = match self.ask(connection, &hello, &[]) {
            Ok((answer, _)) => answer,
            Err(failure) => return Err(self.not_greeted(failure)),
        };
        let ReplyBody::Welcome(welcome) = &answer else {
            return Err(self.unexpected(&hello, &answer));
        };
        let spoken = protocol::VERSION_LOWEST..=protocol::VERSION_HIGHEST;
        if spoken.contains(&welcome.version) {
            return Ok(());
        }
        Err(Error::VersionMismatch {
            ours: protocol::VERSION_HIGHEST,
            theirs: format!("version {}", welcome.version),
        })
    }

    fn not_greeted(&self, failure: Failure) -> Error {
        match failure {
            Failure::Failed(Error::Refused(refusal)) if refusal.code == RefusalCode::Version => {
                Error::VersionMismatch {
                    ours: protocol::VERSION_HIGHEST,
                    theirs: refusal.message,
                }
            }
            // Said before the daemon knew whether this library understands remedies.
            Failure::Failed(Error::Refused(mut refusal)) => {
                if refusal.code == RefusalCode::NotAllowed {
                    refusal.remedy.get_or_insert(Remedy::AllowUser);
                }
                Error::Refused(refusal)
            }
            Failure::Failed(error) => error,
            Failure::Unsent(source) => self.not_reachable(source),
            Failure::Unanswered => self.not_reachable(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection was closed without an answer",
            )),
        }
    }

    /// Asks for everything that is wanted. Fails only if the connection does.
    fn reclaim(&mut self, connection: &Connection) -> io::Result<()> {
        self.reclaim_members(connection)?;
        self.reclaim_sockets(connection)
    }

    fn reclaim_sockets(&mut self, connection: &Connection) -> io::Result<()> {
        let wanted: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, leased)| matches!(leased.held, Held::Wanted { .. }))
            .map(|(token, leased)| {
                let body = RequestBody::ReclaimSocket {
                    interface: leased.interface.clone(),
                    queue: leased.queue,
                    token: *token,
                };
                (*token, body, Arc::clone(&leased.socket))
            })
            .collect();
        for (token, body, socket) in wanted {
            let answer = self.ask(connection, &body, &[socket.as_fd()]);
            let Some(leased) = self.leases.get_mut(&token) else {
                continue;
            };
            match answer {
                Ok(_) => leased.held = Held::Yes,
                Err(Failure::Failed(Error::Refused(refusal))) => {
                    leased.refused(refusal, Instant::now());
                }
                Err(Failure::Unsent(source)) => return Err(source),
                Err(Failure::Unanswered | Failure::Failed(_)) => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
        Ok(())
    }

    fn reclaim_members(&mut self, connection: &Connection) -> io::Result<()> {
        let wanted: Vec<_> = self
            .claims
            .iter()
            .filter(|(_, claim)| matches!(claim.held, Held::Wanted { .. }))
            .map(|(key, claim)| (key.clone(), claim.id, claim.token))
            .collect();
        for (key, member, token) in wanted {
            let body = RequestBody::Reclaim { member, token };
            let answer = self.ask(connection, &body, &[]);
            let Some(claim) = self.claims.get_mut(&key) else {
                continue;
            };
            match answer {
                Ok(_) => claim.held = Held::Yes,
                Err(Failure::Failed(Error::Refused(refusal))) => {
                    claim.refused(refusal, Instant::now());
                }
                Err(Failure::Unsent(source)) => return Err(source),
                Err(Failure::Unanswered | Failure::Failed(_)) => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
        Ok(())
    }

    /// Whether there is anything that has to be claimed again after a lost connection.
    pub(crate) fn has_claims(&self) -> bool {
        !self.claims.is_empty() || !self.leases.is_empty()
    }

    fn wants_claims(&self) -> bool {
        let members = self.claims.values().map(|claim| &claim.held);
        let sockets = self.leases.values().map(|leased| &leased.held);
        members
            .chain(sockets)
            .any(|held| matches!(held, Held::Wanted { .. }))
    }

    /// Gives up the connection, and with it what it had.
    fn hang_up(&mut self) {
        self.connection = None;
        self.staged.clear();
        for claim in self.claims.values_mut() {
            claim.disconnected();
        }
        for leased in self.leases.values_mut() {
            leased.disconnected();
        }
    }

    fn stage_and_ask(
        &mut self,
        connection: &Connection,
        body: &RequestBody,
        objects: &[Object],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Answer, Failure> {
        for object in objects {
            match self.stage(connection, object) {
                Ok(()) => {}
                // The request itself has not been sent.
                Err(Failure::Unanswered) => {
                    return Err(Failure::Unsent(io::ErrorKind::ConnectionAborted.into()));
                }
                Err(failure) => return Err(failure),
            }
        }
        self.ask(connection, body, fds)
    }

    /// Gives the daemon an object, once for each connection.
    fn stage(&mut self, connection: &Connection, object: &Object) -> Result<(), Failure> {
        if self.staged.contains(&object.digest) {
            return Ok(());
        }
        let call = "create a memfd for the object";
        let memfd = protocol::memfd::sealed("dispatch-object", &object.bytes)
            .map_err(|source| Error::Io { call, source })?;
        let (answer, _) = self.ask(connection, &RequestBody::PutObject, &[memfd.as_fd()])?;
        if answer
            != (ReplyBody::Object {
                digest: object.digest,
            })
        {
            return Err(self.unexpected(&RequestBody::PutObject, &answer).into());
        }
        self.staged.insert(object.digest);
        Ok(())
    }

    fn ask(
        &mut self,
        connection: &Connection,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Answer, Failure> {
        // What names an interface says in which namespace, each time.
        let namespace = body.interface().map(|_| self.netns.open()).transpose()?;
        let fds: Vec<_> = fds
            .iter()
            .copied()
            .chain(namespace.as_ref().map(AsFd::as_fd))
            .collect();
        self.last_id += 1;
        exchange::ask(connection, self.last_id, body, &fds, self.timeout)
    }

    /// What a change did to the claims.
    fn note(&mut self, change: protocol::Change, changed: &protocol::Changed) {
        let interface = change.interface;
        let mut members = changed.members.iter();
        for operation in change.operations {
            match operation {
                Operation::Register(registration) => {
                    let Some(member) = members.next() else { return };
                    if registration.lifetime == Lifetime::Attached {
                        let linger = Duration::from_millis(registration.linger_ms.into());
                        let claim = Claim {
                            id: member.id,
                            token: registration.token,
                            linger,
                            held: Held::Yes,
                        };
                        self.claims
                            .insert((interface.clone(), member.name.clone()), claim);
                    }
                }
                Operation::Replace { name, .. } => {
                    let Some(member) = members.next() else { return };
                    if let Some(claim) = self.claims.get_mut(&(interface.clone(), name)) {
                        claim.id = member.id;
                    }
                }
                Operation::Unregister { name } => {
                    self.claims.remove(&(interface.clone(), name));
                }
                Operation::UnregisterAll => self.claims.retain(|key, _| key.0 != interface),
                Operation::Set { name, settings } => {
                    if settings.lifetime == Some(Lifetime::Kept) {
                        self.claims.remove(&(interface.clone(), name));
                    }
                }
                Operation::Move { .. } | Operation::Order { .. } | Operation::Configure(_) => {}
            }
        }
    }

    fn not_reachable(&self, source: io::Error) -> Error {
        Error::NotReachable {
            socket: self.socket.clone(),
            source,
        }
    }

    /// An answer to another question: the two sides don't understand each other any more.
    pub(crate) fn unexpected(&mut self, body: &RequestBody, answer: &ReplyBody) -> Error {
        self.hang_up();
        Error::Unexpected {
            request: name_of(body),
            answer: format!("{answer:?}").chars().take(80).collect(),
        }
    }
}

fn is_broken(connection: &Connection) -> bool {
    let mut polled = [PollFd::new(connection, PollFlags::RDHUP)];
    let polled_now = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    polled_now.is_ok_and(|ready| ready > 0)
}
