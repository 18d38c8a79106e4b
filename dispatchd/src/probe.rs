//! What this kernel can do, found out by doing it once: kernel versions say little (backports,
//! hardening, architectures).

use protocol::EngineProbe;

use crate::kernel;

/// What was found when the daemon started.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Members in the place of slot functions.
    pub freplace: EngineProbe,
    /// Members by tail call.
    pub tailcall: EngineProbe,
}

/// Tries both engines on throw-away programs.
pub fn probe() -> Probes {
    Probes {
        freplace: said(kernel::probe_freplace()),
        tailcall: said(kernel::probe_tailcall()),
    }
}

impl Probes {
    /// For the planner.
    pub fn engines(&self) -> planner::Engines {
        planner::Engines {
            freplace: self.freplace.available,
            tailcall: self.tailcall.available,
        }
    }
}

fn said(outcome: Result<(), String>) -> EngineProbe {
    EngineProbe {
        available: outcome.is_ok(),
        reason: outcome.err(),
    }
}
