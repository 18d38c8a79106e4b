//! Loads programs on threads of their own: a verifier that takes seconds holds up nobody but the
//! client that brought the program, and a panic in it is a refusal.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use dispatcher_abi::Engine;
use planner::{Abilities, Facts, Form, LoadId, Outline, Source, TailCall};

use crate::bpf;
use crate::kernel::{MemberMap, Staged, Template};
use crate::object::{
    Existing, ExistingMap, LoadAs, LoadRequest, Loaded, Object, ObjectError, load,
};

/// Loads of one uid at once, root's apart: each may keep a core busy for seconds.
const LOADS_PER_UID: usize = 2;
/// Room for the verifier's callers: aya parses objects on this stack.
const STACK_BYTES: usize = 4 << 20;

/// Looks at objects and loads them, and bounds both.
#[derive(Clone, Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    /// What extensions are loaded against; none where the freplace engine is missing.
    template: Option<Arc<Template>>,
    /// The kernel knows packets of several buffers.
    frags: bool,
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
    pub object: Arc<Object>,
    /// What is known of the program.
    pub outline: Outline,
    /// As what it is loaded.
    pub form: Form,
    /// Entries of maps.
    pub map_sizes: Vec<(String, u32)>,
    /// Global variables.
    pub globals: Vec<(String, crate::object::GlobalValue)>,
    /// Entries of the program's own program arrays.
    pub tail_calls: Vec<TailCall>,
    /// Whether every helper may be called.
    pub trusted: bool,
    /// Maps to be used instead of new ones.
    pub existing: Reuse,
}

/// Maps to be used instead of new ones.
#[derive(Clone, Debug)]
pub enum Reuse {
    /// Other programs': shared where name and shape agree.
    Shared(Vec<MemberMap>),
    /// The program's own, when it is loaded again.
    Own(Vec<MemberMap>),
}

impl Reuse {
    fn maps(&self) -> &[MemberMap] {
        match self {
            Self::Shared(maps) | Self::Own(maps) => maps,
        }
    }
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
    /// The freplace engine is missing.
    #[error("this daemon can't load extension programs")]
    NoTemplate,
    /// The system said no.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LoadError {
    /// The kernel looked at the program and turned it down.
    pub fn is_the_kernels(&self) -> bool {
        matches!(
            self,
            Self::Object(ObjectError::Verifier { .. } | ObjectError::Kernel { .. })
        )
    }
}

impl Loader {
    /// A loader; with a template it can load extensions, with `frags` programs for packets of several
    /// buffers.
    pub fn new(template: Option<Template>, frags: bool) -> Self {
        Self {
            shared: Arc::default(),
            template: template.map(Arc::new),
            frags,
        }
    }

    /// Looks at an object and the program in it that is asked for (`None`: the only one). `frags`:
    /// somebody says that it takes packets of several buffers, though its section may not.
    pub fn inspect(
        &self,
        uid: u32,
        bytes: Arc<Vec<u8>>,
        program: Option<String>,
        frags: bool,
    ) -> Result<(Arc<Object>, Outline), LoadError> {
        let kernel_frags = self.frags;
        self.on_its_thread(uid, move |_| {
            let object = Object::inspect(bytes)?;
            let selected = object.select(program.as_deref())?;
            let abilities = object.abilities(selected);
            let outline = Outline {
                program: selected.name.clone(),
                abilities: Abilities {
                    frags: kernel_frags && (frags || abilities.frags),
                    ..abilities
                },
            };
            Ok((Arc::new(object), outline))
        })
    }

    /// Loads a program for a user, and waits for it: for its turn too, if the user has many.
    pub fn load(&self, uid: u32, order: Order) -> Result<Ready, LoadError> {
        let template = self.template.clone();
        self.on_its_thread(uid, move |id| load_now(id, &order, template.as_deref()))
    }

    /// A panic over a stranger's bytes ends the thread, and is an error here.
    fn on_its_thread<T: Send + 'static>(
        &self,
        uid: u32,
        work: impl FnOnce(LoadId) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let _turn = Turn::take(&self.shared, uid);
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let thread = thread::Builder::new()
            .name(format!("load-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || work(LoadId(number)))
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

fn load_now(id: LoadId, order: &Order, template: Option<&Template>) -> Result<Ready, LoadError> {
    let existing: Vec<ExistingMap<'_>> = order
        .existing
        .maps()
        .iter()
        .map(|map| ExistingMap {
            name: &map.name,
            fd: map.fd.as_fd(),
        })
        .collect();
    let extends = match (order.form.engine, template) {
        (Engine::Tailcall, _) => None,
        (Engine::Freplace, Some(template)) => Some(template.function()),
        (Engine::Freplace, None) => return Err(LoadError::NoTemplate),
    };
    let loaded = load(
        &order.object,
        &LoadRequest {
            program: Some(&order.outline.program),
            map_sizes: &order.map_sizes,
            globals: &order.globals,
            tail_calls: &order.tail_calls,
            trusted: order.trusted,
            existing: match order.existing {
                Reuse::Shared(_) => Existing::Shared(&existing),
                Reuse::Own(_) => Existing::Own(&existing),
            },
            target: LoadAs {
                extends,
                frags: order.form.frags,
            },
        },
    )?;
    ready(id, order, loaded)
}

fn ready(id: LoadId, order: &Order, loaded: Loaded) -> Result<Ready, LoadError> {
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
            program_id: loaded.program_id,
            source: Source {
                sha256: order.object.digest(),
                program: loaded.program_name,
                tail_calls: order.tail_calls.clone(),
                trusted: order.trusted,
            },
            abilities: order.outline.abilities,
            form: order.form,
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
