//! A daemon without a kernel: it speaks the protocol, remembers what it heard, and misbehaves on
//! request.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libdispatch::{Engine, Mode};
use protocol::{
    Changed, Connection, Form, Listener, Open, Operation, Push, RefusalCode, Refused, Registered,
    Remedy, Reply, ReplyBody, Request, RequestBody, Source, Step, Welcome, memfd,
};
use rustix::net::Shutdown;

/// Longest time that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the daemon does with a request.
pub(crate) enum Act {
    Say(ReplyBody),
    /// After two pushes, one of which no version has.
    SayAfterPushes(ReplyBody),
    SayWith(ReplyBody, OwnedFd),
    Refuse(RefusalCode, &'static str, Option<String>),
    RefuseFor(RefusalCode, &'static str, Remedy),
    HangUp,
    Nothing,
}

/// What the daemon does instead of its usual answer, if anything.
type Script = Box<dyn FnMut(&RequestBody) -> Option<Act> + Send>;

/// Everything the daemon's threads share.
#[derive(Default)]
struct State {
    heard: Vec<(usize, RequestBody)>,
    /// Descriptors that came with requests that name an interface.
    namespaces: Vec<OwnedFd>,
    open: Vec<(usize, OwnedFd)>,
    connections: usize,
    members: u64,
    generation: u64,
    script: Option<Script>,
    stopping: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub(crate) struct FakeDaemon {
    path: PathBuf,
    shared: Shared,
    running: Option<(OwnedFd, JoinHandle<()>)>,
    _directory: tempfile::TempDir,
}

impl FakeDaemon {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut daemon = Self {
            path: directory.path().join("socket"),
            shared: Shared::default(),
            running: None,
            _directory: directory,
        };
        daemon.resume();
        daemon
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Decides what to do with some requests; `None` leaves one to the usual answer.
    pub(crate) fn script(&self, script: impl FnMut(&RequestBody) -> Option<Act> + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Closes every connection and listens no more.
    pub(crate) fn stop(&mut self) {
        let Some((listening, acceptor)) = self.running.take() else {
            return;
        };
        self.state().stopping = true;
        rustix::net::shutdown(&listening, Shutdown::Both).unwrap();
        acceptor.join().unwrap();
        for (_, socket) in &self.state().open {
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
        self.wait("all connections to end", |state| state.open.is_empty());
    }

    /// Listens again.
    pub(crate) fn resume(&mut self) {
        self.state().stopping = false;
        let listener = Listener::bind(&self.path, 0o600).unwrap();
        let listening = listener.as_fd().try_clone_to_owned().unwrap();
        let shared = Arc::clone(&self.shared);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        self.running = Some((listening, acceptor));
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Everything heard but greetings, without the connection.
    pub(crate) fn heard(&self) -> Vec<RequestBody> {
        heard(&self.state())
    }

    pub(crate) fn namespaces(&self) -> usize {
        self.state().namespaces.len()
    }

    pub(crate) fn take_namespace(&self) -> OwnedFd {
        self.state().namespaces.pop().unwrap()
    }

    pub(crate) fn connections_open(&self) -> usize {
        self.state().open.len()
    }

    pub(crate) fn wait_until_heard(&self, what: &str, is: impl Fn(&[RequestBody]) -> bool) {
        self.wait(what, |state| is(&heard(state)));
    }

    pub(crate) fn wait_until_left(&self) {
        self.wait("the client to hang up", |state| state.open.is_empty());
    }

    fn wait(&self, what: &str, is: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !is(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {what}: {:?}", state.heard);
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

fn heard(state: &State) -> Vec<RequestBody> {
    let not_hello = |body: &&RequestBody| !matches!(body, RequestBody::Hello(_));
    let bodies = state.heard.iter().map(|(_, body)| body);
    bodies.filter(not_hello).cloned().collect()
}

fn accept(listener: &Listener, shared: &Shared) {
    loop {
        let accepted = listener.accept();
        let mut state = shared.0.lock().unwrap();
        let (false, Ok(connection)) = (state.stopping, accepted) else {
            return;
        };
        state.connections += 1;
        let number = state.connections;
        let socket = connection.as_fd().try_clone_to_owned().unwrap();
        state.open.push((number, socket));
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            serve(number, &connection, &shared);
            let mut state = shared.0.lock().unwrap();
            state.open.retain(|(other, _)| *other != number);
            // Both descriptors are closed before anybody is told.
            drop(connection);
            drop(state);
            shared.1.notify_all();
        });
    }
}

fn serve(number: usize, connection: &Connection, shared: &Shared) {
    while let Ok(Some((request, fds))) = connection.receive::<Request>() {
        let act = {
            let mut state = shared.0.lock().unwrap();
            state.heard.push((number, request.body.clone()));
            shared.1.notify_all();
            let scripted = state
                .script
                .as_mut()
                .and_then(|script| script(&request.body));
            scripted.unwrap_or_else(|| usual(&mut state, &request.body, fds))
        };
        let (body, fd) = match act {
            Act::Say(body) => (Ok(body), None),
            Act::SayAfterPushes(body) => {
                push(connection);
                (Ok(body), None)
            }
            Act::SayWith(body, fd) => (Ok(body), Some(fd)),
            Act::Refuse(code, message, log) => {
                (Err(Refused::new(code, message).with_log(log)), None)
            }
            Act::RefuseFor(code, message, remedy) => {
                (Err(Refused::new(code, message).with_remedy(remedy)), None)
            }
            Act::HangUp => return,
            Act::Nothing => continue,
        };
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
        let id = request.id;
        if connection.send(&Reply { id, body }, &fds).is_err() {
            return;
        }
    }
}

/// Something happened, and something that nobody has a word for.
fn push(connection: &Connection) {
    let known = Open::Known(Push::Lost { count: 1 });
    let later = [&8_u64.to_le_bytes()[..], &999_u32.to_le_bytes(), &[1; 4]].concat();
    let unknown: Open<Push> = protocol::decode_part(&later).unwrap();
    for push in [known, unknown] {
        let body = Ok(ReplyBody::Push(push));
        connection.send(&Reply { id: 0, body }, &[]).unwrap();
    }
}

/// What a daemon answers that has no chain and takes everything.
fn usual(state: &mut State, body: &RequestBody, mut fds: Vec<OwnedFd>) -> Act {
    if body.interface().is_some() {
        state.namespaces.append(&mut fds);
    }
    match body {
        RequestBody::Hello(_) => Act::Say(ReplyBody::Welcome(Welcome {
            version: protocol::VERSION_HIGHEST,
            daemon: "fake".to_owned(),
            ..Welcome::default()
        })),
        RequestBody::PutObject => {
            use sha2::Digest as _;
            let object = memfd::read_sealed(fds[0].as_fd(), protocol::OBJECT_BYTES_MAX).unwrap();
            let digest = sha2::Sha256::digest(object).into();
            Act::Say(ReplyBody::Object { digest })
        }
        RequestBody::Change(change) => Act::Say(ReplyBody::Changed(changed(state, change))),
        RequestBody::List { .. } => Act::Say(ReplyBody::Chains(Vec::new())),
        RequestBody::Reclaim { .. } => Act::Say(ReplyBody::Reclaimed),
        RequestBody::ActivateSocket { .. } => {
            Act::Say(ReplyBody::SocketActivated { notes: Vec::new() })
        }
        RequestBody::CloseSocket { .. } => Act::Say(ReplyBody::SocketClosed),
        RequestBody::ReclaimSocket { .. } => Act::Say(ReplyBody::SocketReclaimed),
        RequestBody::Show { .. }
        | RequestBody::Status
        | RequestBody::MapDescriptor { .. }
        | RequestBody::Subscribe { .. }
        | RequestBody::Unsubscribe
        | RequestBody::OpenSocket(_) => Act::Refuse(
            RefusalCode::NoSuchMember,
            "the fake has nothing to show",
            None,
        ),
    }
}

fn changed(state: &mut State, change: &protocol::Change) -> Changed {
    let mut members = Vec::new();
    for operation in &change.operations {
        let name = match operation {
            Operation::Register(registration) => registration
                .name
                .as_deref()
                .or(match &registration.source {
                    Source::Object(object) => object.program.as_deref(),
                    Source::Loaded(_) | Source::BuiltIn(_) => None,
                })
                .unwrap_or("program"),
            Operation::Replace { name, .. } => name,
            _ => continue,
        };
        state.members += 1;
        let id = state.members;
        members.push(Registered {
            name: name.to_owned(),
            id,
            slot: u16::try_from(members.len()).unwrap(),
            program_id: u32::try_from(100 + id).unwrap(),
            form: Form {
                engine: Engine::Tailcall,
                attach_type: protocol::ATTACH_TYPE_XDP,
                frags: false,
            },
            taken_up: false,
        });
    }
    if !change.dry_run {
        state.generation += 1;
    }
    let generation = state.generation + u64::from(change.dry_run);
    Changed {
        chain: 1,
        revision: generation,
        build: generation,
        mode: Some(Mode::Native),
        members,
        plan: vec![Step::Grace.into()],
        ..Changed::default()
    }
}
