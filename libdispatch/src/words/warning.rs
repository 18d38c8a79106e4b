//! Faults, until they are mended.

use std::fmt;

use super::{Unreadable, twin};
use crate::HookProgram;

twin! {
    /// Something that is wrong with the daemon or a chain, until it is mended.
    Warning {
        /// A chain is not on its hook, which was empty at the last look.
        NotAttached {
            /// The chain.
            chain: u64,
            /// Its interface.
            interface: String,
        },
        /// A chain can't be read.
        ChainUnreadable {
            /// The chain, if its registry says so much.
            chain: Option<u64>,
            /// Its interface, or what its directory is called.
            interface: String,
            /// Its directory.
            pins: String,
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
        /// A chain is not on its hook, which runs somebody else's program.
        HookTaken {
            /// The chain.
            chain: u64,
            /// Its interface.
            interface: String,
            /// The kernel's id of the program.
            program_id: u32,
            /// Its name in the kernel.
            program: String,
        },
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttached { interface, .. } => {
                write!(f, "the chain of {interface} is not attached")
            }
            Self::ChainUnreadable {
                interface,
                pins,
                why,
                ..
            } => {
                write!(
                    f,
                    "the chain of {interface} can't be read: {why}, below {pins}"
                )
            }
            Self::HookTaken {
                interface,
                program_id,
                program,
                ..
            } => {
                let program = HookProgram {
                    id: *program_id,
                    name: program.clone(),
                };
                write!(
                    f,
                    "the chain of {interface} is not attached: the hook runs {program}"
                )
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
