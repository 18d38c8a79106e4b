//! Looks at objects and loads programs in processes of their own, one for each: a verifier that takes
//! seconds holds up nobody but the client that brought the program, and what a stranger's bytes do
//! to the code that reads them is a refusal.
//!
//! `keeper` keeps a small `parent` process, which hands each conversation to a `child` that it
//! has forked ahead. A child `confine`s itself, looks at one object or loads one program, and ends.
//! What they say to each other is in `wire`. Here is the daemon's side: what it keeps of an object
//! are plain facts, and what it takes from a child is checked.

mod child;
mod confine;
mod keeper;
mod parent;
mod turn;
mod wire;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dispatcher_abi::{Engine, VerdictMask};
use planner::{Abilities, Facts, Form, LoadId, ObjectSource, Obstacle, Outline, Source, TailCall};
use sha2::{Digest as _, Sha256};

pub use self::keeper::Keeper;
pub use self::parent::run as run_parent;
pub use self::wire::{RefusedKind, RefusedObject};

use self::confine::{Confinement, Rights};
use self::turn::Turns;
use self::wire::{Answer, End, Fit, HandOver, Inspected, Load, Patience, Request, WireError};
use crate::bpf::{self, ObjectKind};
use crate::kernel::{MemberMap, Staged, Template};

/// How long looking at an object may take, and a load: beyond the processor time that a child has,
/// for a busy machine.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(30);
const LOAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Most maps that a program may bring along, as the loader itself sees to.
const MAPS_MAX: usize = 256;
/// The longest name that is believed.
const NAME_BYTES_MAX: usize = 1024;

/// Whether a program of this first word is to be the loader's parent, and not the daemon.
pub fn is_parent(first: Option<&OsStr>) -> bool {
    first == Some(OsStr::new(keeper::NAME))
}

/// Looks at objects and loads them, and bounds both.
#[derive(Clone, Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    /// What extensions are loaded against; none where the freplace engine is missing.
    template: Option<Arc<Template>>,
    /// The kernel knows packets of several buffers.
    frags: bool,
}

#[derive(Debug)]
struct Shared {
    keeper: Arc<Keeper>,
    next: AtomicU64,
    turns: Turns,
}

/// The user that something is loaded for.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The user.
    pub uid: u32,
    /// Whether its programs may read the kernel's memory.
    pub trusted: bool,
    /// Its connection: when that ends, so does what is loaded for it.
    pub connection: Option<BorrowedFd<'a>>,
}

/// An object file that was looked at, and not loaded: plain bytes.
#[derive(Debug)]
pub struct Object {
    bytes: Arc<Vec<u8>>,
    digest: [u8; 32],
}

impl Object {
    /// The SHA-256 digest of the file.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is loaded, as what, and with what.
#[derive(Clone, Debug)]
pub struct LoadSpec {
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
    /// Whether every helper may be called, and the kernel's memory be read.
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
    /// The first of each name, which is the one that counts.
    fn maps(&self) -> Vec<&MemberMap> {
        let (Self::Shared(maps) | Self::Own(maps)) = self;
        let mut seen = std::collections::BTreeSet::new();
        maps.iter().filter(|map| seen.insert(&map.name)).collect()
    }
}

/// A program that was loaded, and what was learned of it.
#[derive(Debug)]
pub struct Ready {
    /// For the planner.
    pub facts: Facts,
    /// For the hands.
    pub staged: Staged,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object can't be loaded.
    #[error("{}", .0.text)]
    Object(RefusedObject),
    /// The code that reads objects failed on this one.
    #[error("the object made the loader fail: {0}")]
    Failed(String),
    /// The child ended without an answer.
    #[error("the object made the loader {0}")]
    Ended(String),
    /// The child said what no child says.
    #[error("the object made the loader answer nonsense: {0}")]
    Hostile(&'static str),
    /// The share group's maps are more than can be handed to a child.
    #[error("its share group has {0} maps, of which {max} can be used at most", max = wire::MESSAGE_FDS_MAX - 2)]
    TooManyMaps(usize),
    /// It took too long.
    #[error("the loader was not done with the object after {} seconds", .0.as_secs())]
    Late(Duration),
    /// The client hung up, so that nothing was loaded any more.
    #[error("the client is gone")]
    ClientGone,
    /// The freplace engine is missing.
    #[error("this daemon can't load extension programs")]
    NoTemplate,
    /// An extension takes `CAP_PERFMON`, which what strangers bring is loaded without.
    #[error("an extension program {}", Obstacle::Untrusted)]
    Untrusted,
    /// The loader's process ended before it was asked, and so did the one that was tried after it.
    #[error("the loader's process is gone; the daemon starts it again")]
    Gone,
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
            Self::Object(RefusedObject {
                kind: RefusedKind::Verifier | RefusedKind::Kernel,
                ..
            })
        )
    }
}

impl Loader {
    /// A loader; with a template it can load extensions, with `frags` programs for packets of several
    /// buffers.
    pub fn new(keeper: Arc<Keeper>, template: Option<Template>, frags: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                keeper,
                next: AtomicU64::new(0),
                turns: Turns::default(),
            }),
            template: template.map(Arc::new),
            frags,
        }
    }

    /// Looks at an object and the program in it that is asked for (`None`: the only one). `frags`:
    /// somebody says that it takes packets of several buffers, though its section may not.
    pub fn inspect(
        &self,
        caller: Caller<'_>,
        bytes: Arc<Vec<u8>>,
        program: Option<String>,
        frags: bool,
    ) -> Result<(Arc<Object>, Outline), LoadError> {
        let _turn = self.shared.turns.take(caller.uid);
        let memfd = memfd(&bytes)?;
        let request = Request::Inspect { program };
        let (answer, _) = self.converse(caller, Rights::None, &request, &[memfd.as_fd()])?;
        let Answer::Inspected(inspected) = answer else {
            return Err(LoadError::Hostile("not what was asked for"));
        };
        check_name(&inspected.program)?;
        let outline = Outline {
            abilities: Abilities {
                obstacle: obstacle(&inspected, caller.trusted),
                frags: self.frags && (frags || inspected.frags),
            },
            program: inspected.program,
        };
        let digest = Sha256::digest(&*bytes).into();
        Ok((Arc::new(Object { bytes, digest }), outline))
    }

    /// Loads a program for a user, and waits for it: for its turn too, if the user has many.
    pub fn load(&self, caller: Caller<'_>, spec: LoadSpec) -> Result<Ready, LoadError> {
        let _turn = self.shared.turns.take(caller.uid);
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let extends = match (spec.form.engine, self.template.as_deref()) {
            (Engine::Tailcall, _) => None,
            (Engine::Freplace, _) if !spec.trusted => return Err(LoadError::Untrusted),
            (Engine::Freplace, Some(template)) => Some(template.function()),
            (Engine::Freplace, None) => return Err(LoadError::NoTemplate),
        };
        let memfd = memfd(spec.object.bytes())?;
        let existing = spec.existing.maps();
        let fds: Vec<BorrowedFd<'_>> = [memfd.as_fd()]
            .into_iter()
            .chain(extends.map(|function| function.root))
            .chain(existing.iter().map(|map| map.fd.as_fd()))
            .collect();
        if fds.len() > wire::MESSAGE_FDS_MAX {
            return Err(LoadError::TooManyMaps(existing.len()));
        }
        let request = Request::Load(Box::new(Load {
            program: spec.outline.program.clone(),
            extends: extends.map(|function| function.type_id),
            frags: spec.form.frags,
            map_sizes: spec.map_sizes.clone(),
            globals: spec.globals.clone(),
            tail_calls: spec.tail_calls.iter().map(Into::into).collect(),
            trusted: spec.trusted,
            own: matches!(spec.existing, Reuse::Own(_)),
            existing: existing.iter().map(|map| map.name.clone()).collect(),
        }));
        let rights = if spec.trusted {
            Rights::All
        } else {
            Rights::Load
        };
        let (answer, fds) = self.converse(caller, rights, &request, &fds)?;
        let Answer::Loaded(facts) = answer else {
            return Err(LoadError::Hostile("not what was asked for"));
        };
        ready(LoadId(number), spec, facts, fds)
    }

    /// Has a child do what is asked for. If the parent ends meanwhile, or a child before it was asked,
    /// another is asked once.
    fn converse(
        &self,
        caller: Caller<'_>,
        rights: Rights,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), LoadError> {
        let again = self.converse_once(caller, rights, request, fds);
        match again {
            Err(LoadError::Gone) => self.converse_once(caller, rights, request, fds),
            answered => answered,
        }
    }

    fn converse_once(
        &self,
        caller: Caller<'_>,
        rights: Rights,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), LoadError> {
        let timeout = match rights {
            Rights::None => INSPECT_TIMEOUT,
            Rights::Load | Rights::All => LOAD_TIMEOUT,
        };
        let patience = Patience {
            deadline: Some(Instant::now() + timeout),
            client: caller.connection,
        };
        let failed = |error| match error {
            WireError::Late => LoadError::Late(timeout),
            WireError::ClientGone => LoadError::ClientGone,
            WireError::Gone => LoadError::Gone,
            WireError::Hostile(why) => LoadError::Hostile(why),
            WireError::Io(source) => LoadError::Io {
                what: "the loader can't be talked to",
                source,
            },
        };
        // The parent ends the child when this end is closed.
        let (socket, childs) = wire::pair().map_err(|source| failed(source.into()))?;
        let confinement = Confinement {
            uid: caller.uid,
            rights,
        };
        self.shared
            .keeper
            .hand_over(&HandOver { confinement }, &childs)
            .map_err(failed)?;
        drop(childs);
        match wire::send(socket.as_fd(), request, fds, patience) {
            // One that ended before has said so.
            Ok(()) | Err(WireError::Gone) => {}
            Err(error) => return Err(failed(error)),
        }
        let (answer, fds) = wire::receive(socket.as_fd(), patience).map_err(failed)?;
        match answer {
            Answer::Refused(refused) => Err(LoadError::Object(refused)),
            Answer::Failed(why) => Err(LoadError::Failed(why)),
            Answer::Ended(End::Never(errno)) => Err(LoadError::Io {
                what: "the loader can't start another process",
                source: io::Error::from_raw_os_error(errno),
            }),
            Answer::Ended(End::Exited(code)) if child::knew_of_no_request(code) => {
                Err(LoadError::Gone)
            }
            Answer::Ended(end) => Err(LoadError::Ended(end_text(end, rights))),
            Answer::Inspected(_) | Answer::Loaded(_) => Ok((answer, fds)),
        }
    }
}

/// What an object's bytes travel in.
fn memfd(bytes: &[u8]) -> Result<OwnedFd, LoadError> {
    protocol::memfd::sealed("dispatch-object", bytes).map_err(|source| LoadError::Io {
        what: "the object can't be handed to the loader",
        source,
    })
}

fn obstacle(inspected: &Inspected, trusted: bool) -> Option<Obstacle> {
    match inspected.fit {
        Fit::NoTypes => Some(Obstacle::NoTypes),
        Fit::Prototype => Some(Obstacle::Prototype),
        Fit::Fits if !trusted => Some(Obstacle::Untrusted),
        Fit::Fits => None,
    }
}

fn check_name(name: &str) -> Result<(), LoadError> {
    if name.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(LoadError::Hostile("a name without an end"))
    }
}

/// Makes of a child's answer what the daemon can rely on.
fn ready(
    id: LoadId,
    spec: LoadSpec,
    facts: wire::Facts,
    mut fds: Vec<OwnedFd>,
) -> Result<Ready, LoadError> {
    if fds.len() != facts.maps.len() + 1 || facts.maps.len() > MAPS_MAX {
        return Err(LoadError::Hostile("another number of descriptors"));
    }
    let io = |what| move |source| LoadError::Io { what, source };
    let program = fds.remove(0);
    let expected = match spec.form.engine {
        Engine::Freplace => libbpf_sys::BPF_PROG_TYPE_EXT,
        Engine::Tailcall => libbpf_sys::BPF_PROG_TYPE_XDP,
    };
    let kind = |fd: BorrowedFd<'_>| bpf::object_kind(fd).ok().flatten();
    if kind(program.as_fd()) != Some(ObjectKind::Program) {
        return Err(LoadError::Hostile("a descriptor of no program"));
    }
    let info = bpf::program_info(program.as_fd()).map_err(io("can't read a program's id"))?;
    if info.program_type != expected {
        return Err(LoadError::Hostile("a program of another type"));
    }
    let mut maps = Vec::with_capacity(fds.len());
    for (name, fd) in facts.maps.into_iter().zip(fds) {
        check_name(&name)?;
        if kind(fd.as_fd()) != Some(ObjectKind::Map) {
            return Err(LoadError::Hostile("a descriptor of no map"));
        }
        maps.push(MemberMap {
            name,
            info: bpf::map_info(fd.as_fd()).map_err(io("can't read a map's shape"))?,
            fd: Arc::new(fd),
        });
    }
    Ok(Ready {
        facts: Facts {
            load: id,
            program_id: info.id,
            source: Source::Object(ObjectSource {
                map_sizes: spec.map_sizes,
                globals: spec.globals.into_iter().map(global).collect(),
                sha256: spec.object.digest(),
                program: spec.outline.program,
                tail_calls: spec.tail_calls,
                trusted: spec.trusted,
            }),
            abilities: spec.outline.abilities,
            form: spec.form,
            has_program_array: facts.has_program_array,
            priority: facts.priority,
            chain_call: facts.chain_call.map(VerdictMask::from_bits),
            replaces: None,
        },
        staged: Staged {
            program: Arc::new(program),
            maps: Arc::new(maps),
        },
    })
}

/// A variable's value, in the planner's words.
fn global((name, value): (String, crate::object::GlobalValue)) -> (String, planner::GlobalValue) {
    let value = match value {
        crate::object::GlobalValue::Integer(value) => planner::GlobalValue::Integer(value),
        crate::object::GlobalValue::Bytes(bytes) => planner::GlobalValue::Bytes(bytes),
    };
    (name, value)
}

/// What an end without an answer says of the object.
fn end_text(end: End, rights: Rights) -> String {
    use nix::libc::{SIGABRT, SIGKILL, SIGVTALRM, SIGXCPU};
    match end {
        End::Late(seconds) => format!("use {seconds} seconds of processor time or more"),
        End::Signalled(SIGXCPU) => {
            let seconds = rights.seconds();
            format!("use {seconds} seconds of processor time or more")
        }
        End::Signalled(SIGVTALRM) => {
            "use more processor time than reading an object may take (1.5 seconds)".to_owned()
        }
        End::Signalled(SIGABRT) => {
            "give up: it takes more memory than a load may (512 MiB)".to_owned()
        }
        End::Signalled(SIGKILL) => "be killed: the system may be short of memory".to_owned(),
        End::Signalled(signal) => format!("crash (signal {signal})"),
        End::Exited(code) => format!("end without an answer (exit code {code})"),
        End::Never(_) => "not start".to_owned(),
    }
}

#[cfg(test)]
mod tests;
