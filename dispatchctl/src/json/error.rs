//! What went wrong.

use libdispatch::Error;
use serde::Serialize;

use super::document;
use crate::{failure, remedy};

/// A failure, with the interface that the command was about. The message is the one on standard
/// error without the remedy, which has a field of its own.
pub(crate) fn error(interface: Option<&str>, message: &str, error: &Error) -> String {
    document(&ErrorView {
        error: ErrorFields {
            code: error.code(),
            message,
            interface,
            remedy: failure::mended_by(error).map(remedy::text),
        },
    })
}

#[derive(Serialize)]
struct ErrorView<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: &'static str,
    message: &'a str,
    interface: Option<&'a str>,
    remedy: Option<String>,
}
