//! What everybody may read at any time: the engine publishes it after each change, and a reader
//! never waits for a load or a swap.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use planner::{ChainId, ChainKey, Claim, MemberId, SocketKey, State, Unreadable};

use crate::kernel::{ChainCounters, MemberMap};

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
    /// Chains that can't be read: they run, and nothing of them is changed.
    pub unreadable: Arc<[Unreadable]>,
}

impl Published {
    /// The chain that this interface may run and that can't be read.
    pub fn unreadable(&self, key: ChainKey) -> Option<&Unreadable> {
        let mut all = self.unreadable.iter();
        let found = all.find(|chain| chain.concerns(key))?;
        // Where another chain is known, this is a former one beside the one that runs.
        self.state.at(key).is_none().then_some(found)
    }
}

/// A queue that is somebody's, and a socket on it.
#[derive(Debug)]
pub struct PublishedSocket {
    /// Which, on which queue.
    pub key: SocketKey,
    /// Whose.
    pub claim: Claim,
    /// Not kept open by who reads this: that would keep the queue busy.
    pub socket: Weak<OwnedFd>,
    /// Whether packets are not copied.
    pub zero_copy: bool,
}

/// Where the engine puts it and the sessions find it.
#[derive(Clone, Debug)]
pub struct Board(Arc<RwLock<Arc<Published>>>);

impl Board {
    /// A board that shows this.
    pub fn new(first: Published) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(first))))
    }

    /// What is shown now.
    pub fn read(&self) -> Arc<Published> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows something newer.
    pub fn publish(&self, newer: Published) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
    }
}
