//! Looking after the chains: interfaces go, links are detached by others, members miss packets.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use dispatcher_abi::Count;
use planner::{Chain, ChainKey};

use super::Engine;
use crate::kernel::{ChainCounters, netns};

impl Engine {
    /// Looks at every hook: an interface may be gone, or somebody may have detached our link.
    pub(super) fn sweep(&mut self) {
        let keys: Vec<ChainKey> = self.state.chains.keys().copied().collect();
        for key in keys {
            self.check_hook(key);
        }
        self.warn_of_misses();
    }

    /// A member that did not run is never passed over in silence.
    fn warn_of_misses(&mut self) {
        let published = self.board.read();
        let mut missed = BTreeMap::new();
        for (key, chain) in &published.state.chains {
            let counts = published.counters.get(key).map(ChainCounters::read);
            let Some(Ok(counts)) = counts else {
                continue;
            };
            for member in &chain.members {
                let now = counts
                    .get(&member.id)
                    .map_or(0, |counts| counts.get(Count::Missed));
                let before = self.missed.get(&member.id).copied().unwrap_or_default();
                if now > before {
                    tracing::warn!(
                        interface = %chain.interface.name,
                        member = %member.name,
                        packets = now - before,
                        "a member did not run: the packet's tail calls were spent, or its array entry is gone",
                    );
                }
                missed.insert(member.id, now);
            }
        }
        self.missed = missed;
    }

    pub(super) fn check_hook(&mut self, key: ChainKey) {
        if self.kernel.is_attached(key) {
            return;
        }
        let Some(chain) = self.state.chains.get(&key).cloned() else {
            return;
        };
        let interface = &chain.interface.name;
        if let Some(namespace) = namespace_of(&chain)
            && let Some(plan) = planner::rearm(&self.state, key)
        {
            tracing::warn!(%interface, "somebody detached the chain from its interface; attaching it again");
            self.kernel.lend(Arc::new(namespace), BTreeMap::new());
            let result = self.execute(&plan);
            self.kernel.take_back();
            match result {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%interface, %error, source = %error.source, "the chain could not be attached again");
                }
            }
        } else {
            tracing::warn!(%interface, chain = %key, "the interface is gone, and its chain with it");
        }
        self.remove_all(&chain);
    }
}

/// The namespace that a chain's interface is in, if it can be found and still has the interface.
fn namespace_of(chain: &Chain) -> Option<OwnedFd> {
    let own = netns::own().ok();
    let named = chain
        .interface
        .netns_name
        .as_ref()
        .and_then(|name| File::open(Path::new("/run/netns").join(name)).ok())
        .map(OwnedFd::from);
    own.into_iter().chain(named).find(|namespace| {
        netns::has_interface(namespace.as_fd(), chain.interface.key).unwrap_or(false)
    })
}
