//! Puts the daemon together, and takes it apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use controller::{Controller, Event, Setup};
use dispatcher_abi::EngineChoice;
use nix::sys::signal::{SigSet, Signal};
use planner::{Call, Digest, Engines, Lease, Moment, QueueKey, Recovery, Start};
use protocol::{Listener, with_causes};

use crate::args::Args;
use crate::bug;
use crate::control::{self, Control, Message};
use crate::desk::Desk;
use crate::hands::{Hands, Misses};
use crate::kernel::{self, KernelError, Linux, OpenError, RedirectMaps, Remnants, netns};
use crate::load_job::LoadJobs;
use crate::loader::{Keeper, Loader};
use crate::object_store::ObjectStore;
use crate::probe;
use crate::published::{Board, Published, Shelf};
use crate::server;
use crate::session::Hub;
use crate::sockets::{self, Sockets};
use crate::translate;
use crate::unreadable;

/// Events that may wait for the controller before their senders do.
const EVENTS_WAITING: usize = 256;

/// Why the daemon can't run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Pins(#[from] OpenError),
    #[error("what is pinned can't be read")]
    Observe(#[from] KernelError),
    #[error("no engine can be used: freplace: {freplace}; tail calls: {tailcall}")]
    NoEngine { freplace: String, tailcall: String },
    #[error("--engine freplace: {0}")]
    NoFreplace(String),
    #[error("objects in {path}")]
    Objects { path: PathBuf, source: io::Error },
    #[error("socket {path}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("signals")]
    Signals(#[source] nix::Error),
    #[error("the loader's process")]
    Loader(#[source] io::Error),
    #[error("thread")]
    Thread(#[source] io::Error),
}

/// Runs the daemon until it is told to stop.
pub fn run(args: &Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), StartError> {
    bug::end_process();
    let signals = stop_signals();
    // Before any thread starts, so that every thread has them blocked.
    signals.thread_block().map_err(StartError::Signals)?;

    raise_descriptor_limit();
    // Before there are threads and memory that it would have to be copied from.
    let keeper = Keeper::start().map_err(StartError::Loader)?;
    let kernel = Linux::open(&args.bpffs)?;
    let pins = Arc::new(kernel.pins().clone());
    let (probes, template) = probe::probe(args.engine);
    log_probe("tailcall", &probes.tailcall);
    log_probe("freplace", &probes.freplace);
    if let (EngineChoice::Freplace, Err(reason)) = (args.engine, &probes.freplace) {
        return Err(StartError::NoFreplace(probe::said(reason)));
    }
    if let (Err(freplace), Err(tailcall)) = (&probes.freplace, &probes.tailcall) {
        return Err(StartError::NoEngine {
            freplace: probe::said(freplace),
            tailcall: probe::said(tailcall),
        });
    }
    let objects = objects_of(&args.socket)?;
    let policy = args.policy();
    let listener_is_roots = policy.levels.is_empty();
    let frags = kernel::probe_frags();
    let loader = Loader::new(keeper, template, frags);
    let (told, inbox) = sync_channel(EVENTS_WAITING);
    let setup = Setup {
        policy: policy.clone(),
        frags,
        pid: std::process::id(),
        objects: kept_objects(&objects),
    };
    let running = start(
        kernel,
        &objects,
        &loader,
        (told.clone(), inbox),
        (setup, probes.engines(), args.restart_linger_ms()),
    )?;

    let listener = listen(&args.socket, listener_is_roots)?;
    tracing::info!(socket = %args.socket.display(), "ready");
    let hub = Hub {
        told: told.clone(),
        board: running.board,
        desk: running.desk,
        sockets: running.sockets,
        requests: Arc::default(),
        loader,
        policy: Arc::new(policy),
        probes: Arc::new(probes),
        pins,
        started: Instant::now(),
    };
    let listener = Arc::new(listener);
    let accepting = Arc::clone(&listener);
    let server = spawn("server", move || server::run(&accepting, &hub))?;

    let signal = signals.wait().map_err(StartError::Signals)?;
    tracing::info!(%signal, "stopping");
    let stop = Event::Stop {
        detach: args.detach_on_exit,
    };
    // The controller runs until it is told, or it would have ended the process.
    let _ = told.send(Message::Event(stop));
    let _ = running.controller.join();
    // Wakes the server's `accept`, so that the socket's path goes with the last of its owners.
    let _ = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Both);
    let _ = server.join();
    Ok(())
}

/// What runs once the daemon is put together.
struct Running {
    board: Board,
    desk: Desk,
    sockets: Sockets,
    controller: thread::JoinHandle<()>,
}

/// Finds what is pinned, compares it with what runs, and starts the threads that go on from there.
fn start(
    mut kernel: Linux,
    objects: &ObjectStore,
    loader: &Loader,
    (told, inbox): (SyncSender<Message>, Receiver<Message>),
    (setup, engines, linger_ms): (Setup, Engines, u32),
) -> Result<Running, StartError> {
    let observed = kernel.observe()?;
    let start = Start {
        now: control::now(),
        linger_ms,
    };
    let mut recovery = planner::reconcile(&observed, engines, start);
    take_over(&mut kernel, &mut recovery);
    let shelf = Shelf::default();
    for dir in kernel.dirs() {
        shelf.show(dir, kernel.view(dir));
    }
    let sockets = Sockets::default();
    let desk = Desk::default();
    let leases = recorded_sockets(&kernel, &recovery, start.until(0));
    let (controller, first) = Controller::start(recovery, leases, setup, control::now());
    let board = Board::new(Published::new(controller.state().clone(), &shelf, &sockets));
    let (hands, jobs) = channel();
    let remnants = Remnants::new().map_err(|source| KernelError {
        call: Call::EpollCreate,
        subject: "the sockets that are given back".to_owned(),
        kind: planner::FailureKind::Failed,
        source,
    })?;
    let loads = LoadJobs {
        loader: loader.clone(),
        desk: desk.clone(),
        objects: objects.clone(),
        board: board.clone(),
    };
    let working = Hands {
        kernel,
        desk: desk.clone(),
        objects: objects.clone(),
        sockets: sockets.clone(),
        shelf: shelf.clone(),
        board: board.clone(),
        misses: Misses::default(),
        odd_pins: BTreeMap::new(),
    };
    let done = told.clone();
    spawn("hands", move || working.run(&jobs, &done))?;
    let (ready, is_ready) = sync_channel(1);
    let control = Control {
        controller,
        hands,
        loads,
        told,
        desk: desk.clone(),
        sockets: sockets.clone(),
        remnants,
        shelf,
        board: board.clone(),
        replies: BTreeMap::new(),
        ready: Some(ready),
    };

    let controller = spawn("controller", move || control.run(first, &inbox))?;
    // Whoever connects finds the chains as they are. It ends early only with the process.
    let _ = is_ready.recv();
    Ok(Running {
        board,
        desk,
        sockets,
        controller,
    })
}

/// Says what can't be read, and makes the pins of the chains that run whole. What can't be mended
/// stays in `recovery`.
fn take_over(kernel: &mut Linux, recovery: &mut Recovery) {
    for chain in &mut recovery.unreadable {
        // A registry has the name that the interface had then. Without either it is called as its
        // directory.
        let found = netns::describe(chain.site).ok().flatten();
        chain.interface = found.or(chain.interface.take());
        let interface = chain.interface.as_ref().map(|found| &*found.name);
        let why = translate::why(&chain.why);
        tracing::error!(chain = %chain.dir, interface, %why, "this chain can't be read: it runs on and is not changed");
        kernel.forget(chain.dir);
    }
    recovery.mends.retain(|(chain, step)| {
        let what = unreadable::mend(step);
        match kernel.mend(*chain, step) {
            Ok(()) => tracing::warn!(%chain, %what, "mended a chain's pins"),
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(%chain, %what, %error, "a chain's pins could not be mended; it is tried again");
                return true;
            }
        }
        false
    });
}

/// The sockets that an earlier daemon wrote down, and until when they wait for their clients.
fn recorded_sockets(kernel: &Linux, recovery: &Recovery, until: Moment) -> Vec<(QueueKey, Lease)> {
    let mut leases = Vec::new();
    for chain in recovery.state.chains.values() {
        let Some(member) = chain.redirect() else {
            continue;
        };
        let interface = &chain.interface.name;
        let maps = RedirectMaps::of(kernel.maps(chain.dir, member.id, member.code));
        let records = maps.claims().unwrap_or_else(|error| {
            tracing::error!(%interface, %error, "the sockets' owners can't be read: their queues are free");
            Vec::new()
        });
        for (queue, record) in records {
            let place = QueueKey {
                chain: chain.interface.key,
                queue,
            };
            let Some(record) = record else {
                tracing::error!(%interface, queue, "another version wrote who has this queue's socket, and this one can't read it: the queue is free");
                continue;
            };
            leases.push((place, sockets::recovered(interface, &record, until)));
        }
    }
    leases
}

/// Every member has several descriptors: takes as many as the system allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open descriptors can't be raised");
    }
}

/// Removes what is pinned, of every interface or of one.
pub fn flush(args: &Args, interface: &str) -> ExitCode {
    let only = (!interface.is_empty()).then_some(interface);
    let flushed = Linux::open(&args.bpffs)
        .map_err(|error| with_causes(&error))
        .and_then(|kernel| kernel.flush(only).map_err(|error| error.to_string()));
    match flushed {
        Ok(chains) => {
            tracing::info!(chains, "flushed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Members' objects lie beside the socket: what one daemon has of its own in `/run`.
fn objects_of(socket: &Path) -> Result<ObjectStore, StartError> {
    let path = socket.parent().unwrap_or(Path::new(".")).join("objects");
    ObjectStore::open(path.clone()).map_err(|source| StartError::Objects { path, source })
}

/// What an earlier daemon kept.
fn kept_objects(objects: &ObjectStore) -> BTreeSet<Digest> {
    objects.kept().unwrap_or_else(|error| {
        tracing::warn!(%error, "the objects that members were loaded from can't be listed");
        BTreeSet::new()
    })
}

fn stop_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals
}

fn log_probe(engine: &str, probe: &Result<(), protocol::ProbeReason>) {
    match probe {
        Ok(()) => tracing::info!(engine, "available"),
        Err(reason) => tracing::info!(engine, reason = probe::said(reason), "not available"),
    }
}

fn listen(path: &Path, root_only: bool) -> Result<Listener, StartError> {
    let at = |source| StartError::Socket {
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(at)?;
    }
    // Who may do what is decided by the peer's credentials; the mode only keeps strangers out.
    Listener::bind(path, if root_only { 0o600 } else { 0o666 }).map_err(at)
}

fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(StartError::Thread)
}
