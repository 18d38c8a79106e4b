//! Looking after the chains: interfaces go, links are detached by others, members miss packets.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use dispatcher_abi::Count;
use planner::ChainKey;

use super::Engine;
use crate::kernel::{ChainCounters, KernelError, KernelErrorKind, Repinned, netns};
use crate::unreadable;

impl Engine {
    /// Looks at every hook: an interface may be gone, or somebody may have detached our link.
    pub(super) fn sweep(&mut self) {
        let chains = self.state.chains.values();
        let keys: Vec<ChainKey> = chains.map(|chain| chain.interface.key).collect();
        for key in keys {
            match self.check_hook(key, None) {
                Ok(()) => {
                    self.troubled.remove(&key);
                }
                // Tried again with each sweep, and said once.
                Err(error) => {
                    if self.troubled.insert(key) {
                        tracing::error!(chain = %key, %error, source = %error.source, "the chain is not on its interface");
                    }
                }
            }
        }
        self.pin_again();
        self.warn_of_misses();
        self.expire_sockets(Instant::now());
        self.sockets_without_interface();
        self.drop_idle_redirects();
    }

    /// Pins that somebody removed by hand are needed after the daemon's end.
    fn pin_again(&mut self) {
        let mut odd = BTreeMap::new();
        for chain in self.state.chains.values() {
            let interface = &chain.interface.name;
            let Repinned { pinned, faults } = self.kernel.repin(chain.dir);
            for pin in pinned {
                tracing::warn!(%interface, chain = %chain.dir, %pin, "somebody removed a pin; pinned it again");
            }
            if self.odd_pins.get(&chain.dir) != Some(&faults) {
                for why in &faults {
                    let why = unreadable::why(why);
                    tracing::error!(%interface, chain = %chain.dir, %why, "a pin is not what it should be: the next daemon will not find it");
                }
            }
            odd.insert(chain.dir, faults);
        }
        self.odd_pins = odd;
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

    /// Makes sure that a chain is on its interface: attaches it again if somebody detached it, and
    /// takes it away only if the interface is certainly gone. `namespace` is where it may be.
    pub(super) fn check_hook(
        &mut self,
        key: ChainKey,
        namespace: Option<&Arc<OwnedFd>>,
    ) -> Result<(), KernelError> {
        let Some(chain) = self.state.at(key).cloned() else {
            return Ok(());
        };
        if self.kernel.is_attached(chain.dir)? {
            return Ok(());
        }
        let interface = &chain.interface.name;
        let found = find_namespace(key, namespace).map_err(|source| KernelError {
            call: "setns",
            subject: format!("the network namespace of {interface}"),
            kind: KernelErrorKind::Failed,
            source,
        })?;
        let (Some(namespace), Some(plan)) = (found, planner::rearm(&self.state, chain.id)) else {
            tracing::warn!(%interface, chain = %key, "the interface is gone, and its chain with it");
            self.sockets_of_interface_gone(key);
            self.remove_all(&chain);
            return Ok(());
        };
        if !self.troubled.contains(&key) {
            tracing::warn!(%interface, "somebody detached the chain from its interface; attaching it again");
        }
        self.kernel.lend(namespace, BTreeMap::new());
        let attached = self.execute(&plan);
        self.kernel.take_back();
        attached
    }
}

/// The namespace of a chain, if it still has the interface. `None`: the interface is gone, or no
/// process and no name keeps its namespace. An error: it can't be told.
fn find_namespace(
    key: ChainKey,
    likely: Option<&Arc<OwnedFd>>,
) -> io::Result<Option<Arc<OwnedFd>>> {
    let mut unknown = None;
    let own = netns::own()?;
    let all = netns::everywhere().map(Arc::new);
    for namespace in likely
        .cloned()
        .into_iter()
        .chain([Arc::new(own)])
        .chain(all)
    {
        match netns::has_interface(namespace.as_fd(), key) {
            Ok(Some(true)) => return Ok(Some(namespace)),
            Ok(Some(false)) => return Ok(None),
            Ok(None) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(None), Err)
}
