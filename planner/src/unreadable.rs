//! Chains whose pins can't be read: what is known of them, and what is wrong.

use crate::{Build, Call, ChainDir, ChainId, ChainKey, Interface, Pin};

/// A chain that is left as it is: it runs on, and nothing of it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where its pins are.
    pub dir: ChainDir,
    /// The interface whose hook it holds, as far as that is known: what its directory is named
    /// after, unless a readable registry says otherwise.
    pub site: ChainKey,
    /// The chain's number, if a registry says it.
    pub id: Option<ChainId>,
    /// The interface, if a registry says it, or somebody found it.
    pub interface: Option<Interface>,
    /// False if its links could be looked at and hold no hook: then it doesn't run.
    pub is_attached: bool,
    /// What is wrong. There may be more: this is what was found first.
    pub why: Why,
}

impl Unreadable {
    /// Whether the chain may be what this interface runs.
    pub fn concerns(&self, key: ChainKey) -> bool {
        self.site == key || self.dir.key == key
    }
}

/// What is wrong with a chain's pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A name stands for something else than it should.
    WrongKind {
        /// The name.
        pin: Pin,
        /// What is there.
        found: Kind,
    },
    /// Something that the running chain needs is not pinned.
    Missing {
        /// The missing pin.
        pin: Pin,
    },
    /// A call failed, so that nothing is known of this pin.
    Failed {
        /// The pin.
        pin: Pin,
        /// The call.
        call: Call,
        /// Its errno; 0 if it gave none.
        errno: i32,
    },
    /// A registry does not say what the chain is.
    Registry {
        /// The registry's build.
        build: Build,
        /// Why not.
        fault: RegistryFault,
    },
    /// A link holds a program that is no root of the chain.
    Held {
        /// The link.
        pin: Pin,
        /// The kernel's id of the program.
        program_id: u32,
    },
    /// Two links hold a hook each, and the chain has only one.
    TwoLinks,
    /// Somebody pinned something else where the daemon's own was.
    Replaced {
        /// Where its pin was.
        pin: Pin,
    },
}

/// What a name in a chain's directory really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A pin, where a directory should be.
    Pin,
    /// Neither a pin nor a directory.
    Other,
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

/// Why a registry does not say what a chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryFault {
    /// It doesn't begin as a registry does.
    NoRegistry,
    /// A later version wrote it, for readers of a version that this daemon hasn't reached.
    TooNew {
        /// The version that wrote it.
        version: u32,
        /// The version that can read it.
        reader: u32,
    },
    /// A version wrote it that no released daemon had.
    TooOld {
        /// That version.
        version: u32,
    },
    /// It ends before it should.
    Truncated,
    /// Its bytes are no chain.
    Garbled,
    /// It says something that has to be understood and isn't.
    Unknown {
        /// The number of that option.
        option: u32,
    },
    /// What it says can't be: two members of one id, an order that isn't one, a number that can't
    /// be counted on from, code that is loaded otherwise than the chain needs it.
    Impossible,
    /// It is another build's.
    OtherBuild {
        /// The build that it says it is.
        says: Build,
    },
}
