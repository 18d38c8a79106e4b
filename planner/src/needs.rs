//! What has to be loaded before a change can be decided.

use crate::draft::Draft;
use crate::{
    Authority, Change, CodeId, Facts, Form, LoadId, MemberId, Outline, Refusal, Source, State,
};

/// What a change needs loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// As what each object of the change is loaded, in the order of the operations that take one.
    pub forms: Vec<Form>,
    /// Members whose code has to be loaded again, as something else.
    pub reloads: Vec<Reload>,
}

/// A member's code that has to be loaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The member.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// The code that it runs now.
    pub code: CodeId,
    /// From what.
    pub source: Source,
    /// What its code can be loaded as.
    pub outline: Outline,
    /// As what.
    pub form: Form,
}

/// Works out what a change needs loaded. `outlines` are those of the operations that take an
/// object, in their order.
///
/// A chain all of whose members take packets of several buffers may still run as one that doesn't,
/// since its tail-called members were loaded so: with `upgrade` they are loaded again, without it
/// they stay as they are.
pub fn needs(
    state: &State,
    authority: &Authority,
    change: &Change,
    outlines: &[Outline],
    upgrade: bool,
) -> Result<Needs, Refusal> {
    assert_eq!(outlines.len(), change.loads(), "one for each object");
    let facts = (0..)
        .map(LoadId)
        .zip(outlines)
        .map(|(load, outline)| Facts::outlined(load, outline.clone()))
        .collect::<Vec<_>>();
    let mut draft = Draft::open(state, authority, change)?;
    draft.apply_all(change, &facts)?;
    let outcome = draft.finish(upgrade)?;
    let mut needs = Needs {
        forms: facts.iter().map(|facts| facts.form).collect(),
        reloads: Vec::new(),
    };
    for (member, form) in outcome.after.members.iter().zip(outcome.forms) {
        match outcome.fresh.get(&member.id) {
            Some(LoadId(load)) => {
                if let Some(wanted) = usize::try_from(*load)
                    .ok()
                    .and_then(|load| needs.forms.get_mut(load))
                {
                    *wanted = form;
                }
            }
            None if member.form != form => needs.reloads.push(Reload {
                member: member.id,
                name: member.name.clone(),
                code: member.code,
                source: member.source.clone(),
                outline: Outline {
                    program: member.source.program().to_owned(),
                    abilities: member.abilities,
                },
                form,
            }),
            None => {}
        }
    }
    Ok(needs)
}
