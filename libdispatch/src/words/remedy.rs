//! Remedies for refusals.

use std::fmt;

use dispatcher_abi::Mode;

use super::twin;

twin! {
    /// A step that would mend a refusal. `Display` says it in words of the command line; a program with
    /// an interface of its own has words of its own.
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
            Self::AllowUser => f.write_str("`dispatchd --allow-uid UID` lets a user in"),
            Self::AllowLoad { uid } => write!(
                f,
                "`dispatchd --allow-uid {uid}:load` lets it load its own objects"
            ),
            Self::AllowBare { uid } => write!(f, "`dispatchd --allow-bare {uid}` allows it"),
            Self::BareSocket => f.write_str(
                "root, and a user that `dispatchd --allow-bare` names, can have a bare socket",
            ),
            Self::MoreSockets => f.write_str("see `dispatchd --max-sockets`"),
            Self::MoreMemory => f.write_str("see `dispatchd --max-umem`"),
            Self::ChangeMode { interface, mode } => write!(
                f,
                "`dispatchctl config {interface} --mode {mode}` changes that"
            ),
            Self::SeeStatus => f.write_str("`dispatchctl status` says why"),
            Self::TryAgain => f.write_str("try again"),
            Self::GiveMapSize { map } => write!(f, "give a size with `--map-size {map}=N`"),
            Self::Flush { interface } => write!(
                f,
                "to take it off the interface, stop dispatchd and run `dispatchd --flush {interface}` \
                 in the interface's network namespace"
            ),
            Self::CloseConnections => f.write_str(
                "end some of the programs that are connected to dispatchd, and try again",
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
