//! What is to be known of a request before it is sent, and what can become of it.

use std::{io, os::fd::OwnedFd};

use protocol::{Change, Operation, ReplyBody, RequestBody};

use crate::{Error, Lifetime};

/// An answer and its descriptors.
pub(crate) type Answer = (ReplyBody, Vec<OwnedFd>);

/// Why a request has no answer.
#[derive(Debug)]
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
fn registers(change: &Change) -> bool {
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

/// Whether the request makes or names something that belongs to a connection.
pub(crate) fn belongs_to_connection(body: &RequestBody) -> bool {
    match body {
        // An object is staged on a connection, and an attached member lives as long as one.
        RequestBody::Change(change) => change.operations.iter().any(|operation| {
            matches!(
                operation,
                Operation::Register(_) | Operation::Replace { .. }
            )
        }),
        RequestBody::Hello(_)
        | RequestBody::PutObject
        | RequestBody::Reclaim { .. }
        | RequestBody::OpenSocket(_)
        | RequestBody::ActivateSocket { .. }
        | RequestBody::CloseSocket { .. }
        | RequestBody::ReclaimSocket { .. }
        | RequestBody::Subscribe { .. }
        | RequestBody::Unsubscribe => true,
        RequestBody::List { .. }
        | RequestBody::Show { .. }
        | RequestBody::Status
        | RequestBody::MapDescriptor { .. } => false,
    }
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
