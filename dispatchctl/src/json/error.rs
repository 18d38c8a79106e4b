//! What went wrong.

use libdispatch::Error;
use serde::Serialize;

use super::document;

/// A failure, with the interface that the command was about. The message is the one on standard
/// error without the remedy, which has a field of its own.
pub(crate) fn error(interface: Option<&str>, message: &str, error: &Error) -> String {
    let remedy = error.refusal().and_then(|refusal| refusal.remedy.as_ref());
    document(&ErrorView {
        error: ErrorFields {
            code: error.code(),
            message,
            interface,
            remedy: remedy.map(ToString::to_string),
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
