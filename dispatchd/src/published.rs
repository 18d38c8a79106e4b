//! What everybody may read at any time: the controller publishes it after each change, and a reader
//! never waits for a load or a swap.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use planner::{ChainDir, ChainId, Lease, MemberId, Moment, SocketKey, State};

use crate::kernel::{ChainCounters, ChainView, MemberMap};
use crate::sockets::Sockets;

/// The state as of the last change.
#[derive(Debug)]
pub struct Published {
    /// Every chain.
    pub state: State,
    /// Where each chain's counts are found.
    pub counters: BTreeMap<ChainId, ChainCounters>,
    /// Every member's maps.
    pub maps: BTreeMap<MemberId, Arc<Vec<MemberMap>>>,
    /// Every socket on a queue that is somebody's.
    pub sockets: Vec<PublishedSocket>,
}

/// A queue that is somebody's, and a socket on it.
#[derive(Debug)]
pub struct PublishedSocket {
    /// The socket, and its queue.
    pub key: SocketKey,
    /// Its client, and what it is doing.
    pub lease: Lease,
    /// Not kept open by readers: that would keep the queue busy.
    pub socket: Weak<OwnedFd>,
    /// Whether packets are not copied.
    pub zero_copy: bool,
}

impl Published {
    /// The state, with the descriptors that go with it.
    pub fn new(state: State, shelf: &Shelf, sockets: &Sockets) -> Self {
        let views = shelf.views();
        let mut counters = BTreeMap::new();
        let mut maps = BTreeMap::new();
        for (id, chain) in &state.chains {
            let Some(view) = views.get(&chain.dir) else {
                continue;
            };
            counters.insert(*id, view.counters(chain.build));
            for member in &chain.members {
                maps.insert(member.id, view.maps(member.id, member.code));
            }
        }
        let leases = state.leases.iter().map(|(key, lease)| {
            let held = sockets.get(key);
            PublishedSocket {
                key,
                lease: lease.clone(),
                socket: held
                    .as_ref()
                    .map_or_else(Weak::new, |held| Arc::downgrade(&held.socket)),
                zero_copy: held.is_some_and(|held| held.zero_copy),
            }
        });
        let sockets = leases.collect();
        Self {
            state,
            counters,
            maps,
            sockets,
        }
    }
}

/// Where the thread that holds the chains' descriptors shows what others may read by them.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<ChainDir, ChainView>>>);

impl Shelf {
    /// Shows a chain; `None` once it is gone.
    pub fn show(&self, dir: ChainDir, view: Option<ChainView>) {
        let former = match view {
            Some(view) => self.views().insert(dir, view),
            None => self.views().remove(&dir),
        };
        drop(former);
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<ChainDir, ChainView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the controller puts what is published and the sessions find it.
#[derive(Clone, Debug)]
pub struct Board {
    shown: Arc<RwLock<Arc<Published>>>,
    /// When it was last seen what each chain's hook runs: too often to publish all for it.
    looks: Arc<Mutex<BTreeMap<ChainId, Moment>>>,
}

impl Board {
    /// A board that shows this.
    pub fn new(first: Published) -> Self {
        Self {
            shown: Arc::new(RwLock::new(Arc::new(first))),
            looks: Arc::default(),
        }
    }

    /// What is shown now.
    pub fn read(&self) -> Arc<Published> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows something newer.
    pub fn publish(&self, newer: Published) {
        let chains = &newer.state.chains;
        self.looks().retain(|chain, _| chains.contains_key(chain));
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
    }

    /// Shows when it was last seen what a chain's hook runs.
    pub fn show_look(&self, chain: ChainId, at: Moment) {
        self.looks().insert(chain, at);
    }

    /// When it was last seen what a chain's hook runs.
    pub fn last_look(&self, chain: ChainId) -> Option<Moment> {
        self.looks().get(&chain).copied()
    }

    fn looks(&self) -> MutexGuard<'_, BTreeMap<ChainId, Moment>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
