//! What is to be known of a request before it is sent, and what can become of it.

use std::{io, os::fd::OwnedFd};

use protocol::{Operation, ReplyBody, RequestBody};

use crate::Error;

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

/// Whether asking twice does what asking once does.
pub(crate) fn is_harmless(body: &RequestBody) -> bool {
    match body {
        RequestBody::Change(change) => change.dry_run,
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
        | RequestBody::ReclaimSocket { .. } => true,
    }
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
        | RequestBody::ReclaimSocket { .. } => true,
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
    }
}
