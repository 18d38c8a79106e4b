//! What went wrong, as the operator reads it, and the exit code.

use std::{io, process::ExitCode};

use libdispatch::{Error, Remedy, escape, with_causes};

use crate::{json, output, remedy};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says.
    Failed {
        /// The interface that it was about.
        interface: Option<String>,
        error: Box<Error>,
    },
    /// Standard output can't be written to.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed {
            interface: None,
            error: Box::new(error),
        }
    }
}

impl Failure {
    /// A failure on this interface, for `map_err`.
    pub(crate) fn on(interface: &str) -> impl FnOnce(Error) -> Self {
        let interface = Some(interface.to_owned());
        move |error| Self::Failed {
            interface,
            error: Box::new(error),
        }
    }

    /// Tells the operator, on standard error; and who asked for JSON on standard output too.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(error) => {
                eprintln!("dispatchctl: standard output: {error}");
                ExitCode::from(1)
            }
            Self::Failed { interface, error } => {
                eprint!("{}", text(interface.as_deref(), &error));
                if json {
                    let said = said(&error);
                    // The exit code says that it failed, read or not.
                    let _ = output::print(&json::error(interface.as_deref(), &said, &error));
                }
                ExitCode::from(code(&error))
            }
        }
    }
}

fn code(error: &Error) -> u8 {
    if matches!(error, Error::NotReachable { .. }) {
        3
    } else {
        1
    }
}

/// What went wrong and its causes, without what would mend it.
fn said(error: &Error) -> String {
    if let Error::Refused(refusal) = error {
        return refusal.message.clone();
    }
    with_causes(error)
}

/// What went wrong, its causes, and what would mend it.
pub(crate) fn message(error: &Error) -> String {
    match mended_by(error) {
        Some(remedy) => format!("{}; {}", said(error), remedy::text(remedy)),
        None => said(error),
    }
}

/// What would mend it, if that isn't in its own words.
pub(crate) fn mended_by(error: &Error) -> Option<&Remedy> {
    if let Error::Refused(refusal) = error {
        refusal.remedy.as_ref()
    } else {
        None
    }
}

/// One line with the cause, and its causes; the verifier's log, whole, after it.
fn text(interface: Option<&str>, error: &Error) -> String {
    let message = message(error);
    // That no connection can be made is nothing of the interface's.
    let is_of_it = !matches!(
        error,
        Error::NotReachable { .. } | Error::VersionMismatch { .. } | Error::Namespace { .. }
    );
    let mut text = match interface.filter(|_| is_of_it) {
        Some(interface) if !names(&message, interface) => {
            format!("dispatchctl: {}: {}\n", escape(interface), escape(&message))
        }
        _ => format!("dispatchctl: {}\n", escape(&message)),
    };
    if let Some(log) = error.refusal().and_then(|refusal| refusal.log.as_deref()) {
        for line in log.lines() {
            text.push_str(&escape(line));
            text.push('\n');
        }
    }
    text
}

/// Whether the message already says which interface it is about.
fn names(message: &str, interface: &str) -> bool {
    message
        .split(|character: char| character.is_whitespace() || ",;:()'\"".contains(character))
        .any(|word| word == interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdispatch::{Refusal, RefusalCode};

    #[test]
    fn the_interface_is_named_once() {
        let busy = refused("interface eth0 runs somebody else's program, id 7", None);
        assert_eq!(
            text(Some("eth0"), &busy),
            "dispatchctl: interface eth0 runs somebody else's program, id 7\n"
        );
        let unknown = refused("no member stats", None);
        assert_eq!(
            text(Some("eth0"), &unknown),
            "dispatchctl: eth0: no member stats\n"
        );
    }

    #[test]
    fn the_cause_follows_what_it_caused() {
        let error = Error::NotReachable {
            socket: "/run/x".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        assert_eq!(
            text(None, &error),
            "dispatchctl: the daemon can't be reached at /run/x: entity not found\n"
        );
        assert_eq!(code(&error), 3);
    }

    #[test]
    fn the_log_is_whole_and_steers_no_terminal() {
        let log = "0: r0 = 0\n\u{1b}[2J\n".repeat(3);
        let error = refused("eth0: the verifier refused x", Some(log));
        let expected = "0: r0 = 0\n\\u{1b}[2J\n".repeat(3);
        assert_eq!(
            text(Some("eth0"), &error),
            format!("dispatchctl: eth0: the verifier refused x\n{expected}")
        );
        assert_eq!(code(&error), 1);
    }

    fn refused(message: &str, log: Option<String>) -> Error {
        Error::Refused(Refusal {
            code: RefusalCode::Verifier,
            message: message.to_owned(),
            log,
            remedy: None,
        })
    }
}
