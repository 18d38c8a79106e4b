//! Putting a chain back on its hook.

use crate::{ChainKey, Commit, Plan, State};

/// What attaches a chain again whose interface is there and whose hook is not ours any more: the
/// generation that ran, as it was. `None` if there is no such chain.
///
/// A detached `bpf_link` can't be used again, so this makes a new one.
pub fn rearm(state: &State, chain: ChainKey) -> Option<Plan> {
    let found = state.chains.get(&chain)?;
    Some(Plan {
        chain,
        interface: found.interface.name.clone(),
        generation: found.generation,
        prepare: Vec::new(),
        commit: Commit::Attach {
            generation: found.generation,
            mode: found.mode,
        },
        cleanup: Vec::new(),
        next: Some(found.clone()),
        reloads: Vec::new(),
        removes: Vec::new(),
    })
}
