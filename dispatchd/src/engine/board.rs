//! What the engine publishes.

use std::collections::BTreeMap;
use std::sync::Arc;

use planner::{State, Unreadable};

use super::sockets::Sockets;
use crate::kernel::Linux;
use crate::published::Published;

/// What everybody may read now.
pub(super) fn published(
    kernel: &Linux,
    state: State,
    sockets: &Sockets,
    unreadable: Arc<[Unreadable]>,
) -> Published {
    let mut counters = BTreeMap::new();
    let mut maps = BTreeMap::new();
    for (key, chain) in &state.chains {
        counters.insert(*key, kernel.counters(chain.dir, chain.build));
        for member in &chain.members {
            maps.insert(member.id, kernel.maps(chain.dir, member.id, member.code));
        }
    }
    Published {
        state,
        counters,
        maps,
        sockets: sockets.published(),
        unreadable,
    }
}
