//! What this kernel can do, found out by doing it once: kernel versions say little (backports,
//! hardening, architectures).

use dispatcher_abi::EngineChoice;
use protocol::EngineProbe;

use crate::kernel::{self, Template};

/// What was found when the daemon started.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Members in the place of slot functions.
    pub freplace: EngineProbe,
    /// Members by tail call.
    pub tailcall: EngineProbe,
}

/// Tries both engines on throw-away programs. The template, which extensions are loaded against, is
/// there if they can be used: the kernel takes them and the command line doesn't turn them off.
pub fn probe(choice: EngineChoice) -> (Probes, Option<Template>) {
    let freplace = match choice {
        EngineChoice::Tailcall => Err("turned off by --engine tailcall".to_owned()),
        EngineChoice::Auto | EngineChoice::Freplace => kernel::probe_freplace(),
    };
    let (freplace, template) = match freplace {
        Ok(template) => (Ok(()), Some(template)),
        Err(reason) => (Err(reason), None),
    };
    let probes = Probes {
        freplace: said(freplace),
        tailcall: said(kernel::probe_tailcall()),
    };
    (probes, template)
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
