//! Putting a chain back on its hook.

use crate::{Chain, ChainId, Commit, Plan, Standing, State};

/// What attaches a chain again whose interface is there and whose hook is not ours any more: the
/// build that ran, as it was. `None` if there is no such chain.
///
/// A detached `bpf_link` can't be used again, so this makes a new one.
pub fn rearm(state: &State, chain: ChainId) -> Option<Plan> {
    let found = state.chains.get(&chain)?;
    Some(Plan {
        chain,
        dir: found.dir,
        site: found.interface.key,
        interface: found.interface.name.clone(),
        build: found.build,
        prepare: Vec::new(),
        commit: Commit::Attach {
            build: found.build,
            mode: found.mode,
        },
        cleanup: Vec::new(),
        next: Some(Chain {
            standing: Standing::InForce,
            ..found.clone()
        }),
        reloads: Vec::new(),
        removes: Vec::new(),
    })
}
