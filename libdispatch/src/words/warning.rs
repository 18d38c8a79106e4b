//! Faults, until they are mended.

use std::fmt;

use super::twin;

twin! {
    /// Why a chain can't be read. It runs, and is not changed.
    Unreadable {
        /// A later daemon wrote its registry.
        NewerRegistry {
            /// The version that the registry says a reader needs.
            version: u32,
        },
        /// Its registry's bytes make no sense.
        BrokenRegistry,
        /// A pin is of another kind than its place says.
        WrongPin {
            /// The pin, below the chain's directory.
            pin: String,
        },
        /// A pin is missing.
        MissingPin {
            /// The pin, below the chain's directory.
            pin: String,
        },
        /// A system call failed on a pin.
        Failed {
            /// The pin, below the chain's directory.
            pin: String,
            /// The kernel's own words.
            error: String,
        },
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerRegistry { version } => {
                write!(
                    f,
                    "a later dispatchd wrote its registry (version {version})"
                )
            }
            Self::BrokenRegistry => f.write_str("its registry makes no sense"),
            Self::WrongPin { pin } => write!(f, "its pin {pin} is of another kind"),
            Self::MissingPin { pin } => write!(f, "its pin {pin} is missing"),
            Self::Failed { pin, error } => write!(f, "its pin {pin}: {error}"),
            Self::Unknown(number) => write!(f, "a reason that this client doesn't know ({number})"),
        }
    }
}

twin! {
    /// Something that is wrong with the daemon or a chain, until it is mended.
    Warning {
        /// A chain is not on its hook.
        NotAttached {
            /// The chain.
            chain: u64,
            /// Its interface.
            interface: String,
        },
        /// A chain can't be read.
        ChainUnreadable {
            /// The chain.
            chain: u64,
            /// Its interface.
            interface: String,
            /// What is wrong with its pins.
            why: Unreadable,
        },
        /// The object of a member is lost.
        ObjectMissing {
            /// The member's interface.
            interface: String,
            /// The member.
            member: String,
        },
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached { interface, .. } => {
                write!(f, "the chain of {interface} is not attached")
            }
            Self::ChainUnreadable { interface, why, .. } => {
                write!(f, "the chain of {interface} can't be read: {why}")
            }
            Self::ObjectMissing { interface, member } => write!(
                f,
                "the object of {member} on {interface} is lost: what would load it again will be \
                 refused"
            ),
            Self::Unknown(number) => {
                write!(
                    f,
                    "the daemon has a warning that this client doesn't know ({number})"
                )
            }
        }
    }
}
