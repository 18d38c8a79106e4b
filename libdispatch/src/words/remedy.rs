//! Remedies for refusals.

use std::fmt;

use dispatcher_abi::Mode;

use super::twin;

twin! {
    /// A step that would mend a refusal. `Display` says it in words that name no command; a program that
    /// has commands of its own names those.
    Remedy {
        /// The daemon lets the user in.
        AllowUser,
        /// The daemon lets this user load its own objects.
        AllowLoad {
            /// The user.
            uid: u32,
        },
        /// The daemon lets this user bind sockets itself.
        AllowBare {
            /// The user.
            uid: u32,
        },
        /// [`Client::open_bare_socket`](crate::Client::open_bare_socket), which takes a right.
        BareSocket,
        /// The daemon lets each user have more sockets.
        MoreSockets,
        /// The daemon lets each user pin more memory.
        MoreMemory,
        /// The chain's mode is changed first: [`Configuration::mode`](crate::Configuration::mode).
        ChangeMode {
            /// The chain's interface.
            interface: String,
            /// The mode to be.
            mode: Mode,
        },
        /// [`Client::status`](crate::Client::status) says why.
        SeeStatus,
        /// The same request again.
        TryAgain,
        /// [`Program::map_size`](crate::Program::map_size).
        GiveMapSize {
            /// The map.
            map: String,
        },
        /// The interface's chain is flushed while no daemon runs, which takes it off the interface.
        Flush {
            /// The interface.
            interface: String,
        },
        /// Some of the user's connections are closed first.
        CloseConnections,
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowUser => f.write_str("the daemon's operator can let a user in"),
            Self::AllowLoad { uid } => write!(
                f,
                "the daemon's operator can let user {uid} load its own objects"
            ),
            Self::AllowBare { uid } => write!(
                f,
                "the daemon's operator can let user {uid} bind sockets itself"
            ),
            Self::BareSocket => f.write_str(
                "a bare socket is bound by its client: root, and users who are let, can have one",
            ),
            Self::MoreSockets => {
                f.write_str("the daemon's operator can let each user have more sockets")
            }
            Self::MoreMemory => {
                f.write_str("the daemon's operator can let each user pin more memory")
            }
            Self::ChangeMode { interface, mode } => {
                write!(f, "change the chain of {interface} to {mode} mode first")
            }
            Self::SeeStatus => f.write_str("the daemon's status says why"),
            Self::TryAgain => f.write_str("try again"),
            Self::GiveMapSize { map } => write!(f, "give map {map} a size"),
            Self::Flush { interface } => {
                write!(
                    f,
                    "the daemon's operator can take the chain off {interface}"
                )
            }
            Self::CloseConnections => f.write_str(
                "end some of the programs that are connected to the daemon, and try again",
            ),
            Self::Unknown(number) => {
                write!(
                    f,
                    "the daemon knows a remedy that this client doesn't ({number})"
                )
            }
        }
    }
}
