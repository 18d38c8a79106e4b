//! What requests brought, for as long as they aren't answered: the controller knows it by number.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::RequestId;
use planner::{Digest, LoadId, SocketKey};

use crate::kernel::Staged;
use crate::loader::Object;
use crate::object::GlobalValue;
use crate::sockets::Held;

/// What one request brought.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The client's user.
    pub uid: u32,
    /// The client's connection, if something is loaded for it: when that ends, so does the load.
    pub connection: Option<Arc<OwnedFd>>,
    /// The interface's name, for messages.
    pub interface: String,
    /// How many receive queues the interface has, if that matters and is known.
    pub queues: Option<u32>,
    /// The namespace of the interface, if the request named one.
    pub namespace: Option<Arc<OwnedFd>>,
    /// What its operations load, in their order.
    pub loads: Vec<Bringing>,
    /// A socket that is the daemon's to keep once the request is granted.
    pub socket: Option<(SocketKey, Held)>,
}

/// An object, and how a program of it is loaded.
#[derive(Clone, Debug)]
pub struct Bringing {
    /// The object.
    pub object: Arc<Object>,
    /// Entries of maps.
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables.
    pub globals: Vec<(String, GlobalValue)>,
    /// Entries of the program's own program arrays.
    pub tail_calls: Vec<planner::TailCall>,
}

/// What requests brought, and what was loaded for them.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<BTreeMap<RequestId, Lying>>>);

#[derive(Debug)]
struct Lying {
    brought: Brought,
    staged: BTreeMap<LoadId, Staged>,
}

impl Desk {
    /// Lays down what a request brought.
    pub fn put(&self, id: RequestId, brought: Brought) {
        let staged = BTreeMap::new();
        self.lying().insert(id, Lying { brought, staged });
    }

    /// Clears away what a request brought, and what was loaded for it and nobody runs.
    pub fn clear(&self, id: RequestId) {
        // Closed without the lock: the last descriptor of a program frees it.
        let cleared = self.lying().remove(&id);
        drop(cleared);
    }

    /// What a request brought; `None` once it was answered or given up.
    pub fn brought(&self, id: RequestId) -> Option<Brought> {
        self.lying().get(&id).map(|lying| lying.brought.clone())
    }

    /// The namespace that a request brought.
    pub fn namespace(&self, id: RequestId) -> Option<Arc<OwnedFd>> {
        let lying = self.lying();
        lying.get(&id)?.brought.namespace.clone()
    }

    /// The object of this digest that a request brought.
    pub fn object(&self, id: RequestId, digest: &Digest) -> Option<Arc<Object>> {
        let lying = self.lying();
        let loads = &lying.get(&id)?.brought.loads;
        let found = loads.iter().find(|load| load.object.digest() == *digest)?;
        Some(Arc::clone(&found.object))
    }

    /// Keeps a program that was loaded for a request.
    pub fn stage(&self, id: RequestId, load: LoadId, staged: Staged) {
        if let Some(lying) = self.lying().get_mut(&id) {
            lying.staged.insert(load, staged);
        }
    }

    /// What was loaded for a request.
    pub fn staged(&self, id: RequestId) -> BTreeMap<LoadId, Staged> {
        let lying = self.lying();
        lying
            .get(&id)
            .map(|lying| lying.staged.clone())
            .unwrap_or_default()
    }

    fn lying(&self) -> MutexGuard<'_, BTreeMap<RequestId, Lying>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
