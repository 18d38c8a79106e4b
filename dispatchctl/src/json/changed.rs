//! What a change did.

use libdispatch::Registered;
use serde::Serialize;

use super::{document, texts};
use crate::changing::ChangedOn;

/// One interface's change is the document; several are a list in it.
pub(crate) fn changes(outcomes: &[ChangedOn], dry_run: bool) -> String {
    let view = |outcome| ChangedView::new(outcome, dry_run);
    match outcomes {
        [outcome] => document(&view(outcome)),
        several => document(&ChangesView {
            changes: several.iter().map(view).collect(),
        }),
    }
}

#[derive(Serialize)]
struct ChangesView<'a> {
    changes: Vec<ChangedView<'a>>,
}

#[derive(Serialize)]
struct ChangedView<'a> {
    interface: &'a str,
    dry_run: bool,
    chain: u64,
    generation: u64,
    build: u64,
    mode: Option<&'static str>,
    notes: Vec<String>,
    members: Vec<RegisteredView<'a>>,
    plan: Vec<String>,
    reloads: &'a [String],
}

impl<'a> ChangedView<'a> {
    fn new(outcome: &'a ChangedOn, dry_run: bool) -> Self {
        let changed = &outcome.changed;
        Self {
            interface: &outcome.interface,
            dry_run,
            chain: changed.chain,
            generation: changed.revision,
            build: changed.build,
            mode: changed.mode.map(libdispatch::Mode::name),
            notes: texts(&changed.notes),
            members: changed.members.iter().map(RegisteredView::from).collect(),
            plan: texts(&changed.plan),
            reloads: &changed.reloads,
        }
    }
}

#[derive(Serialize)]
struct RegisteredView<'a> {
    name: &'a str,
    id: u64,
    slot: u16,
    program_id: Option<u32>,
    engine: &'static str,
    taken_up: bool,
}

impl<'a> From<&'a Registered> for RegisteredView<'a> {
    fn from(member: &'a Registered) -> Self {
        Self {
            name: &member.name,
            id: member.id,
            slot: member.slot,
            program_id: member.program_id,
            engine: member.engine.name(),
            taken_up: member.taken_up,
        }
    }
}
