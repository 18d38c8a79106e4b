//! Loads programs on threads of their own: a verifier that takes seconds holds up nobody but the
//! client that brought the program, and a panic in it is a refusal.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use planner::{Facts, LoadId};

use crate::bpf;
use crate::kernel::{MemberMap, Staged};
use crate::object::{ExistingMap, LoadRequest, Loaded, Object, ObjectError, load};

/// Loads of one uid at once, root's apart: each may keep a core busy for seconds.
const LOADS_PER_UID: usize = 2;
/// Room for the verifier's callers: aya parses objects on this stack.
const STACK_BYTES: usize = 4 << 20;

/// Starts loads, and bounds them.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    running: Mutex<BTreeMap<u32, usize>>,
    ended: Condvar,
}

/// What a load is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The object.
    pub bytes: Arc<Vec<u8>>,
    /// The program's function; `None`: the only one.
    pub program: Option<String>,
    /// Entries of maps.
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables.
    pub globals: Vec<(String, crate::object::GlobalValue)>,
    /// Entries of the program's own program arrays.
    pub tail_calls: Vec<crate::object::TailCall>,
    /// Whether every helper may be called.
    pub trusted: bool,
    /// Maps to be used instead of new ones.
    pub existing: Vec<MemberMap>,
}

/// A program that was loaded, and what was learned of it.
#[derive(Debug)]
pub struct Ready {
    /// For the planner.
    pub facts: Facts,
    /// For the engine.
    pub staged: Staged,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object can't be loaded.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The loader itself failed on this object.
    #[error("the object made the loader fail: {0}")]
    Panicked(String),
    /// The system said no.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Loader {
    /// Loads a program for a user, and waits for it: for its turn too, if the user has many.
    pub fn load(&self, uid: u32, order: Order) -> Result<Ready, LoadError> {
        let _turn = Turn::take(&self.shared, uid);
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let thread = thread::Builder::new()
            .name(format!("load-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || load_now(LoadId(number), &order))
            .map_err(|source| LoadError::Io {
                what: "can't start a loader thread",
                source,
            })?;
        thread
            .join()
            .unwrap_or_else(|panic| Err(LoadError::Panicked(panic_text(&*panic))))
    }
}

/// One of a user's turns to load.
struct Turn<'a> {
    shared: &'a Shared,
    uid: u32,
}

impl<'a> Turn<'a> {
    fn take(shared: &'a Shared, uid: u32) -> Self {
        let running = shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut running = shared
            .ended
            .wait_while(running, |running| {
                uid != 0
                    && running
                        .get(&uid)
                        .is_some_and(|loads| *loads >= LOADS_PER_UID)
            })
            .unwrap_or_else(PoisonError::into_inner);
        *running.entry(uid).or_default() += 1;
        Self { shared, uid }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self
            .shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(loads) = running.get_mut(&self.uid) {
            *loads -= 1;
            if *loads == 0 {
                running.remove(&self.uid);
            }
        }
        self.shared.ended.notify_all();
    }
}

fn load_now(id: LoadId, order: &Order) -> Result<Ready, LoadError> {
    let existing: Vec<ExistingMap<'_>> = order
        .existing
        .iter()
        .map(|map| ExistingMap {
            name: &map.name,
            fd: map.fd.as_fd(),
        })
        .collect();
    let object = Object::inspect(order.bytes.as_ref().clone())?;
    let loaded = load(
        &object,
        &LoadRequest {
            program: order.program.as_deref(),
            map_sizes: &order.map_sizes,
            globals: &order.globals,
            tail_calls: &order.tail_calls,
            trusted: order.trusted,
            existing: &existing,
        },
    )?;
    ready(id, loaded)
}

fn ready(id: LoadId, loaded: Loaded) -> Result<Ready, LoadError> {
    let maps = loaded
        .maps
        .into_iter()
        .map(|map| member_map(map.name, map.fd))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|source| LoadError::Io {
            what: "can't read a map's shape",
            source,
        })?;
    Ok(Ready {
        facts: Facts {
            load: id,
            program: loaded.program_name,
            program_id: loaded.program_id,
            sha256: loaded.sha256,
            has_program_array: loaded.has_program_array,
            priority: loaded.priority,
            chain_call: loaded.chain_call,
            replaces: None,
        },
        staged: Staged {
            program: Arc::new(loaded.program),
            maps: Arc::new(maps),
        },
    })
}

fn member_map(name: String, fd: OwnedFd) -> io::Result<MemberMap> {
    let info = bpf::map_info(fd.as_fd())?;
    Ok(MemberMap {
        name,
        fd: Arc::new(fd),
        info,
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic".to_owned())
}
