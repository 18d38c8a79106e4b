//! One connection that several threads use at once.
//!
//! A request is sent as soon as the socket takes it, also behind others that have no answer yet: the
//! daemon answers the requests of one connection in their order. Of the threads that wait for
//! answers one reads from the socket ([`Turn`]), and puts what it reads into the [`Inbox`]. No lock is
//! held while a thread reads or waits: the socket doesn't block, and every wait is a `poll` or a
//! condition variable with a time limit. So a thread waits as long as its own [`Patience`] says,
//! whatever the others do.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::MutexGuard,
    time::{Duration, Instant},
};

use protocol::{Connection, Digest, ReceiveError, Reply, Request, RequestBody, SendError};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};

use crate::{
    Error, Refusal, RefusalCode,
    claim::LineNumber,
    inbox::{End, Fate, Inbox},
    patience::Patience,
    request::{self, Answer, Failure},
    turn::{Shared, Turn},
};

/// A connection to the daemon. It is closed when nobody has it any more.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: LineNumber,
    connection: Connection,
    memory: Turn<Memory>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Memory {
    inbox: Inbox,
    /// When the last answer came.
    answered: Option<Instant>,
    /// The objects that the daemon has from this connection.
    staged: BTreeSet<Digest>,
}

/// What one look at the socket gave.
enum Read {
    /// Without descriptors if this process had no room for them.
    Reply(Reply, Option<Vec<OwnedFd>>),
    End(End),
    Nothing,
}

impl Line {
    /// Connects to the socket at this path.
    pub(crate) fn connect(number: LineNumber, path: &Path, limit: Instant) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        // Only a socket that blocks waits for a daemon whose backlog is full.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(until(limit)))?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            number,
            connection: Connection::from_fd(socket),
            memory: Turn::new(Memory::default()),
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(
        &self,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Result<Answer, Failure> {
        let limit = patience.limit();
        loop {
            if let Some(id) = self.send(self.memory.lock(), body, fds, patience)? {
                return self.answer(id, body, patience);
            }
            if !self.poll(PollFlags::OUT, limit) {
                return Err(timed_out(body, patience).into());
            }
        }
    }

    /// The same, if the daemon has answered everything else that it was asked on this line: no
    /// earlier request delays the answer then.
    pub(crate) fn ask_if_idle(
        &self,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Option<Result<Answer, Failure>> {
        let memory = self.memory.lock();
        if !memory.inbox.is_idle() {
            return None;
        }
        match self.send(memory, body, fds, patience) {
            Ok(id) => Some(self.answer(id?, body, patience)),
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Whether it is known that no more answers will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.memory.lock().inbox.ended().is_some()
    }

    /// Whether the daemon has hung up, as far as the socket knows.
    pub(crate) fn is_broken(&self) -> bool {
        let mut polled = [PollFd::new(&self.connection, PollFlags::RDHUP)];
        let now = rustix::event::poll(&mut polled, Some(&Timespec::default()));
        now.is_ok_and(|ready| ready > 0)
    }

    /// Closes the connection for everybody: who waits is told that no answer will come.
    pub(crate) fn hang_up(&self) {
        // One that is not connected any more has ended as well.
        let _ = rustix::net::shutdown(&self.connection, Shutdown::Both);
        self.memory.change(|memory| memory.inbox.end(End::HungUp));
    }

    pub(crate) fn has_staged(&self, digest: &Digest) -> bool {
        self.memory.lock().staged.contains(digest)
    }

    pub(crate) fn set_staged(&self, digest: Digest) {
        self.memory.lock().staged.insert(digest);
    }

    /// Sends a request and returns its id; `None` if the socket doesn't take it now.
    fn send(
        &self,
        mut memory: MutexGuard<'_, Shared<Memory>>,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Result<Option<u64>, Failure> {
        if memory.inbox.ended().is_some() {
            return Err(Failure::Unsent(io::ErrorKind::NotConnected.into()));
        }
        let id = memory.inbox.ask();
        let body = body.clone();
        let error = match self.connection.send(&Request { id, body }, fds) {
            Ok(()) => return Ok(Some(id)),
            Err(error) => error,
        };
        memory.inbox.forget(id);
        drop(memory);
        match error {
            SendError::Io(source) if source.kind() == io::ErrorKind::WouldBlock => Ok(None),
            SendError::Io(source) if is_hang_up(source.kind()) => {
                Err(match self.last_words(patience.limit()) {
                    Some(refusal) => Failure::Failed(Error::Refused(refusal)),
                    None => Failure::Unsent(source),
                })
            }
            SendError::Io(source) => {
                let call = "send to the daemon";
                Err(Failure::Failed(Error::Io { call, source }))
            }
            // More than a message may hold: what the daemon would say if it could be sent.
            error @ (SendError::Codec(_) | SendError::TooManyDescriptors { .. }) => {
                Err(Failure::Failed(Error::Refused(Refusal::new(
                    RefusalCode::TooLarge,
                    error.to_string(),
                ))))
            }
        }
    }

    /// Why the daemon hung up, if it said so before.
    fn last_words(&self, limit: Instant) -> Option<Refusal> {
        match self.read_until(limit, |inbox| inbox.ended().cloned()) {
            Some(End::Refused(refusal)) => Some(refusal),
            Some(End::HungUp | End::Garbled(_)) | None => None,
        }
    }

    /// Waits for the answer to a request that was sent. The time for it begins when the daemon has
    /// answered what was asked before.
    fn answer(&self, id: u64, body: &RequestBody, patience: &Patience) -> Result<Answer, Failure> {
        let mut limit = patience.limit();
        let fate = loop {
            if let Some(fate) = self.read_until(limit, |inbox| inbox.take(id)) {
                break fate;
            }
            let mut memory = self.memory.lock();
            let begun = memory
                .answered
                .map(|answered| patience.limit_from(answered));
            match begun {
                Some(later) if later > limit => limit = later,
                Some(_) | None => {
                    memory.inbox.abandon(id);
                    return Err(timed_out(body, patience).into());
                }
            }
        };
        match fate {
            Fate::Answered(Ok(answer)) => understood(answer, body),
            Fate::Answered(Err(refused)) => match refused.not_understood() {
                None => Err(Error::Refused(refused.into()).into()),
                Some(number) => Err(not_understood("Refused", number, body)),
            },
            Fate::Bereft => {
                let call = "receive a descriptor from the daemon";
                let source = Errno::MFILE.into();
                Err(Error::Io { call, source }.into())
            }
            Fate::Ended(End::Refused(refusal)) => Err(Error::Refused(refusal).into()),
            Fate::Ended(End::HungUp) => Err(Failure::Unanswered),
            Fate::Ended(End::Garbled(answer)) => {
                let request = request::name_of(body);
                Err(Error::Unexpected { request, answer }.into())
            }
        }
    }

    /// Waits until the inbox has what is looked for, or the time is over. Reads from the socket
    /// while nobody else does.
    fn read_until<T>(
        &self,
        limit: Instant,
        mut look: impl FnMut(&mut Inbox) -> Option<T>,
    ) -> Option<T> {
        let look = |memory: &mut Memory| look(&mut memory.inbox);
        let keep = |memory: &mut Memory, read| match read {
            Read::Reply(reply, fds) => {
                if reply.id != 0 {
                    memory.answered = Some(Instant::now());
                }
                memory.inbox.deliver(reply, fds);
            }
            Read::End(end) => memory.inbox.end(end),
            Read::Nothing => {}
        };
        self.memory.wait(limit, look, || self.read(limit), keep)
    }

    /// The next message, if one comes in time.
    fn read(&self, limit: Instant) -> Read {
        if !self.poll(PollFlags::IN | PollFlags::RDHUP, limit) {
            return Read::Nothing;
        }
        match self.connection.receive_partly::<Reply>() {
            Ok(Some((reply, fds))) => Read::Reply(reply, fds),
            Err(ReceiveError::Io(source)) if source.kind() == io::ErrorKind::WouldBlock => {
                Read::Nothing
            }
            Ok(None) | Err(ReceiveError::Io(_)) => Read::End(End::HungUp),
            Err(error) => Read::End(End::Garbled(error.to_string())),
        }
    }

    /// Waits until the socket is ready, and says whether it is.
    fn poll(&self, flags: PollFlags, limit: Instant) -> bool {
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut polled = [PollFd::new(&self.connection, flags)];
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                // No memory for it: the next call says what is wrong.
                Err(_) => return true,
            }
        }
    }
}

/// To wait for the daemon's hang-up, and nothing else.
impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// The time that is left, as a socket's timeout: the kernel takes 0 for none.
fn until(limit: Instant) -> Duration {
    let left = limit.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

/// The answer to a request did not come in time.
fn timed_out(body: &RequestBody, patience: &Patience) -> Error {
    Error::TimedOut {
        request: request::name_of(body),
        timeout: patience.answer,
    }
}

/// Turns down an answer with an option that has to be understood and isn't.
fn understood(answer: Answer, body: &RequestBody) -> Result<Answer, Failure> {
    match answer.0.not_understood() {
        None => Ok(answer),
        Some((of, number)) => Err(not_understood(of, number, body)),
    }
}

fn not_understood(of: &str, number: u32, body: &RequestBody) -> Failure {
    let request = request::name_of(body);
    let answer = format!("{of} has option {number}, which this library doesn't know");
    Error::Unexpected { request, answer }.into()
}

fn is_hang_up(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(kind, BrokenPipe | ConnectionReset | NotConnected)
}
