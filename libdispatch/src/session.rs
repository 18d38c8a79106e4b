//! One client's conversation with the daemon, and its renewal after the connection was lost.
//!
//! **No lock is held over a call that waits.** The mutex guards memory: the connections that there
//! are, and the claims that are held on them. A thread takes a connection (a [`Line`]), lets go of the
//! lock, and asks and waits as long as its own [`Patience`] lasts.
//!
//! **A client has one connection at home and a few aside.** Attached members, staged objects and
//! sockets belong to a connection: to the one at home. They are asked for there, in the order
//! in which the threads ask: the daemon answers one request of a connection at a time, and a program
//! that takes the verifier a minute holds up what is asked behind it. Everything else (lists, counts,
//! the end of a member) goes home too while nothing else is asked there, and otherwise over a
//! connection of its own, which ends with the answer. At most [`SIDES_MAX`] of those are open at a
//! time, since the daemon counts a user's connections: the next one waits until one of them ends. If
//! the daemon takes no more connections, or no time is left for another, all goes home: what is sent
//! there will be done, even if nobody waits for it any longer.
//!
//! **One thread connects, the others wait for it** (as long as they have time), so that claims are
//! made once, before anything else is asked of a new daemon.

use std::{
    io::{self, PipeWriter, Write as _},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use protocol::{ReplyBody, RequestBody};

use crate::{
    Error,
    claim::{ClaimNumber, Claims, LineNumber},
    line::Line,
    netns::NetNsFile,
    patience::Patience,
    program::Object,
    request::{Answer, Failure, attaches, belongs_to_connection, is_harmless, name_of},
};

mod connecting;

/// Connections beside the one at home: few, since the daemon allows a user 64.
const SIDES_MAX: usize = 3;
/// How long the registration of an attached member whose answer was lost waits for a daemon to be
/// there again: what a service manager takes to start one, several times over. Without its client
/// the member would run until its linger time is over.
const COME_BACK: Duration = Duration::from_secs(10);
/// Between two looks for it: there is nothing to wait on.
const COME_BACK_PAUSE: Duration = Duration::from_millis(50);

/// What the threads of one client share.
#[derive(Debug)]
pub(crate) struct Session {
    socket: PathBuf,
    netns: NetNsFile,
    name: String,
    /// How long one answer may take.
    timeout: Duration,
    state: Mutex<State>,
    /// Told when [`State::home`] changes, and when there is room aside.
    moved: Condvar,
}

/// What changes: memory.
#[derive(Debug, Default)]
struct State {
    claims: Claims,
    /// Open while the keeper is to run. A byte wakes the keeper, and so does closing it.
    keeper: Option<PipeWriter>,
    home: Home,
    sides: Vec<Arc<Line>>,
    /// Connections aside that are being made.
    sides_coming: usize,
    lines: u64,
    /// The last clone of the client is gone.
    closed: bool,
}

/// The connection that claims are held on.
#[derive(Debug, Default)]
enum Home {
    #[default]
    None,
    /// A thread is making it; once connected, it agrees on a version and claims.
    Coming(Option<Arc<Line>>),
    Up(Arc<Line>),
}

impl Session {
    pub(crate) fn new(socket: PathBuf, netns: NetNsFile, name: String, timeout: Duration) -> Self {
        Self {
            socket,
            netns,
            name,
            timeout,
            state: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// Looks at what is claimed, or changes it.
    pub(crate) fn with_claims<T>(&self, act: impl FnOnce(&mut Claims) -> T) -> T {
        act(&mut self.state().claims)
    }

    /// Starts the keeper, unless it runs or there is nothing to keep. `start` returns what wakes and
    /// ends it. One that runs is woken if something is wanted: it may have made its claims before
    /// this one was known.
    pub(crate) fn employ(&self, start: impl FnOnce() -> Option<PipeWriter>) {
        let mut state = self.state();
        match &state.keeper {
            Some(keeper) if state.claims.any_wanted() => {
                // A full pipe wakes it as well.
                let _ = (&mut &*keeper).write(&[0]);
            }
            None if !state.claims.is_empty() => state.keeper = start(),
            Some(_) | None => {}
        }
    }

    /// As long as the application said.
    pub(crate) fn patience(&self) -> Patience {
        Patience::for_each_answer(self.timeout)
    }

    /// Asks, and takes the answer apart; returns what it holds, and the line that it came over. What
    /// can't be taken apart answers another question: the two sides don't understand each other any
    /// more.
    pub(crate) fn ask<T>(
        &self,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
        take: impl FnOnce(Answer) -> Result<T, Box<ReplyBody>>,
    ) -> Result<(T, LineNumber), Error> {
        let (answer, line) = self.request(body, &[], fds, patience)?;
        match take(answer) {
            Ok(taken) => Ok((taken, line.number)),
            Err(answer) => {
                self.lose(&line);
                Err(unexpected(body, &answer))
            }
        }
    }

    /// Asks, over a new connection if the old one is gone. What the daemon can't have seen is
    /// asked again; what it may have done is not, unless doing it twice does no harm.
    fn request(
        &self,
        body: &RequestBody,
        objects: &[Object],
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Result<(Answer, Arc<Line>), Error> {
        let unknown = || Error::Disconnected {
            request: name_of(body),
        };
        let mut retried = false;
        // A daemon may have changed something.
        let mut sent = false;
        loop {
            if retried {
                self.lose_if_broken();
            }
            let home = match self.home(patience) {
                Ok(home) => home,
                Err(_) if sent => return Err(unknown()),
                Err(error) => return Err(error),
            };
            let (line, result) = self.ask_somewhere(home, body, objects, fds, patience);
            let failure = match result {
                Ok(answer) => return Ok((answer, line)),
                Err(failure) => failure,
            };
            match failure {
                Failure::Unsent(source) => {
                    self.lose(&line);
                    if sent {
                        return Err(unknown());
                    }
                    if retried {
                        return Err(self.not_reachable(source));
                    }
                }
                Failure::Unanswered => {
                    self.lose(&line);
                    if retried || !is_harmless(body) {
                        return Err(unknown());
                    }
                    if let RequestBody::Change(change) = body
                        && !change.dry_run
                    {
                        sent = true;
                        if attaches(change) {
                            self.await_daemon(patience);
                        }
                    }
                }
                Failure::Failed(error) => {
                    if matches!(error, Error::Unexpected { .. }) {
                        self.lose(&line);
                    }
                    return Err(error);
                }
            }
            retried = true;
        }
    }

    /// Waits for a daemon that is started anew, so that it can be asked what became of a change.
    fn await_daemon(&self, patience: &Patience) {
        let limit = patience.limit().min(Instant::now() + COME_BACK);
        while matches!(self.home(patience), Err(Error::NotReachable { .. }))
            && Instant::now() < limit
        {
            thread::sleep(COME_BACK_PAUSE);
        }
    }

    /// Changes a chain, and the claims with it. Returns those that it made.
    pub(crate) fn change(
        &self,
        change: protocol::Change,
        objects: &[Object],
    ) -> Result<(protocol::Changed, Vec<ClaimNumber>), Error> {
        let sent = self.with_claims(|claims| claims.mark());
        let body = RequestBody::Change(change);
        let (answer, line) = self.request(&body, objects, &[], &self.patience())?;
        match (answer.0, body) {
            (ReplyBody::Changed(changed), RequestBody::Change(change)) if change.dry_run => {
                Ok((changed, Vec::new()))
            }
            (ReplyBody::Changed(changed), RequestBody::Change(change)) => {
                let note = |claims: &mut Claims| claims.note(line.number, change, &changed, sent);
                let claimed = self.with_claims(note);
                Ok((changed, claimed))
            }
            (answer, body) => {
                self.lose(&line);
                Err(unexpected(&body, &answer))
            }
        }
    }

    /// Whether a claim is still ours, as far as can be known without asking for it. `what` is the
    /// member or the socket in the error's text.
    pub(crate) fn check_held(
        &self,
        claim: ClaimNumber,
        interface: &str,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        self.lose_if_broken();
        self.home(&self.patience())?;
        match self.with_claims(|claims| claims.lost_reason(claim).cloned()) {
            None => Ok(()),
            Some(reason) => Err(Error::Lost {
                interface: interface.to_owned(),
                name: what(),
                reason: Box::new(reason),
            }),
        }
    }

    /// Whether the keeper has nothing to keep. If so, the next [`employ`](Self::employ) starts another.
    pub(crate) fn rests(&self) -> bool {
        let mut state = self.state();
        let rests = state.closed || (state.claims.all_lost() && matches!(state.home, Home::None));
        if rests {
            state.keeper = None;
        }
        rests
    }

    /// Gives up everything, whatever other threads are waiting for.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.keeper = None;
        let home = match &state.home {
            Home::Up(line) | Home::Coming(Some(line)) => Some(line),
            Home::Coming(None) | Home::None => None,
        };
        home.into_iter()
            .chain(&state.sides)
            .for_each(|line| line.hang_up());
    }

    /// Gives up a connection, and with it what it had.
    pub(crate) fn lose(&self, line: &Arc<Line>) {
        line.hang_up();
        let mut state = self.state();
        state.sides.retain(|side| !Arc::ptr_eq(side, line));
        if let Home::Up(home) = &state.home
            && Arc::ptr_eq(home, line)
        {
            state.home = Home::None;
        }
        state.claims.lost(line.number);
        drop(state);
        self.moved.notify_all();
    }

    /// Gives up the connection at home if the daemon has closed it.
    pub(crate) fn lose_if_broken(&self) {
        let home = match &self.state().home {
            Home::Up(line) => Arc::clone(line),
            Home::Coming(_) | Home::None => return,
        };
        if home.is_broken() {
            self.lose(&home);
        }
    }

    /// Asks at home what belongs there, and everything else where nothing else is asked.
    fn ask_somewhere(
        &self,
        home: Arc<Line>,
        body: &RequestBody,
        objects: &[Object],
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> (Arc<Line>, Result<Answer, Failure>) {
        if belongs_to_connection(body) {
            let result = self.stage_and_ask(&home, body, objects, fds, patience);
            return (home, result);
        }
        if let Some(result) = self.ask_if_idle(&home, body, patience) {
            return (home, result);
        }
        // All of it in the time of one answer.
        let patience = patience.for_one_answer();
        let Some(side) = self.side(&patience) else {
            let result = self.ask_over(&home, body, fds, &patience);
            return (home, result);
        };
        let result = self.ask_over(&side, body, fds, &patience);
        self.leave(&side);
        (side, result)
    }

    /// A connection aside, as soon as there is room for one; `None` if that isn't so in time, or the
    /// daemon takes no more.
    fn side(&self, patience: &Patience) -> Option<Arc<Line>> {
        let limit = patience.limit();
        let mut state = self.state();
        while state.sides.len() + state.sides_coming >= SIDES_MAX {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.moved.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sides_coming += 1;
        drop(state);
        let opened = self.open(patience, |_| ());
        let mut state = self.state();
        state.sides_coming -= 1;
        let side = opened.ok().filter(|_| !state.closed);
        state.sides.extend(side.clone());
        drop(state);
        self.moved.notify_all();
        side
    }

    /// Closes a connection aside whose answer has come.
    fn leave(&self, side: &Arc<Line>) {
        let mut state = self.state();
        state.sides.retain(|other| !Arc::ptr_eq(other, side));
        drop(state);
        self.moved.notify_all();
    }

    fn stage_and_ask(
        &self,
        line: &Line,
        body: &RequestBody,
        objects: &[Object],
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Result<Answer, Failure> {
        for object in objects {
            match self.stage(line, object, patience) {
                Ok(()) => {}
                // The request itself has not been sent.
                Err(Failure::Unanswered) => {
                    return Err(Failure::Unsent(io::ErrorKind::ConnectionAborted.into()));
                }
                Err(failure) => return Err(failure),
            }
        }
        self.ask_over(line, body, fds, patience)
    }

    /// Gives the daemon an object, once for each connection.
    fn stage(&self, line: &Line, object: &Object, patience: &Patience) -> Result<(), Failure> {
        let digest = object.digest;
        if line.has_staged(&digest) {
            return Ok(());
        }
        let call = "create a memfd for the object";
        let memfd = protocol::memfd::sealed("dispatch-object", &object.bytes)
            .map_err(|source| Error::Io { call, source })?;
        let body = RequestBody::PutObject;
        let (answer, _) = self.ask_over(line, &body, &[memfd.as_fd()], patience)?;
        if answer != (ReplyBody::Object { digest }) {
            return Err(unexpected(&body, &answer).into());
        }
        line.set_staged(digest);
        Ok(())
    }

    fn ask_over(
        &self,
        line: &Line,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        patience: &Patience,
    ) -> Result<Answer, Failure> {
        self.with_namespace(body, fds, |fds| line.ask(body, fds, patience))?
    }

    fn ask_if_idle(
        &self,
        line: &Line,
        body: &RequestBody,
        patience: &Patience,
    ) -> Option<Result<Answer, Failure>> {
        self.with_namespace(body, &[], |fds| line.ask_if_idle(body, fds, patience))
            .unwrap_or_else(|error| Some(Err(error.into())))
    }

    /// What names an interface says in which namespace, each time.
    fn with_namespace<T>(
        &self,
        body: &RequestBody,
        fds: &[BorrowedFd<'_>],
        send: impl FnOnce(&[BorrowedFd<'_>]) -> T,
    ) -> Result<T, Error> {
        let namespace = body.interface().map(|_| self.netns.open()).transpose()?;
        let namespace = namespace.as_ref().map(AsFd::as_fd);
        let fds: Vec<_> = fds.iter().copied().chain(namespace).collect();
        Ok(send(&fds))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_reachable(&self, source: io::Error) -> Error {
        Error::NotReachable {
            socket: self.socket.clone(),
            source,
        }
    }
}

impl State {
    fn next_line(&mut self) -> LineNumber {
        self.lines += 1;
        LineNumber(self.lines)
    }
}

fn unexpected(body: &RequestBody, answer: &ReplyBody) -> Error {
    Error::Unexpected {
        request: name_of(body),
        answer: format!("{answer:?}").chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests;
