//! What is asked of a chain.

use dispatcher_abi::{
    EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, Priority, VerdictMask,
};
use serde::{Deserialize, Serialize};

use crate::{Digest, Open, Options, Token, Variants, bounded};

/// A set of operations on one interface: one plan, one swap, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The interface. `None`: that of the first member that is named by its id.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub interface: Option<String>,
    /// Refuse if the chain is at another revision. A chain that doesn't exist is at 0.
    pub expected_revision: Option<u64>,
    /// Plan and say what would be done, do nothing.
    pub dry_run: bool,
    /// The mode, if this change makes the chain; refused if the chain runs in another. `None`:
    /// auto for a new chain, whatever it has for an existing one.
    pub mode: Option<ModeChoice>,
    /// What to do, in order: [`OPERATIONS_MAX`](crate::OPERATIONS_MAX) at most.
    #[serde(deserialize_with = "bounded::operations")]
    pub operations: Vec<Operation>,
    /// Room for later versions.
    pub options: Options,
}

/// One step of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Adds a member.
    Register(Box<Registration>),
    /// Removes a member.
    Unregister {
        /// The member.
        member: Open<MemberRef>,
    },
    /// Removes every member.
    UnregisterAll,
    /// Moves one member. Nothing is reloaded.
    Move {
        /// The member.
        member: Open<MemberRef>,
        /// Where to.
        to: Position,
    },
    /// Gives the whole order: every member's name, once.
    Order {
        /// First to run first.
        #[serde(deserialize_with = "bounded::names")]
        names: Vec<String>,
    },
    /// Changes a running member.
    Set {
        /// The member.
        member: Open<MemberRef>,
        /// What changes; `None` stays.
        settings: Settings,
    },
    /// New code in the same slot. Maps of the same name and shape keep their contents.
    Replace {
        /// The member.
        member: Open<MemberRef>,
        /// The new code.
        source: Source,
    },
    /// Changes the chain itself.
    Configure(Configuration),
}

/// How a request names a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRef {
    /// By its name in the chain.
    Name(#[serde(deserialize_with = "bounded::name")] String),
    /// By its id: its name may be another member's by now, and its interface may have another name.
    Id(u64),
}

impl Variants for MemberRef {
    const COUNT: u32 = 2;
}

impl From<String> for Open<MemberRef> {
    fn from(name: String) -> Self {
        Self::Known(MemberRef::Name(name))
    }
}

impl From<&str> for Open<MemberRef> {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl Operation {
    /// How it names the member that it is about, if it is about one that is there.
    pub fn member(&self) -> Option<&Open<MemberRef>> {
        match self {
            Self::Unregister { member }
            | Self::Move { member, .. }
            | Self::Set { member, .. }
            | Self::Replace { member, .. } => Some(member),
            Self::Register(_) | Self::UnregisterAll | Self::Order { .. } | Self::Configure(_) => {
                None
            }
        }
    }

    /// The first option in it that has to be understood and isn't.
    pub(crate) fn not_understood(&self) -> Option<(&'static str, u32)> {
        let unknown = |of, options: &Options| Some((of, options.not_understood(&[])?));
        match self {
            Self::Register(registration) => unknown("Registration", &registration.options)
                .or_else(|| unknown("Source", registration.source.options())),
            Self::Replace { source, .. } => unknown("Source", source.options()),
            Self::Set { settings, .. } => unknown("Settings", &settings.options),
            Self::Configure(configuration) => unknown("Configuration", &configuration.options),
            Self::Unregister { .. }
            | Self::UnregisterAll
            | Self::Move { .. }
            | Self::Order { .. } => None,
        }
    }
}

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, unique in the chain. `None`: the program's name.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub name: Option<String>,
    /// The code.
    pub source: Source,
    /// `None`: what the object says, else 50.
    pub priority: Option<Priority>,
    /// `None`: what the object says, else PASS.
    pub chain_call: Option<VerdictMask>,
    /// `None`: all.
    pub allowed: Option<VerdictMask>,
    /// What happens when the member did not run.
    pub on_miss: OnMiss,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// How long an attached member outlives its connection, in milliseconds; so that a client that
    /// lost its connection can re-claim it.
    pub linger_ms: u32,
    /// Which engine may run it.
    pub engine: EngineChoice,
    /// Tail calls that the program itself may make for one packet. `None`: 1 if its object holds
    /// a program array, 0 otherwise.
    pub tail_depth: Option<u32>,
    /// Members of one uid in the same group share maps of equal name and shape.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub share_group: Option<String>,
    /// Drawn by the client for this registration alone. It re-claims the member; and a client that
    /// got no answer sends the same change again: if the daemon had done it, the member is taken up
    /// ([`Registered::taken_up`](crate::Registered::taken_up)).
    pub token: Token,
    /// Room for later versions.
    pub options: Options,
}

/// Where a member's code comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A program in an object, and how the object is loaded.
    Object(ObjectSource),
    /// A program that somebody else loaded, handed over on this connection.
    Loaded(LoadedSource),
    /// A program of the daemon's own.
    BuiltIn(BuiltInSource),
}

impl Source {
    /// Its options.
    pub fn options(&self) -> &Options {
        match self {
            Self::Object(ObjectSource { options, .. })
            | Self::Loaded(LoadedSource { options, .. })
            | Self::BuiltIn(BuiltInSource { options, .. }) => options,
        }
    }
}

/// A program in an object, and how the object is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSource {
    /// An object that was staged on this connection.
    pub object: Digest,
    /// The program's function. `None`: the object's only program.
    #[serde(deserialize_with = "bounded::maybe_name")]
    pub program: Option<String>,
    /// Entries of maps, instead of what the object says.
    #[serde(deserialize_with = "bounded::sizes")]
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables, set before the program is loaded.
    #[serde(deserialize_with = "bounded::globals")]
    pub globals: Vec<(String, GlobalValue)>,
    /// What the daemon puts into the program's own program arrays.
    #[serde(deserialize_with = "bounded::tail_calls")]
    pub tail_calls: Vec<TailCall>,
    /// The program takes packets of several buffers, even if its section doesn't say so
    /// (`xdp.frags`).
    pub frags: bool,
    /// Room for later versions.
    pub options: Options,
}

/// A program that somebody else loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedSource {
    /// The kernel's id of it.
    pub program_id: u32,
    /// Room for later versions.
    pub options: Options,
}

/// A program of the daemon's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltInSource {
    /// Its name.
    #[serde(deserialize_with = "bounded::name")]
    pub name: String,
    /// Room for later versions.
    pub options: Options,
}

/// The value of a global variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GlobalValue {
    /// An integer, stored in the variable's size (1, 2, 4 or 8 bytes), little-endian; refused if
    /// it doesn't fit.
    Integer(i128),
    /// The variable's bytes, exactly as many as it has.
    Bytes(Vec<u8>),
}

/// An entry of a member's own program array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailCall {
    /// The program array's name in the object.
    #[serde(deserialize_with = "bounded::name")]
    pub map: String,
    /// The index in it.
    pub index: u32,
    /// The function in the same object that goes there.
    #[serde(deserialize_with = "bounded::name")]
    pub program: String,
}

/// Where a member moves to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// A new priority; among equals it keeps its age.
    Priority(Priority),
    /// Before every other.
    First,
    /// After every other.
    Last,
    /// Just before this member.
    Before(#[serde(deserialize_with = "bounded::name")] String),
    /// Just after this member.
    After(#[serde(deserialize_with = "bounded::name")] String),
}

/// What can change in a running member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Chain-call actions.
    pub chain_call: Option<VerdictMask>,
    /// Allowed verdicts.
    pub allowed: Option<VerdictMask>,
    /// What happens when the member did not run.
    pub on_miss: Option<OnMiss>,
    /// `Kept` gives an attached member to the daemon. The other way is refused.
    pub lifetime: Option<Lifetime>,
    /// Room for later versions.
    pub options: Options,
}

/// What can change in a chain; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// What the chain returns when every slot chained on.
    pub final_verdict: Option<FinalVerdict>,
    /// Whether verdicts are counted for each slot.
    pub counters: Option<bool>,
    /// Which engine members get, those that are there (they are loaded again, with their maps) and
    /// those to come, unless they ask for another themselves.
    pub engine: Option<EngineChoice>,
    /// Where the hook is. Changing it leaves the interface without a program for a moment.
    pub mode: Option<ModeChoice>,
    /// Room for later versions.
    pub options: Options,
}
