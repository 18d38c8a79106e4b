//! A daemon without a kernel: it speaks the protocol, remembers what it heard, and misbehaves on
//! request.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::BTreeMap,
    io::PipeReader,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libdispatch::{Client, Engine, Lifetime, Mode, OnMiss, SlotCounters, VerdictMask};
use protocol::{
    Change, Changed, Connection, Form, Listener, MapShape, Member, MemberDetail, MemberRef,
    MemberState, Open, Operation, Options, Origin, Owner, Push, RefusalCode, Refused, Registered,
    Remedy, Reply, ReplyBody, Request, RequestBody, Source, Step, Welcome, memfd,
};
use rustix::{
    event::{PollFd, PollFlags},
    net::Shutdown,
};

/// Longest time that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the daemon does with a request.
pub(crate) enum Act {
    Say(ReplyBody),
    /// After two pushes, one of which no version has.
    SayAfterPushes(ReplyBody),
    SayWith(ReplyBody, OwnedFd),
    Refuse(RefusalCode, &'static str, Option<String>),
    RefuseFor(RefusalCode, &'static str, Remedy),
    Deny(Refused),
    HangUp,
    Nothing,
    /// Waits for the end of the pipe or of the connection, then does something else. Other
    /// connections are served in the meantime.
    After(PipeReader, Box<Act>),
    /// What the daemon does without a script.
    Usual,
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
    /// By id.
    members: BTreeMap<u64, String>,
    generation: u64,
    script: Option<Script>,
    stopping: bool,
}

impl State {
    /// A member, which is there from now on.
    fn member(&mut self, name: &str) -> u64 {
        let id = self.members.len() as u64 + 1;
        self.members.insert(id, name.to_owned());
        id
    }

    /// The member that a request names; by a name, it is there from now on.
    fn meant(&mut self, member: &Open<MemberRef>) -> (u64, String) {
        match member.known().unwrap() {
            MemberRef::Name(name) => (self.member(name), name.clone()),
            MemberRef::Id(id) => (*id, self.members[id].clone()),
        }
    }
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

    /// Closes the connection over which a request came, and no other.
    pub(crate) fn hang_up_on(&self, is: impl Fn(&RequestBody) -> bool) {
        let state = self.state();
        let heard = state.heard.iter().rev();
        let (number, _) = heard.clone().find(|(_, body)| is(body)).unwrap();
        let open = state.open.iter().find(|(other, _)| other == number);
        rustix::net::shutdown(&open.unwrap().1, Shutdown::Both).unwrap();
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

    /// The changes that were asked for.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let heard = self.heard().into_iter();
        heard
            .filter_map(|body| match body {
                RequestBody::Change(change) => Some(change),
                _ => None,
            })
            .collect()
    }

    /// A client that waits this long for an answer.
    pub(crate) fn client_with(&self, timeout: Duration) -> Client {
        let builder = Client::builder().socket(self.path());
        builder.timeout(timeout).connect().unwrap()
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

    /// Waits until so many connections have been greeted.
    pub(crate) fn wait_until_greeted(&self, what: &str, times: usize) {
        let is_hello = |(_, body): &&(usize, RequestBody)| matches!(body, RequestBody::Hello(_));
        self.wait(what, |state| {
            state.heard.iter().filter(is_hello).count() >= times
        });
    }

    pub(crate) fn wait_until_connections(&self, what: &str, is: impl Fn(usize) -> bool) {
        self.wait(what, |state| is(state.open.len()));
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
        shared.1.notify_all();
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
    'requests: while let Ok(Some((request, mut fds))) = connection.receive::<Request>() {
        let mut act = {
            let mut state = shared.0.lock().unwrap();
            state.heard.push((number, request.body.clone()));
            shared.1.notify_all();
            let script = state.script.as_mut();
            script.and_then(|script| script(&request.body))
        };
        let (body, fd) = loop {
            match act.unwrap_or(Act::Usual) {
                Act::Say(body) => break (Ok(body), None),
                Act::SayAfterPushes(body) => {
                    push(connection);
                    break (Ok(body), None);
                }
                Act::SayWith(body, fd) => break (Ok(body), Some(fd)),
                Act::Refuse(code, message, log) => {
                    break (Err(Refused::new(code, message).with_log(log)), None);
                }
                Act::RefuseFor(code, message, remedy) => {
                    break (Err(Refused::new(code, message).with_remedy(remedy)), None);
                }
                Act::Deny(refused) => break (Err(refused), None),
                Act::HangUp => return,
                Act::Nothing => continue 'requests,
                Act::After(pipe, then) => {
                    if !wait_for(&pipe, connection) {
                        return;
                    }
                    act = Some(*then);
                }
                Act::Usual => {
                    let mut state = shared.0.lock().unwrap();
                    let fds = std::mem::take(&mut fds);
                    act = Some(usual(&mut state, &request.body, fds));
                }
            }
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

/// Waits for the end of the pipe; says whether it came before that of the connection.
fn wait_for(pipe: &PipeReader, connection: &Connection) -> bool {
    let mut polled = [
        PollFd::new(pipe, PollFlags::IN),
        PollFd::new(connection, PollFlags::RDHUP),
    ];
    rustix::event::poll(&mut polled, None).unwrap();
    !polled[0].revents().is_empty()
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
        RequestBody::OpenSocket(open) => {
            let shape = protocol::Socket {
                ifindex: 1,
                queue: open.queue,
                zero_copy: false,
            };
            Act::SayWith(ReplyBody::Socket(shape), std::io::pipe().unwrap().0.into())
        }
        RequestBody::Show { member, .. } => {
            let (id, name) = state.meant(member);
            let detail = detail(id, &name);
            Act::Say(ReplyBody::Member(Box::new(detail)))
        }
        RequestBody::MapDescriptor { member, map } => {
            let shape = MapShape {
                name: map.clone(),
                id: 1,
                map_type: 2,
                key_size: 4,
                value_size: 8,
                max_entries: 1,
            };
            let contents = format!("{map} of {}", state.members[member]);
            let contents = memfd::sealed("map", contents.as_bytes()).unwrap();
            Act::SayWith(ReplyBody::Map(shape), contents)
        }
        RequestBody::ActivateSocket { .. } => {
            Act::Say(ReplyBody::SocketActivated { notes: Vec::new() })
        }
        RequestBody::CloseSocket { .. } => Act::Say(ReplyBody::SocketClosed),
        RequestBody::ReclaimSocket { .. } => Act::Say(ReplyBody::SocketReclaimed),
        RequestBody::Status | RequestBody::Subscribe { .. } | RequestBody::Unsubscribe => {
            Act::Refuse(
                RefusalCode::NoSuchMember,
                "the fake has nothing to show",
                None,
            )
        }
    }
}

fn detail(id: u64, name: &str) -> MemberDetail {
    MemberDetail {
        member: Member {
            slot: Some(0),
            id,
            name: name.to_owned(),
            program: name.to_owned(),
            program_id: Some(1),
            priority: 50,
            requested_priority: 50,
            chain_call: VerdictMask::PASS,
            allowed: VerdictMask::ALL,
            form: FORM,
            engine_reason: None,
            state: MemberState::Running,
            owner: Owner {
                uid: 0,
                pid: 1,
                client: "test".to_owned(),
            },
            lifetime: Lifetime::Attached,
            origin: Origin::Object,
            sha256: None,
            pins: None,
            packets: SlotCounters::default(),
            ns_per_packet: None,
            options: Options::new(),
        },
        on_miss: OnMiss::Continue,
        tail_depth: 0,
        linger_ms: 0,
        share_group: None,
        maps: Vec::new(),
        sockets: Vec::new(),
        options: Options::new(),
    }
}

const FORM: Form = Form {
    engine: Engine::Tailcall,
    attach_type: protocol::ATTACH_TYPE_XDP,
    frags: false,
};

fn changed(state: &mut State, change: &Change) -> Changed {
    let mut members = Vec::new();
    for operation in &change.operations {
        let (id, name) = match operation {
            Operation::Register(registration) => {
                let program = match &registration.source {
                    Source::Object(object) => object.program.as_deref(),
                    Source::Loaded(_) | Source::BuiltIn(_) => None,
                };
                let name = registration.name.as_deref().or(program);
                let name = name.unwrap_or("program");
                (state.member(name), name.to_owned())
            }
            Operation::Replace { member, .. } => state.meant(member),
            _ => continue,
        };
        members.push(Registered {
            name,
            id,
            slot: u16::try_from(members.len()).unwrap(),
            program_id: u32::try_from(100 + id).unwrap(),
            form: FORM,
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
