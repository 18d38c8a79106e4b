//! Where a member's code comes from.

use dispatcher_abi::REDIRECT_PROGRAM;

use crate::Digest;

/// Where a member's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An object file, which the daemon keeps: the code can be loaded again.
    Object(ObjectSource),
    /// A program that somebody else loaded: it stays as it is.
    Loaded(LoadedSource),
    /// A program of the daemon's own.
    BuiltIn(BuiltIn),
}

/// An object file and how it is loaded: with the member's maps, all that it takes to load it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectSource {
    /// SHA-256 of the object.
    pub sha256: Digest,
    /// The name of the program's function in the object.
    pub program: String,
    /// Entries of maps that the registration gave: `(map, entries)`.
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables that the registration gave.
    pub globals: Vec<(String, GlobalValue)>,
    /// What the program's own program arrays hold.
    pub tail_calls: Vec<TailCall>,
    /// The program may call every helper, and is loaded with the daemon's own capabilities.
    pub trusted: bool,
}

/// The value of a global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GlobalValue {
    /// An integer, stored in the variable's size, little-endian.
    Integer(i128),
    /// The variable's bytes.
    Bytes(Vec<u8>),
}

/// An entry of a program's own program array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailCall {
    /// The program array.
    pub map: String,
    /// The index in it.
    pub index: u32,
    /// The function of the same object that is there.
    pub program: String,
}

/// A program that somebody else loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSource {
    /// The program's name in the kernel.
    pub program: String,
    /// How the daemon came by it.
    pub how: HandOver,
}

/// How the daemon came by a program that somebody else loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// A client passed its descriptor.
    Given,
    /// It was on the hook, and the chain was made around it.
    Adopted,
}

/// A program of the daemon's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Gives packets of queues that have a socket to it.
    XskRedirect,
    /// Returns PASS: what the peer of a veth device needs to accept redirected packets.
    Pass,
}

impl Source {
    /// The program's name: its function in the object, or its name in the kernel.
    pub fn program(&self) -> &str {
        match self {
            Self::Object(object) => &object.program,
            Self::Loaded(loaded) => &loaded.program,
            Self::BuiltIn(built_in) => built_in.program(),
        }
    }

    /// The object's digest; `None` if there is no object to keep.
    pub fn sha256(&self) -> Option<&Digest> {
        match self {
            Self::Object(object) => Some(&object.sha256),
            Self::Loaded(_) | Self::BuiltIn(_) => None,
        }
    }

    /// Whether it is loaded with the daemon's capabilities.
    pub fn is_trusted(&self) -> bool {
        match self {
            Self::Object(object) => object.trusted,
            Self::Loaded(_) => false,
            Self::BuiltIn(_) => true,
        }
    }

    /// Whether this is the redirect program.
    pub fn is_redirect(&self) -> bool {
        *self == Self::BuiltIn(BuiltIn::XskRedirect)
    }
}

impl BuiltIn {
    /// The name of its function.
    pub fn program(self) -> &'static str {
        match self {
            Self::XskRedirect => REDIRECT_PROGRAM,
            Self::Pass => "xdp_pass",
        }
    }
}
