//! Puts the daemon together, and takes it apart.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use dispatcher_abi::EngineChoice;
use nix::sys::signal::{SigSet, Signal};
use protocol::Listener;

use crate::args::Args;
use crate::engine::{Engine, Event};
use crate::kernel::{self, KernelError, Linux, OpenError};
use crate::loader::Loader;
use crate::objects::Objects;
use crate::probe;
use crate::server;
use crate::session::Hub;
use crate::translate;

/// Events that may wait for the engine before their senders do.
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
    #[error("thread")]
    Thread(#[source] io::Error),
}

/// Runs the daemon until it is told to stop.
pub fn run(args: &Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", translate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), StartError> {
    let signals = stop_signals();
    // Before any thread starts, so that every thread has them blocked.
    signals.thread_block().map_err(StartError::Signals)?;

    raise_descriptor_limit();
    let kernel = Linux::open(&args.bpffs)?;
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
    let engine = Engine::start(
        kernel,
        objects.clone(),
        probes.engines(),
        args.socket_limits(),
    )?;
    let board = engine.board();
    let (events, inbox) = sync_channel(EVENTS_WAITING);
    let engine = spawn("engine", move || {
        let _guard = EndsOnPanic;
        engine.run(&inbox);
    })?;

    let policy = args.policy();
    let listener = listen(&args.socket, policy.grants.is_empty())?;
    tracing::info!(socket = %args.socket.display(), "ready");
    let hub = Hub {
        events: events.clone(),
        board,
        loader: Loader::new(template, kernel::probe_frags()),
        objects,
        policy: Arc::new(policy),
        probes: Arc::new(probes),
        started: Instant::now(),
    };
    let listener = Arc::new(listener);
    let accepting = Arc::clone(&listener);
    let server = spawn("server", move || server::run(&accepting, &hub))?;

    let signal = signals.wait().map_err(StartError::Signals)?;
    tracing::info!(%signal, "stopping");
    let stop = Event::Shutdown {
        detach: args.detach_on_exit,
    };
    // The engine is gone only if it panicked: then there is nothing left to tell.
    let _ = events.send(stop);
    let _ = engine.join();
    // Wakes the server's `accept`, so that the socket's path goes with the last of its owners.
    let _ = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Both);
    let _ = server.join();
    Ok(())
}

/// Ends the process if the engine's thread panics: a daemon without it would answer and do
/// nothing. The chains keep running, and the next daemon continues them.
struct EndsOnPanic;

impl Drop for EndsOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the engine panicked; the chains keep running");
            std::process::exit(PANICKED);
        }
    }
}

/// The exit code after a panic, as Rust's own.
const PANICKED: i32 = 101;

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
        .map_err(|error| translate::chain(&error))
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
fn objects_of(socket: &Path) -> Result<Objects, StartError> {
    let path = socket.parent().unwrap_or(Path::new(".")).join("objects");
    Objects::open(path.clone()).map_err(|source| StartError::Objects { path, source })
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
