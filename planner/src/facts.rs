//! What the loader learned of a program by loading it.

use dispatcher_abi::{Priority, VerdictMask};

use crate::{CodeId, Digest, LoadId, MemberId};

/// A program that is loaded and waits to become a member's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where the loader keeps it.
    pub load: LoadId,
    /// Its function's name in the object.
    pub program: String,
    /// The kernel's id; 0 in a dry run.
    pub program_id: u32,
    /// Its object.
    pub sha256: Digest,
    /// The object holds a program array, so the program may tail-call by itself.
    pub has_program_array: bool,
    /// The object's own wish (`.xdp_run_config`).
    pub priority: Option<Priority>,
    /// The object's own wish (`.xdp_run_config`).
    pub chain_call: Option<VerdictMask>,
    /// The member and the code whose maps it was loaded with, if it is to replace that.
    pub replaces: Option<(MemberId, CodeId)>,
}

impl Facts {
    /// What is known of an object that isn't loaded yet.
    pub(crate) fn unknown() -> Self {
        Self {
            load: LoadId(0),
            program: String::new(),
            program_id: 0,
            sha256: [0; 32],
            has_program_array: false,
            priority: None,
            chain_call: None,
            replaces: None,
        }
    }

    /// Tail calls to reckon with when nobody says how many.
    pub(crate) fn least_tail_depth(&self) -> u32 {
        u32::from(self.has_program_array)
    }
}
