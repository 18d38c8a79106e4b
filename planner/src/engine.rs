//! Which engine runs a member.

use std::fmt;

use dispatcher_abi::{Engine, EngineChoice};

use crate::Obstacle;

/// Which engines this kernel runs and the daemon may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engines {
    /// `BPF_PROG_TYPE_EXT` programs take the place of a root's slots.
    pub freplace: bool,
    /// Tail calls from a root's slots work.
    pub tailcall: bool,
}

/// Why an engine can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEngine {
    /// The daemon's probe did not find it, or its command line turned it off.
    Unavailable(Engine),
    /// The program can't take the place of a slot's function.
    Program(Obstacle),
}

impl NoEngine {
    /// The engine in question.
    pub fn engine(self) -> Engine {
        match self {
            Self::Unavailable(engine) => engine,
            Self::Program(_) => Engine::Freplace,
        }
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(_) => f.write_str("the daemon can't use it"),
            Self::Program(obstacle) => obstacle.fmt(f),
        }
    }
}

/// The engine for a member that asks for `member` in a chain that asks for `chain`.
///
/// What a chain asks for is for the members that can: one whose program can't take the place of a
/// slot's function runs by tail call. What a member asks for itself it gets, or a refusal.
pub(crate) fn engine_for(
    engines: Engines,
    chain: EngineChoice,
    member: EngineChoice,
    obstacle: Option<Obstacle>,
) -> Result<Engine, NoEngine> {
    if let (EngineChoice::Freplace, true, Some(obstacle)) = (member, engines.freplace, obstacle) {
        return Err(NoEngine::Program(obstacle));
    }
    let choice = match member {
        EngineChoice::Auto => chain,
        EngineChoice::Freplace | EngineChoice::Tailcall => member,
    };
    let freplace = match choice {
        EngineChoice::Freplace if !engines.freplace => {
            return Err(NoEngine::Unavailable(Engine::Freplace));
        }
        EngineChoice::Freplace | EngineChoice::Auto => engines.freplace && obstacle.is_none(),
        EngineChoice::Tailcall => false,
    };
    match (freplace, engines.tailcall) {
        (true, _) => Ok(Engine::Freplace),
        (false, true) => Ok(Engine::Tailcall),
        (false, false) => Err(NoEngine::Unavailable(Engine::Tailcall)),
    }
}
