//! What can be refused before an object is loaded.

use crate::draft::Draft;
use crate::{Authority, Change, Refusal, State};

/// Turns a change down for everything that is known before its objects are loaded, so that the
/// loader works only for changes that can succeed. [`decide`](crate::decide) has the last word.
///
/// The operations are tried on a copy of the chain, as `decide` does, with nothing known of the
/// objects and hoping for the best.
pub fn admit(state: &State, authority: &Authority, change: &Change) -> Result<(), Refusal> {
    let mut draft = Draft::open(state, authority, change)?;
    for operation in &change.operations {
        match draft.apply(operation, None) {
            // An object may turn out to have that name.
            Err(Refusal::NoSuchMember { .. } | Refusal::OrderIncomplete { .. })
                if draft.has_unnamed() =>
            {
                return Ok(());
            }
            applied => applied?,
        }
    }
    draft.finish(true).map(drop)
}
