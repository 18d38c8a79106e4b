//! What this kernel can do, found out by doing it once: kernel versions say little (backports,
//! hardening, architectures).

use dispatcher_abi::EngineChoice;
use protocol::ProbeReason;

use crate::kernel::{self, Template};

/// What was found when the daemon started.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Members in the place of slot functions.
    pub freplace: Result<(), ProbeReason>,
    /// Members by tail call.
    pub tailcall: Result<(), ProbeReason>,
}

/// Tries both engines on throw-away programs. The template, which extensions are loaded against, is
/// there if they can be used: the kernel takes them and the command line doesn't turn them off.
pub fn probe(choice: EngineChoice) -> (Probes, Option<Template>) {
    let freplace = match choice {
        EngineChoice::Tailcall => Err(ProbeReason::TurnedOff),
        EngineChoice::Auto | EngineChoice::Freplace => kernel::probe_freplace().map_err(failed),
    };
    let (freplace, template) = match freplace {
        Ok(template) => (Ok(()), Some(template)),
        Err(reason) => (Err(reason), None),
    };
    let probes = Probes {
        freplace,
        tailcall: kernel::probe_tailcall().map_err(failed),
    };
    (probes, template)
}

impl Probes {
    /// For the planner.
    pub fn engines(&self) -> planner::Engines {
        planner::Engines {
            freplace: self.freplace.is_ok(),
            tailcall: self.tailcall.is_ok(),
        }
    }
}

fn failed(error: String) -> ProbeReason {
    ProbeReason::Failed { error }
}

/// For the daemon's own log.
pub(crate) fn said(reason: &ProbeReason) -> String {
    match reason {
        ProbeReason::TurnedOff => "turned off by the command line".to_owned(),
        ProbeReason::Failed { error } => error.clone(),
    }
}
