//! Why an application ends, as its user reads it, and the exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use libdispatch::{RefusalCode, escape, with_causes};

/// Why an application ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon said no, or isn't there.
    #[error("{interface}")]
    Dispatch {
        /// The interface that it was about.
        interface: String,
        /// What the library says.
        source: Box<libdispatch::Error>,
    },

    /// Somebody else unregistered the application's program.
    #[error("{name} is no longer registered on {interface}")]
    Unregistered {
        /// The interface.
        interface: String,
        /// The member.
        name: String,
    },

    /// A map of the application's program can't be read or written.
    #[error("map {map}")]
    Map {
        /// The map's name in the object.
        map: &'static str,
        /// The system's error, or aya's.
        source: Box<dyn Error + Send + Sync>,
    },

    /// What the user gave can't be used: one line for each fault.
    #[error("{}", faults.join("\n"))]
    Input {
        /// The faults. Each says where it is.
        faults: Vec<String>,
    },

    /// The application's own socket can't be used.
    #[error("{}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// An interface, or a socket on it, can't be used.
    #[error("{what}")]
    Interface {
        /// The interface or socket, and what was tried.
        what: String,
        /// The error that stopped it.
        source: Box<dyn Error + Send + Sync>,
    },

    /// Standard output can't be written to.
    #[error("standard output")]
    Output(#[from] io::Error),

    /// Signals can't be waited for.
    #[error("signals")]
    Signals(#[source] io::Error),
}

impl Failure {
    /// A failure on this interface, for `map_err`.
    pub fn on(interface: &str) -> impl FnOnce(libdispatch::Error) -> Self {
        let interface = interface.to_owned();
        move |error| Self::Dispatch {
            interface,
            source: Box::new(error),
        }
    }

    /// A failure of this map, for `map_err`.
    pub fn map<E>(map: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |error| Self::Map {
            map,
            source: error.into(),
        }
    }

    /// A failure of an interface or of a socket on it, for `map_err`.
    pub fn interface<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let what = what.into();
        move |error| Self::Interface {
            what,
            source: error.into(),
        }
    }

    /// How many things are wrong.
    pub fn faults(&self) -> usize {
        if let Self::Input { faults } = self {
            faults.len()
        } else {
            1
        }
    }

    /// One line for each thing that is wrong, without the verifier's log.
    pub fn lines(&self) -> Vec<String> {
        if let Self::Input { faults } = self {
            faults.clone()
        } else {
            vec![self.message()]
        }
    }

    /// Tells the user, on standard error.
    pub fn report(&self, application: &str) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        eprint!("{}", self.text(application));
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        if let Self::Dispatch { source, .. } = self
            && let libdispatch::Error::NotReachable { .. } = **source
        {
            3
        } else {
            1
        }
    }

    /// What failed, with the cause, and its causes. The interface is named once.
    fn message(&self) -> String {
        if let Self::Dispatch { interface, source } = self
            && names(&source.to_string(), interface)
        {
            return with_causes(source);
        }
        with_causes(self)
    }

    /// One line with the cause, and its causes; the verifier's log, whole, after it.
    fn text(&self, application: &str) -> String {
        if let Self::Input { faults } = self {
            return faults
                .iter()
                .fold(String::new(), |text, fault| text + &escape(fault) + "\n");
        }
        let message = self.message();
        let mut text = format!("{application}: {}\n", escape(&message));
        if let Self::Dispatch { source, .. } = self
            && let Some(log) = source.refusal().and_then(|refusal| refusal.log.as_deref())
        {
            for line in log.lines() {
                let _ = writeln!(text, "{}", escape(line));
            }
        }
        text
    }
}

/// Whether the message says which interface it is about.
fn names(message: &str, interface: &str) -> bool {
    message
        .split(|it: char| it.is_whitespace() || ",;:()'\"".contains(it))
        .any(|word| word == interface)
}

/// What a call says when the member that it is about is gone.
pub fn means_unregistered(error: &libdispatch::Error) -> bool {
    matches!(error, libdispatch::Error::Lost { .. })
        || error
            .refusal()
            .is_some_and(|refusal| refusal.code == RefusalCode::NoSuchMember)
}

#[cfg(test)]
mod tests {
    use libdispatch::{Error, Refusal};

    use super::*;

    #[test]
    fn causes_follow_what_they_caused() {
        let failure = Failure::on("eth0")(Error::NotReachable {
            socket: "/run/x".into(),
            source: io::ErrorKind::NotFound.into(),
        });
        assert_eq!(
            failure.text("stats"),
            "stats: eth0: the daemon can't be reached at /run/x: entity not found\n"
        );
        assert_eq!(failure.code(), 3);
    }

    #[test]
    fn the_interface_is_named_once() {
        let refused = |message: &str| {
            Failure::on("eth0")(Error::Refused(Refusal {
                code: RefusalCode::NoSuchInterface,
                message: message.to_owned(),
                log: None,
                remedy: None,
            }))
        };
        assert_eq!(
            refused("no interface eth0 here").text("stats"),
            "stats: no interface eth0 here\n"
        );
        assert_eq!(refused("no").text("stats"), "stats: eth0: no\n");
    }

    #[test]
    fn a_verifier_log_is_whole_and_steers_no_terminal() {
        let failure = Failure::on("eth0")(Error::Refused(Refusal {
            code: RefusalCode::Verifier,
            message: "the verifier refused x".to_owned(),
            log: Some("0: r0 = 0\n\u{1b}[2J\n".to_owned()),
            remedy: None,
        }));
        assert_eq!(
            failure.text("stats"),
            "stats: eth0: the verifier refused x\n0: r0 = 0\n\\u{1b}[2J\n"
        );
        assert_eq!(failure.code(), 1);
    }
}
