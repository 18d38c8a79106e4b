//! What can be changed while a chain runs.

use dispatcher_abi::{
    EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, Priority, VerdictMask,
};

/// What changes in a running member. `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Verdicts after which the next slot runs.
    pub chain_call: Option<VerdictMask>,
    /// Verdicts that the member may decide.
    pub allowed: Option<VerdictMask>,
    /// What happens to a packet for which the member did not run.
    pub on_miss: Option<OnMiss>,
    /// [`Lifetime::Kept`] gives an attached member to the daemon. The other way is refused.
    pub lifetime: Option<Lifetime>,
}

impl From<Settings> for protocol::Settings {
    fn from(settings: Settings) -> Self {
        Self {
            chain_call: settings.chain_call,
            allowed: settings.allowed,
            on_miss: settings.on_miss,
            lifetime: settings.lifetime,
            options: protocol::Options::new(),
        }
    }
}

/// What changes in a chain. `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl From<Configuration> for protocol::Configuration {
    fn from(configuration: Configuration) -> Self {
        Self {
            final_verdict: configuration.final_verdict,
            counters: configuration.counters,
            engine: configuration.engine,
            mode: configuration.mode,
            options: protocol::Options::new(),
        }
    }
}

/// Where a member moves to. Nothing is reloaded by a move.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// To a new priority; among equals it keeps its age.
    Priority(Priority),
    /// Before every other member.
    First,
    /// After every other member.
    Last,
    /// Just before this member.
    Before(String),
    /// Just after this member.
    After(String),
}

impl From<Position> for protocol::Position {
    fn from(position: Position) -> Self {
        match position {
            Position::Priority(priority) => Self::Priority(priority),
            Position::First => Self::First,
            Position::Last => Self::Last,
            Position::Before(name) => Self::Before(name),
            Position::After(name) => Self::After(name),
        }
    }
}
