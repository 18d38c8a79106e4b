//! Remarks about a change that was made.

use std::fmt;

use super::{EngineReason, twin};

twin! {
    /// Something that the caller should know about what was done.
    Note {
        /// A member got code that runs by tail call though the kernel has freplace.
        RunsByTailCall {
            /// The member.
            member: String,
            /// What rules out freplace.
            reason: EngineReason,
        },
        /// The driver has no native XDP, so that generic mode is used.
        NoNativeMode {
            /// The interface.
            interface: String,
            /// The kernel's own words.
            error: String,
        },
        /// Packets are too large for native mode with these members, so that generic mode is used.
        NoNativeFrags {
            /// The interface.
            interface: String,
            /// The members that don't take packets of several buffers.
            members: Vec<String>,
        },
        /// An object can't be kept.
        ObjectNotKept {
            /// The system's own words.
            error: String,
        },
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsByTailCall { member, reason } => {
                write!(f, "{member} runs by tail call: {reason}")
            }
            Self::NoNativeMode { interface, error } => {
                write!(
                    f,
                    "{interface} has no native XDP ({error}); generic mode is used"
                )
            }
            Self::NoNativeFrags { interface, members } => write!(
                f,
                "packets of {interface} may have several buffers, which these members don't take \
                 (section xdp.frags): {}; generic mode is used",
                members.join(", ")
            ),
            Self::ObjectNotKept { error } => write!(
                f,
                "the object can't be kept ({error}): what would load its member again will be \
                 refused"
            ),
            Self::Unknown(number) => {
                write!(
                    f,
                    "the daemon has a note that this client doesn't know ({number})"
                )
            }
        }
    }
}
