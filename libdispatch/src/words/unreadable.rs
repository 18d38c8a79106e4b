//! Why a chain can't be read. The daemon's log says it in the same words, which are `protocol`'s.

use super::{said_as_on_the_wire, twin};

twin! {
    /// Why a chain can't be read. It runs, and is not changed. Pins are named below the chain's
    /// directory, which is [`Chain::pins`](crate::Chain::pins).
    Unreadable {
        /// A name stands for something else than it should.
        WrongKind {
            /// The name.
            pin: String,
            /// What is there.
            found: PinKind,
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
            fault: RegistryFault,
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
}

said_as_on_the_wire! {
    Unreadable {
        WrongKind { pin, found },
        Missing { pin },
        Failed { pin, call, errno },
        Registry { build, fault },
        Held { pin, program_id },
        TwoLinks,
        Replaced { pin },
    }
}

twin! {
    /// What a name in a chain's directory really is.
    PinKind {
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
}

said_as_on_the_wire! {
    PinKind {
        Directory,
        Pin,
        Neither,
        Map { map_type, key_size, value_size, max_entries },
        Program { program_type },
        Link { link_type },
    }
}

twin! {
    /// Why a registry doesn't say what a chain is.
    RegistryFault {
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
}

said_as_on_the_wire! {
    RegistryFault {
        NoRegistry,
        TooNew { version, reader },
        TooOld { version },
        Truncated,
        Garbled,
        NotUnderstood { option },
        Impossible,
        OtherBuild { says },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_wires() {
        let wire = protocol::Unreadable::Registry {
            build: 2,
            fault: protocol::RegistryFault::OtherBuild { says: 1 }.into(),
        };
        let twin = Unreadable::from(wire.clone());
        assert_eq!(twin.to_string(), "gen-2/registry is that of build 1");
        assert_eq!(protocol::Open::from(twin), protocol::Open::Known(wire));
        let later = Unreadable::WrongKind {
            pin: "link".to_owned(),
            found: PinKind::Unknown(9),
        };
        assert_eq!(
            later.to_string(),
            "link is something that only a later version knows (9)"
        );
    }
}
