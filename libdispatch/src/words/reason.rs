//! Why an engine is not used.

use std::fmt;

use super::twin;

twin! {
    /// Why a program runs by tail call where the kernel has freplace.
    EngineReason {
        /// Its object has no type information for it.
        NoTypes,
        /// Its prototype is another than a slot's.
        Prototype,
        /// The kernel refused it as an extension, and not as an XDP program.
        Refused,
        /// An extension can read the kernel's memory, and the member's user may not.
        Untrusted,
        /// A later daemon found a reason that this one has no word for.
        Other,
    }
}

impl fmt::Display for EngineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTypes => f.write_str("its object has no type information (BTF) for it"),
            Self::Prototype => f.write_str("its prototype is not `int f(struct xdp_md *)`"),
            Self::Refused => {
                f.write_str("the kernel takes it as an XDP program and not as an extension")
            }
            Self::Untrusted => f.write_str(
                "its user is not trusted to load extensions, which may read the kernel's memory",
            ),
            Self::Other => {
                f.write_str("a later version of dispatchd found that it can't be an extension")
            }
            Self::Unknown(number) => write!(f, "a reason that this client doesn't know ({number})"),
        }
    }
}

twin! {
    /// Why the daemon can't use an engine.
    ProbeReason {
        /// It was told not to.
        TurnedOff,
        /// It tried, and failed.
        Failed {
            /// How, with the kernel's own words.
            error: String,
        },
    }
}

impl fmt::Display for ProbeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TurnedOff => f.write_str("the daemon was told not to use it"),
            Self::Failed { error } => f.write_str(error),
            Self::Unknown(number) => write!(f, "a reason that this client doesn't know ({number})"),
        }
    }
}
