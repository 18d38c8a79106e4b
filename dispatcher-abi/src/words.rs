//! The small vocabularies: each word is defined here once, with its text.

use core::fmt;

/// Where in the chain a member wants to run: lower runs first.
pub type Priority = u32;

/// The priority of a member that names none (libxdp's default).
pub const PRIORITY_DEFAULT: Priority = 50;

/// A word that its vocabulary doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown word")
    }
}

impl core::error::Error for UnknownWord {}

/// An enum of plain words, with `name`, `ALL`, `Display` and `FromStr`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum $name {
            $($(#[$word_doc])* $variant,)+
        }

        impl $name {
            /// Every word of this vocabulary.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word, as on the command line and in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl core::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.name() == word).ok_or(UnknownWord)
            }
        }
    };
}

words! {
    /// How a slot calls its member.
    Engine {
        /// The slot's function is replaced by the member, a `BPF_PROG_TYPE_EXT` program.
        Freplace = "freplace",
        /// The slot's function tail-calls the member, an ordinary XDP program.
        Tailcall = "tailcall",
    }
}

words! {
    /// Which [`Engine`] is asked for.
    EngineChoice {
        /// freplace where the kernel and the member allow it, tail calls otherwise.
        Auto = "auto",
        /// freplace, or a refusal.
        Freplace = "freplace",
        /// Tail calls.
        Tailcall = "tailcall",
    }
}

words! {
    /// Where the hook is.
    Mode {
        /// In the driver (`XDP_FLAGS_DRV_MODE`).
        Native = "native",
        /// In the network stack (`XDP_FLAGS_SKB_MODE`): slower, on every device.
        Generic = "generic",
        /// On the device (`XDP_FLAGS_HW_MODE`).
        Offload = "offload",
    }
}

words! {
    /// Which [`Mode`] is asked for.
    ModeChoice {
        /// Native, and generic where the driver can't (EOPNOTSUPP, ERANGE).
        Auto = "auto",
        /// Native, or a refusal.
        Native = "native",
        /// Generic.
        Generic = "generic",
        /// Offload, or a refusal.
        Offload = "offload",
    }
}

words! {
    /// How long a member stays.
    Lifetime {
        /// As long as the connection that registered it, and its linger time after that.
        Attached = "attached",
        /// Until it is removed, or a reboot.
        Kept = "kept",
    }
}

words! {
    /// What the chain returns when every slot chained on.
    FinalVerdict {
        /// PASS (libxdp's rule).
        Pass = "pass",
        /// The last verdict that was not "no opinion"; PASS if there was none.
        Last = "last",
    }
}

words! {
    /// What happens when an occupied slot's member did not run.
    OnMiss {
        /// The chain ends with ABORTED.
        Abort = "abort",
        /// The next slot runs.
        Continue = "continue",
    }
}
