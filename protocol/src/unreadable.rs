//! Why a chain can't be read, as data and in English. The daemon says it too, in its log and in
//! refusals: the words are here, so that both sides have the same.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::{Open, Variants};

/// Why a chain can't be read. It runs, and is not changed. Pins are named below the chain's
/// directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unreadable {
    /// A name stands for something else than it should.
    WrongKind {
        /// The name.
        pin: String,
        /// What is there.
        found: Open<PinKind>,
    },
    /// Something that the chain needs is not pinned.
    Missing {
        /// The pin.
        pin: String,
    },
    /// A system call failed, so that nothing is known of a pin.
    Failed {
        /// The pin.
        pin: String,
        /// The call, such as `BPF_OBJ_GET`.
        call: String,
        /// Its errno; 0 if it gave none.
        errno: i32,
    },
    /// A registry doesn't say what the chain is.
    Registry {
        /// The registry's build.
        build: u64,
        /// Why not.
        fault: Open<RegistryFault>,
    },
    /// A link holds a program that is no root of the chain.
    Held {
        /// The link.
        pin: String,
        /// The kernel's id of the program.
        program_id: u32,
    },
    /// Two links hold a hook each, and the chain has only one.
    TwoLinks,
    /// Somebody pinned something else where the daemon's own was.
    Replaced {
        /// The pin's path.
        pin: String,
    },
}

impl Variants for Unreadable {
    const COUNT: u32 = 7;
}

/// What a name in a chain's directory really is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinKind {
    /// A directory.
    Directory,
    /// A pin, where a directory should be.
    Pin,
    /// Neither a pin nor a directory.
    Neither,
    /// A map of another kind or shape.
    Map {
        /// `enum bpf_map_type`.
        map_type: u32,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// Entries.
        max_entries: u32,
    },
    /// A program.
    Program {
        /// `enum bpf_prog_type`.
        program_type: u32,
    },
    /// A link.
    Link {
        /// `enum bpf_link_type`.
        link_type: u32,
    },
}

impl Variants for PinKind {
    const COUNT: u32 = 6;
}

/// Why a registry doesn't say what a chain is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryFault {
    /// It doesn't begin as a registry does.
    NoRegistry,
    /// A later version wrote it, for readers that this daemon is not among.
    TooNew {
        /// The format that it was written in.
        version: u32,
        /// The format that its reader has to know.
        reader: u32,
    },
    /// It was written in a format that no release had.
    TooOld {
        /// That format.
        version: u32,
    },
    /// It ends before it should.
    Truncated,
    /// Its bytes are no chain.
    Garbled,
    /// It says something that has to be understood and isn't.
    NotUnderstood {
        /// The number of that option.
        option: u32,
    },
    /// What it says can't be.
    Impossible,
    /// It is another build's.
    OtherBuild {
        /// The build that it says it is.
        says: u64,
    },
}

impl Variants for RegistryFault {
    const COUNT: u32 = 8;
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKind { pin, found } => write!(f, "{pin} is {found}"),
            Self::Missing { pin } => write!(f, "{pin} is missing"),
            Self::Failed {
                pin,
                call,
                errno: 0,
            } => write!(f, "{pin} can't be read: {call} failed"),
            Self::Failed { pin, call, errno } => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "{pin} can't be read: {call}: {error}")
            }
            Self::Registry { build, fault } => write!(f, "gen-{build}/registry {fault}"),
            Self::Held { pin, program_id } => write!(
                f,
                "{pin} holds program {program_id}, which is no root of this chain"
            ),
            Self::TwoLinks => f.write_str("link and link-next hold a hook each"),
            Self::Replaced { pin } => write!(f, "something else was pinned at {pin}"),
        }
    }
}

impl fmt::Display for Open<Unreadable> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(why) => why.fmt(f),
            Self::Unknown(other) => {
                let number = other.number();
                write!(f, "for a reason that only a later version knows ({number})")
            }
        }
    }
}

impl fmt::Display for Open<PinKind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Known(kind) => kind,
            Self::Unknown(other) => {
                let number = other.number();
                return write!(f, "something that only a later version knows ({number})");
            }
        };
        match kind {
            PinKind::Directory => f.write_str("a directory"),
            PinKind::Pin => f.write_str("a pin, and no directory"),
            PinKind::Neither => f.write_str("neither a directory nor a pin of the daemon's"),
            PinKind::Map {
                map_type,
                key_size,
                value_size,
                max_entries,
            } => write!(
                f,
                "a map of another kind (type {map_type}, keys of {key_size} bytes, values of \
                 {value_size}, {max_entries} entries)"
            ),
            PinKind::Program { program_type } => write!(f, "a program (type {program_type})"),
            PinKind::Link { link_type } => write!(f, "a link (type {link_type})"),
        }
    }
}

impl fmt::Display for Open<RegistryFault> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self {
            Self::Known(fault) => fault,
            Self::Unknown(other) => {
                let number = other.number();
                return write!(f, "has a fault that only a later version knows ({number})");
            }
        };
        match fault {
            RegistryFault::NoRegistry => f.write_str("is no registry"),
            RegistryFault::TooNew { version, reader } => write!(
                f,
                "was written by a later version of dispatchd (format {version}, which takes a \
                 reader of format {reader})"
            ),
            RegistryFault::TooOld { version } => {
                write!(f, "was written in format {version}, which no release had")
            }
            RegistryFault::Truncated => f.write_str("is cut short"),
            RegistryFault::Garbled => f.write_str("can't be decoded"),
            RegistryFault::NotUnderstood { option } => write!(
                f,
                "was written by a later version of dispatchd: option {option} has to be understood"
            ),
            RegistryFault::Impossible => f.write_str("says what can't be"),
            RegistryFault::OtherBuild { says } => write!(f, "is that of build {says}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_the_pin_and_what_is_wrong_with_it() {
        let pin = || "gen-2/counters".to_owned();
        let map = PinKind::Map {
            map_type: 6,
            key_size: 4,
            value_size: 80,
            max_entries: 1,
        };
        let wrong = |found: PinKind| Unreadable::WrongKind {
            pin: pin(),
            found: found.into(),
        };
        let registry = |fault: RegistryFault| Unreadable::Registry {
            build: 2,
            fault: fault.into(),
        };
        let failed = |errno| Unreadable::Failed {
            pin: pin(),
            call: "BPF_OBJ_GET".to_owned(),
            errno,
        };
        let newer = RegistryFault::TooNew {
            version: 9,
            reader: 4,
        };
        let told = [
            (
                wrong(map),
                "gen-2/counters is a map of another kind (type 6, keys of 4 bytes, values of 80, \
                 1 entries)",
            ),
            (wrong(PinKind::Directory), "gen-2/counters is a directory"),
            (
                Unreadable::Missing { pin: pin() },
                "gen-2/counters is missing",
            ),
            (
                failed(1),
                "gen-2/counters can't be read: BPF_OBJ_GET: Operation not permitted (os error 1)",
            ),
            (
                failed(0),
                "gen-2/counters can't be read: BPF_OBJ_GET failed",
            ),
            (
                registry(newer),
                "gen-2/registry was written by a later version of dispatchd (format 9, which takes \
                 a reader of format 4)",
            ),
            (
                Unreadable::Held {
                    pin: "link".to_owned(),
                    program_id: 77,
                },
                "link holds program 77, which is no root of this chain",
            ),
        ];
        for (why, words) in told {
            assert_eq!(why.to_string(), words);
        }
    }
}
