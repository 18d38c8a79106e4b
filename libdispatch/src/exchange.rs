//! One request and its reply, and what it means if the connection breaks in between.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use protocol::{
    Change, Connection, Operation, ReceiveError, Reply, ReplyBody, Request, RequestBody, SendError,
};

use crate::{Error, Lifetime, Refusal, RefusalCode};

/// An answer and its descriptors.
pub(crate) type Answer = (ReplyBody, Vec<OwnedFd>);

/// Why a request has no answer.
pub(crate) enum Failure {
    /// The connection broke before the daemon had the request.
    Unsent(io::Error),
    /// The connection broke after that.
    Unanswered,
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sends one request and waits for its reply.
pub(crate) fn ask(
    connection: &Connection,
    id: u64,
    body: &RequestBody,
    fds: &[BorrowedFd<'_>],
    timeout: Duration,
) -> Result<Answer, Failure> {
    let set = connection
        .set_send_timeout(Some(timeout))
        .and_then(|()| connection.set_receive_timeout(Some(timeout)));
    set.map_err(|source| Error::Io {
        call: "set the socket's timeouts",
        source,
    })?;
    let request = Request {
        id,
        body: body.clone(),
    };
    let request_name = name_of(body);
    match connection.send(&request, fds) {
        Ok(()) => receive(connection, id, request_name, timeout),
        Err(SendError::Io(source)) => Err(not_sent(connection, request_name, timeout, source)),
        // More than a message may hold: what the daemon would say if it could be sent.
        Err(error @ (SendError::Codec(_) | SendError::TooManyDescriptors { .. })) => {
            let refusal = Refusal::new(RefusalCode::TooLarge, error.to_string());
            Err(Failure::Failed(Error::Refused(refusal)))
        }
    }
}

fn not_sent(
    connection: &Connection,
    request: &'static str,
    timeout: Duration,
    source: io::Error,
) -> Failure {
    if is_hang_up(source.kind()) {
        return match last_words(connection) {
            Some(refusal) => Failure::Failed(Error::Refused(refusal)),
            None => Failure::Unsent(source),
        };
    }
    if source.kind() == io::ErrorKind::WouldBlock {
        return Failure::Failed(Error::TimedOut { request, timeout });
    }
    let call = "send to the daemon";
    Failure::Failed(Error::Io { call, source })
}

fn is_hang_up(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(kind, BrokenPipe | ConnectionReset | NotConnected)
}

/// Why the daemon hung up, if it said so before. Doesn't wait: its end is closed.
fn last_words(connection: &Connection) -> Option<Refusal> {
    // Pushes may stand before it.
    while let Some((reply, _)) = connection.receive::<Reply>().ok().flatten() {
        if let (0, Err(refused)) = (reply.id, reply.body) {
            return Some(refused.into());
        }
    }
    None
}

fn receive(
    connection: &Connection,
    id: u64,
    request: &'static str,
    timeout: Duration,
) -> Result<Answer, Failure> {
    loop {
        let (reply, fds) = match connection.receive::<Reply>() {
            Ok(Some(received)) => received,
            Err(ReceiveError::Io(source)) if source.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::TimedOut { request, timeout }.into());
            }
            Ok(None) | Err(ReceiveError::Io(_)) => return Err(Failure::Unanswered),
            Err(error) => {
                let answer = error.to_string();
                return Err(Error::Unexpected { request, answer }.into());
            }
        };
        // A refusal with id 0 is for the whole connection. Everything else that isn't ours answers
        // a request that nobody waits for any longer, or is a push.
        let for_all = reply.id == 0 && reply.body.is_err();
        if reply.id == id || for_all {
            return match reply.body {
                Ok(answer) => understood(answer, request).map(|answer| (answer, fds)),
                Err(refused) => Err(Error::Refused(refused.into()).into()),
            };
        }
    }
}

/// Turns down an answer with an option that has to be understood and isn't.
fn understood(answer: ReplyBody, request: &'static str) -> Result<ReplyBody, Failure> {
    match answer.not_understood() {
        None => Ok(answer),
        Some((of, number)) => {
            let answer = format!("{of} has option {number}, which this library doesn't know");
            Err(Error::Unexpected { request, answer }.into())
        }
    }
}

/// Whether asking twice does what asking once does. A change that registers something is known
/// again by its token, and a socket is gone with the connection that it was opened on.
pub(crate) fn is_harmless(body: &RequestBody) -> bool {
    match body {
        RequestBody::Change(change) => change.dry_run || registers(change),
        RequestBody::OpenSocket(_) => false,
        RequestBody::Hello(_)
        | RequestBody::PutObject
        | RequestBody::List { .. }
        | RequestBody::Show { .. }
        | RequestBody::Status
        | RequestBody::MapDescriptor { .. }
        | RequestBody::Reclaim { .. }
        | RequestBody::ActivateSocket { .. }
        | RequestBody::CloseSocket { .. }
        | RequestBody::ReclaimSocket { .. }
        | RequestBody::Subscribe { .. }
        | RequestBody::Unsubscribe => true,
    }
}

/// Whether a change has a token by which the daemon knows it again.
pub(crate) fn registers(change: &Change) -> bool {
    let mut operations = change.operations.iter();
    operations.any(|operation| matches!(operation, Operation::Register(_)))
}

/// Whether a change registers a member that lives as long as its client.
pub(crate) fn attaches(change: &Change) -> bool {
    let mut operations = change.operations.iter();
    operations.any(|operation| match operation {
        Operation::Register(registration) => registration.lifetime == Lifetime::Attached,
        Operation::Unregister { .. }
        | Operation::UnregisterAll
        | Operation::Move { .. }
        | Operation::Order { .. }
        | Operation::Set { .. }
        | Operation::Replace { .. }
        | Operation::Configure(_) => false,
    })
}

/// The request in an error's text.
pub(crate) fn name_of(body: &RequestBody) -> &'static str {
    match body {
        RequestBody::Hello(_) => "the greeting",
        RequestBody::PutObject => "the transfer of an object",
        RequestBody::Change(_) => "a change",
        RequestBody::List { .. } => "a request for the list",
        RequestBody::Show { .. } => "a request for a member",
        RequestBody::Status => "a request for the status",
        RequestBody::MapDescriptor { .. } => "a request for a map",
        RequestBody::Reclaim { .. } | RequestBody::ReclaimSocket { .. } => "a claim",
        RequestBody::OpenSocket(_) => "a request for a socket",
        RequestBody::ActivateSocket { .. } => "the activation of a socket",
        RequestBody::CloseSocket { .. } => "the return of a queue",
        RequestBody::Subscribe { .. } => "a subscription",
        RequestBody::Unsubscribe => "the end of a subscription",
    }
}
