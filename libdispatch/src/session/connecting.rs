//! How a connection comes to be: connect, agree on a version, claim what was held before.

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, PoisonError},
    time::Instant,
};

use protocol::{Hello, ReplyBody, RequestBody};

use super::{Home, Session, unexpected};
use crate::{
    Error, Refusal, RefusalCode, Remedy, line::Line, patience::Patience, request::Failure,
    with_causes,
};

impl Session {
    /// The connection at home, made now if there is none. If another thread is making it, it is
    /// waited for.
    pub(crate) fn home(&self, patience: &Patience) -> Result<Arc<Line>, Error> {
        let limit = patience.limit();
        let mut state = self.state();
        loop {
            match &state.home {
                Home::Up(line) if line.has_ended() => {
                    let line = Arc::clone(line);
                    drop(state);
                    self.lose(&line);
                    state = self.state();
                }
                Home::Up(line) => return Ok(Arc::clone(line)),
                Home::None if state.closed => {
                    return Err(self.not_reachable(io::ErrorKind::NotConnected.into()));
                }
                Home::None => {
                    state.home = Home::Coming(None);
                    drop(state);
                    return Coming(self).connect(patience);
                }
                Home::Coming(_) => {
                    let left = limit.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(self.not_reachable(io::ErrorKind::TimedOut.into()));
                    }
                    let waited = self.moved.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Claims everything that is wanted, over a line. Fails only if the line does.
    pub(crate) fn reclaim(&self, line: &Line, patience: &Patience) -> Result<(), Failure> {
        let mut last = None;
        loop {
            let Some(wanted) = self.with_claims(|claims| claims.next_wanted(last)) else {
                return Ok(());
            };
            last = Some(wanted.number);
            let fds: Vec<_> = wanted.socket.iter().map(|socket| socket.as_fd()).collect();
            let answer = self.ask_over(line, &wanted.request, &fds, patience);
            let (line, number) = (line.number, wanted.number);
            match answer {
                Ok(_) => self.with_claims(|claims| claims.granted(line, number)),
                Err(Failure::Failed(error)) => {
                    let refusal = refusal(error)?;
                    let now = Instant::now();
                    self.with_claims(|claims| claims.refused(line, number, refusal, now));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A new connection, after its greeting. `connected` sees it before.
    pub(super) fn open(
        &self,
        patience: &Patience,
        connected: impl FnOnce(&Arc<Line>),
    ) -> Result<Arc<Line>, Error> {
        let number = self.state().next_line();
        let line = Line::connect(number, &self.socket, patience.limit())
            .map(Arc::new)
            .map_err(|source| self.not_reachable(source))?;
        connected(&line);
        self.greet(&line, patience)?;
        Ok(line)
    }

    /// Agrees on a version.
    fn greet(&self, line: &Line, patience: &Patience) -> Result<(), Error> {
        let hello = RequestBody::Hello(Hello {
            lowest: protocol::VERSION_LOWEST,
            highest: protocol::VERSION_HIGHEST,
            client: self.name.clone(),
            options: protocol::Options::new(),
        });
        let answer = match line.ask(&hello, &[], patience) {
            Ok((answer, _)) => answer,
            Err(failure) => return Err(self.not_greeted(failure)),
        };
        let ReplyBody::Welcome(welcome) = &answer else {
            return Err(unexpected(&hello, &answer));
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
                } else if refusal.code == RefusalCode::Quota {
                    refusal.remedy.get_or_insert(Remedy::CloseConnections);
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
}

/// What an error says of one claim, if it says nothing of the line.
fn refusal(error: Error) -> Result<Refusal, Failure> {
    if let Error::Refused(refusal) = error {
        return Ok(refusal);
    }
    let Error::Namespace { source, .. } = &error else {
        return Err(error.into());
    };
    // The claim needs a name that is gone, or only has no room for now.
    let code = if source.kind() == io::ErrorKind::NotFound {
        RefusalCode::InterfaceGone
    } else {
        RefusalCode::Descriptor
    };
    Ok(Refusal::new(code, with_causes(&error)))
}

/// This thread makes the connection at home. However that ends, the others are told.
struct Coming<'a>(&'a Session);

impl Coming<'_> {
    fn connect(self, patience: &Patience) -> Result<Arc<Line>, Error> {
        let session = self.0;
        let line = session.open(patience, |line| {
            let mut state = session.state();
            state.home = Home::Coming(Some(Arc::clone(line)));
            // Nobody saw the line before, so nobody has closed it.
            if state.closed {
                line.hang_up();
            }
        })?;
        session.with_claims(|claims| claims.connected(line.number));
        if let Err(failure) = session.reclaim(&line, patience) {
            session.lose(&line);
            return Err(session.not_reachable(match failure {
                Failure::Unsent(source) => source,
                Failure::Unanswered | Failure::Failed(_) => io::ErrorKind::ConnectionAborted.into(),
            }));
        }
        session.state().home = Home::Up(Arc::clone(&line));
        Ok(line)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(state.home, Home::Coming(_)) {
            state.home = Home::None;
        }
        drop(state);
        self.0.moved.notify_all();
    }
}
