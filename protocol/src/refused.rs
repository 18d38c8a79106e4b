//! A request that was understood and turned down.

use std::fmt;

use dispatcher_abi::Mode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{NAME_BYTES_MAX, Open, OptionKey, Options, Variants, bounded};

/// Longest message of a refusal, in bytes: a longer one is cut. Names in it are as long as
/// [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX), and the longest texts list a chain's members.
pub const MESSAGE_BYTES_MAX: usize = 4096;

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $number:literal, $name:literal;)+) => {
        /// Why a request was turned down. The code is stable: programs may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalCode {
            $($(#[$doc])* $code,)+
            /// A code of a later version, by its number.
            Unknown(u32),
        }

        impl RefusalCode {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            /// The number on the wire.
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$code => $number,)+
                    Self::Unknown(number) => number,
                }
            }

            /// The word in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                    Self::Unknown(_) => "unknown",
                }
            }

            const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$code,)+
                    _ => Self::Unknown(number),
                }
            }
        }
    };
}

codes! {
    /// No common protocol version.
    Version = 0, "version";
    /// The message makes no sense: not decodable, out of turn, a field out of range.
    Malformed = 1, "malformed";
    /// A descriptor is missing, of the wrong kind, or not sealed.
    Descriptor = 2, "descriptor";
    /// A message, an object or a list is larger than allowed.
    TooLarge = 3, "too_large";
    /// This uid may not do this.
    NotAllowed = 4, "not_allowed";
    /// The member belongs to somebody else.
    NotOwner = 5, "not_owner";
    /// Too many requests, connections or loads of one uid at once.
    Quota = 6, "quota";
    /// No interface of this name in the namespace.
    NoSuchInterface = 7, "no_such_interface";
    /// The interface runs a program that isn't ours.
    InterfaceBusy = 8, "interface_busy";
    /// The interface or its namespace went away.
    InterfaceGone = 9, "interface_gone";
    /// The interface can't run XDP in the mode asked for.
    Mode = 10, "mode";
    /// The chain is at another generation than the caller expected.
    Generation = 11, "generation";
    /// No member of this name or id.
    NoSuchMember = 12, "no_such_member";
    /// A name that members can't have.
    BadName = 13, "bad_name";
    /// The chain has a member of this name.
    NameTaken = 14, "name_taken";
    /// Every slot is occupied.
    ChainFull = 15, "chain_full";
    /// The members' tail calls together exceed what a packet may make.
    TailCallBudget = 16, "tail_call_budget";
    /// The operation doesn't fit the member or the other operations.
    Conflict = 17, "conflict";
    /// The object named in a registration was not staged on this connection.
    NoSuchObject = 18, "no_such_object";
    /// The bytes are not an eBPF object.
    NotAnObject = 19, "not_an_object";
    /// The object has no such program.
    NoSuchProgram = 20, "no_such_program";
    /// The object has several programs and none was named.
    AmbiguousProgram = 21, "ambiguous_program";
    /// The program is not an XDP program.
    WrongProgramType = 22, "wrong_program_type";
    /// The object needs something that the loader can't do.
    Unsupported = 23, "unsupported";
    /// The program calls a helper that this client may not use.
    Helper = 24, "helper";
    /// The object has no such map, or it can't have this size.
    Map = 25, "map";
    /// The object has no such global variable, or the value doesn't fit.
    Global = 26, "global";
    /// The verifier refused the program; its log is attached.
    Verifier = 27, "verifier";
    /// The engine asked for can't be used.
    Engine = 28, "engine";
    /// The token is wrong, or the member doesn't linger.
    Claim = 29, "claim";
    /// The kernel refused a step; nothing changed.
    Kernel = 30, "kernel";
    /// The daemon is stopping, or failed in a way that is its own fault.
    Daemon = 31, "daemon";
    /// The receive queue is somebody else's; the message names them.
    QueueTaken = 32, "queue_taken";
    /// The interface has no such receive queue.
    NoSuchQueue = 33, "no_such_queue";
    /// No socket of this connection has this queue and token.
    NoSuchSocket = 34, "no_such_socket";
}

impl Serialize for RefusalCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number())
    }
}

impl<'de> Deserialize<'de> for RefusalCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from_number)
    }
}

/// The answer "no", with its reason. The same in every version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What kind of no.
    pub code: RefusalCode,
    /// One line that names the interface or member and the fact that caused it.
    pub message: String,
    /// The verifier's log, whole.
    pub log: Option<String>,
    /// At the message's very end, if there are any. A client of version 0 takes none.
    #[serde(skip)]
    pub options: Options,
}

/// The remedy, as [`Open<Remedy>`](Remedy).
const REMEDY: OptionKey<Open<Remedy>> = OptionKey::optional(1);

impl Refused {
    /// A refusal of this kind. A message that is too long is cut.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let mut end = MESSAGE_BYTES_MAX - CUT.len();
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push_str(CUT);
        }
        Self {
            code,
            message,
            log: None,
            options: Options::new(),
        }
    }

    /// The same with the verifier's log.
    #[must_use]
    pub fn with_log(mut self, log: Option<String>) -> Self {
        self.log = log;
        self
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        // A map that no request can name can't be given a size.
        if let Remedy::GiveMapSize { map } = &remedy
            && map.len() > NAME_BYTES_MAX
        {
            return self;
        }
        // A remedy is a few numbers and a name: it always fits.
        let set = self.options.set(REMEDY, &Open::Known(remedy));
        debug_assert!(set.is_ok(), "a remedy fits its option");
        self
    }

    /// The number of the first option that has to be understood and isn't.
    pub fn not_understood(&self) -> Option<u32> {
        self.options.not_understood(&[REMEDY.number()])
    }

    /// The remedy, if the daemon names one that this version knows.
    pub fn remedy(&self) -> Option<Remedy> {
        match self.options.get(REMEDY).ok().flatten()? {
            Open::Known(remedy) => Some(remedy),
            Open::Unknown(_) => None,
        }
    }
}

/// The end of a message that was cut.
const CUT: &str = " …";

/// A step that would mend a refusal. The client says it in the words of its user, who has a command
/// line or has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remedy {
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
    /// The client asks for a bare socket, which takes a right.
    BareSocket,
    /// The daemon lets each user have more sockets.
    MoreSockets,
    /// The daemon lets each user pin more memory.
    MoreMemory,
    /// The chain's mode is changed first.
    ChangeMode {
        /// The chain's interface.
        interface: String,
        /// The mode to be.
        mode: Mode,
    },
    /// The daemon's status says why.
    SeeStatus,
    /// The same request again.
    TryAgain,
    /// A number of entries for a map.
    GiveMapSize {
        /// The map.
        #[serde(deserialize_with = "bounded::name")]
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

impl Variants for Remedy {
    const COUNT: u32 = 12;
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
