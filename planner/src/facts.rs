//! What is learned of a program, first by looking at its object, then by loading it.

use dispatcher_abi::{Priority, VerdictMask};

use crate::{Abilities, CodeId, Form, LoadId, MemberId, ObjectSource, Source};

/// What is known of a program by looking at its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its function's name in the object.
    pub program: String,
    /// What it can be loaded as.
    pub abilities: Abilities,
}

/// A program that is loaded and waits to become a member's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where the loader keeps it.
    pub load: LoadId,
    /// The kernel's id; 0 in a dry run.
    pub program_id: u32,
    /// What it was loaded from.
    pub source: Source,
    /// What it can be loaded as.
    pub abilities: Abilities,
    /// What it was loaded as.
    pub form: Form,
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
    /// What is known of an object that nobody has looked at.
    pub(crate) fn unknown() -> Self {
        Self::outlined(
            LoadId(0),
            Outline {
                program: String::new(),
                abilities: Abilities::ALL,
            },
        )
    }

    /// What is known of an object that isn't loaded yet.
    pub(crate) fn outlined(load: LoadId, outline: Outline) -> Self {
        Self {
            load,
            program_id: 0,
            source: Source::Object(ObjectSource {
                program: outline.program,
                ..ObjectSource::default()
            }),
            abilities: outline.abilities,
            form: Form::PLAIN,
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
