//! What is asked of a chain.

use dispatcher_abi::{
    EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, Priority, VerdictMask,
};

use crate::{BuiltIn, Interface, MemberId, Revision};

/// A set of operations on one interface: one plan, one swap, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The interface.
    pub interface: Interface,
    /// Refuse if the chain is at another revision; a chain that doesn't exist is at 0.
    pub expected_revision: Option<Revision>,
    /// Refuse if the member of one of these names is another one.
    pub expected_members: Vec<(String, MemberId)>,
    /// The mode, if this change makes the chain; refused if the chain runs in another.
    pub mode: Option<ModeChoice>,
    /// What to do, in order.
    pub operations: Vec<Operation>,
}

/// One step of a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds a member. Takes the next [`Facts`](crate::Facts).
    Register(Registration),
    /// Removes a member.
    Unregister {
        /// Its name.
        name: String,
    },
    /// Removes every member.
    UnregisterAll,
    /// Moves one member.
    Move {
        /// Its name.
        name: String,
        /// Where to.
        to: Position,
    },
    /// Gives the whole order: every member's name, once.
    Order {
        /// First to run first.
        names: Vec<String>,
    },
    /// Changes a running member.
    Set {
        /// Its name.
        name: String,
        /// What changes.
        settings: Settings,
    },
    /// New code in the same slot. Takes the next [`Facts`](crate::Facts).
    Replace {
        /// Its name.
        name: String,
    },
    /// Changes the chain itself.
    Configure(Configuration),
}

impl Change {
    /// The modes that it asks for.
    pub fn modes(&self) -> impl Iterator<Item = ModeChoice> {
        let operations = self.operations.iter();
        let configured = operations.filter_map(|operation| {
            if let Operation::Configure(configuration) = operation {
                configuration.mode
            } else {
                None
            }
        });
        self.mode.into_iter().chain(configured)
    }

    /// How many [`Facts`](crate::Facts) its operations take.
    pub fn loads(&self) -> usize {
        let operations = self.operations.iter();
        operations
            .filter(|operation| operation.takes_facts())
            .count()
    }
}

impl Operation {
    /// Whether it takes the next [`Facts`](crate::Facts).
    pub fn takes_facts(&self) -> bool {
        match self {
            Self::Register(_) | Self::Replace { .. } => true,
            Self::Unregister { .. }
            | Self::UnregisterAll
            | Self::Move { .. }
            | Self::Order { .. }
            | Self::Set { .. }
            | Self::Configure(_) => false,
        }
    }
}

/// A member to be; what is `None` comes from the object's facts, then from the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// `None`: the program's name.
    pub name: Option<String>,
    /// The program, if it is one of the daemon's own: then no object comes with it.
    pub built_in: Option<BuiltIn>,
    /// Lower runs first.
    pub priority: Option<Priority>,
    /// Verdicts after which the next slot runs.
    pub chain_call: Option<VerdictMask>,
    /// What it may decide.
    pub allowed: Option<VerdictMask>,
    /// What happens when it did not run.
    pub on_miss: OnMiss,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// How long it outlives its connection, in milliseconds.
    pub linger_ms: u32,
    /// Which engine may run it.
    pub engine: EngineChoice,
    /// Tail calls it may make itself. `None`: 1 if its object holds a program array.
    pub tail_depth: Option<u32>,
    /// The group it shares maps in.
    pub share_group: Option<String>,
    /// Random, drawn by the client: what claims it again.
    pub token: [u8; 16],
}

/// Where a member moves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// A new priority; among equals it keeps its age.
    Priority(Priority),
    /// Before every other.
    First,
    /// After every other.
    Last,
    /// Just before this member.
    Before(String),
    /// Just after this member.
    After(String),
}

/// What can change in a running member; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Verdicts after which the next slot runs.
    pub chain_call: Option<VerdictMask>,
    /// What it may decide.
    pub allowed: Option<VerdictMask>,
    /// What happens when it did not run.
    pub on_miss: Option<OnMiss>,
    /// `Kept` gives an attached member to the daemon.
    pub lifetime: Option<Lifetime>,
}

/// What can change in a chain; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What the chain returns when every slot chained on.
    pub final_verdict: Option<FinalVerdict>,
    /// Whether verdicts are counted.
    pub counters: Option<bool>,
    /// Which engine members get, those that are there (they are loaded again, with their maps) and
    /// those to come, unless they ask for another themselves.
    pub engine: Option<EngineChoice>,
    /// Where the hook is.
    pub mode: Option<ModeChoice>,
}
