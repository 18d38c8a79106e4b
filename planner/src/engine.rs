//! Which engine runs a member.

use std::fmt;

use dispatcher_abi::{Engine, EngineChoice};

/// What the daemon's probe found: which engines this kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engines {
    /// `BPF_PROG_TYPE_EXT` programs work.
    pub freplace: bool,
    /// Tail calls from a root's slots work.
    pub tailcall: bool,
}

/// Why an engine can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEngine {
    /// The kernel refused this one when the daemon probed it.
    Probe(Engine),
    /// This version fills every slot by tail call.
    FreplaceSlots,
}

impl NoEngine {
    /// The engine in question.
    pub fn engine(self) -> Engine {
        match self {
            Self::Probe(engine) => engine,
            Self::FreplaceSlots => Engine::Freplace,
        }
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Probe(_) => "this kernel refuses it (`dispatchctl status` says why)",
            Self::FreplaceSlots => "this version fills slots by tail call only",
        })
    }
}

/// The engine for a member that asks for `member` in a chain that asks for `chain`.
pub(crate) fn engine_for(
    engines: Engines,
    chain: EngineChoice,
    member: EngineChoice,
) -> Result<Engine, NoEngine> {
    let choice = match member {
        EngineChoice::Auto => chain,
        EngineChoice::Freplace | EngineChoice::Tailcall => member,
    };
    match choice {
        EngineChoice::Freplace if engines.freplace => Err(NoEngine::FreplaceSlots),
        EngineChoice::Freplace => Err(NoEngine::Probe(Engine::Freplace)),
        EngineChoice::Auto | EngineChoice::Tailcall if engines.tailcall => Ok(Engine::Tailcall),
        EngineChoice::Auto | EngineChoice::Tailcall => Err(NoEngine::Probe(Engine::Tailcall)),
    }
}
