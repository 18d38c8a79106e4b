//! A daemon in memory: a controller, the world that it believes to know, its clients, and the time.

use std::collections::{BTreeMap, BTreeSet};

use planner::testing::{interface, policy};
use planner::{
    ChainKey, Client, ConnectionId, Engines, Facts, Interface, LoadOrder, Moment, Obsolete,
    SocketLimits, Source, reconcile,
};

use super::order::{Kind, Orders};
use super::world::{Error, Fate, Hook, Nic, Running, Shown, World};
use crate::{
    Answer, Asking, Controller, Done, Event, Job, LoadFailure, Notice, Request, RequestId, Setup,
};

/// A request that isn't answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) connection: ConnectionId,
    pub(super) site: ChainKey,
    /// What its objects turn out to be.
    facts: Vec<Facts>,
    /// The socket that came with it, by token.
    socket: Option<[u8; 16]>,
    /// It was given up: nobody wants what is loaded for it.
    is_cancelled: bool,
    /// How many were answered at the same interface since it was asked.
    pub(super) overtaken: usize,
}

/// What becomes of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Works,
    /// The kernel looks at the program and turns it down.
    Refused,
    /// Something else fails.
    Fails,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) controller: Controller<Error>,
    pub(super) world: World,
    pub(super) running: Vec<Running>,
    pub(super) now: Moment,
    pub(super) engines: Engines,
    pub(super) is_stopping: bool,
    pub(super) is_stopped: bool,
    pub(super) pending: BTreeMap<RequestId, Pending>,
    /// What clients were answered that are there still.
    pub(super) answers: BTreeMap<RequestId, Answer<Error>>,
    pub(super) notices: Vec<Notice<Error>>,
    /// The clients that are connected, and their users.
    pub(super) connections: BTreeMap<ConnectionId, u32>,
    /// Hooks that somebody else changed.
    pub(super) disturbed: BTreeSet<ChainKey>,
    /// Sockets that were given back and are watched.
    pub(super) watched: BTreeSet<[u8; 16]>,
    pub(super) shown: Shown,
    pub(super) orders: Orders,
    /// What happened, for who reads why a test failed.
    pub(super) history: Vec<String>,
    next_id: u64,
    next_program: u32,
    idle_wakes: u32,
}

impl Daemon {
    /// A daemon on a machine with three interfaces: `eth0` does everything, `eth1` has no native XDP,
    /// and packets of `eth2` have several buffers.
    pub(super) fn new(engines: Engines) -> Self {
        let nics = [(true, false), (false, false), (true, true)];
        let nics = (0..).map(interface).zip(nics);
        let mut world = World::default();
        for (interface, (native, large)) in nics {
            let hook = Hook::Empty;
            let nic = Nic {
                hook,
                native,
                large,
            };
            world.nics.insert(interface.key, nic);
        }
        let now = Moment(1000);
        let (controller, jobs) = started(&mut world, engines, now);
        let mut daemon = Self {
            controller,
            world,
            running: Vec::new(),
            now,
            engines,
            is_stopping: false,
            is_stopped: false,
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            connections: BTreeMap::new(),
            disturbed: BTreeSet::new(),
            watched: BTreeSet::new(),
            shown: Shown::default(),
            orders: Orders::default(),
            history: Vec::new(),
            next_id: 1,
            next_program: 1000,
            idle_wakes: 0,
        };
        daemon.perform(jobs);
        daemon
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A client connects.
    pub(super) fn connect(&mut self, uid: u32) -> ConnectionId {
        let id = ConnectionId(self.take_id());
        self.connections.insert(id, uid);
        id
    }

    /// A client asks for something. `facts`: what its objects turn out to be.
    pub(super) fn ask(
        &mut self,
        connection: ConnectionId,
        site: Interface,
        request: Request,
        facts: Vec<Facts>,
    ) -> RequestId {
        let id = RequestId(self.take_id());
        let uid = self.connections[&connection];
        let socket = match &request {
            Request::Made { key, made: true } | Request::ReclaimSocket { key, .. } => {
                Some(key.token)
            }
            Request::Made { .. }
            | Request::Change { .. }
            | Request::Reclaim { .. }
            | Request::Open(_)
            | Request::Activate { .. }
            | Request::Close { .. } => None,
        };
        let pending = Pending {
            connection,
            site: site.key,
            facts,
            socket,
            is_cancelled: false,
            overtaken: 0,
        };
        self.pending.insert(id, pending);
        let kind = match request {
            Request::Reclaim { .. } | Request::ReclaimSocket { .. } => Kind::Reclaim,
            Request::Change { .. }
            | Request::Open(_)
            | Request::Made { .. }
            | Request::Activate { .. }
            | Request::Close { .. } => Kind::Request,
        };
        self.orders.saw(site.key, kind);
        let client = Client {
            uid,
            pid: 100 + uid,
            name: format!("client-{uid}"),
            connection,
        };
        self.handle(Event::Asked(Box::new(Asking {
            id,
            client,
            site,
            request,
        })));
        id
    }

    /// A client's connection ends. Its sockets are closed with it, unless somebody else has them.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.orders.saw_everywhere(&self.world, Kind::Gone);
        self.handle(Event::ConnectionGone(connection));
    }

    /// The daemon is to stop.
    pub(super) fn stop(&mut self, detach: bool) {
        self.is_stopping = true;
        self.handle(Event::Stop { detach });
    }

    /// Tells the controller, and does what takes no time.
    pub(super) fn handle(&mut self, event: Event<Error>) {
        if !matches!(event, Event::Time) {
            self.idle_wakes = 0;
        }
        self.history.push(format!("{}: {event:?}", self.now.0));
        let was_stopped = self.is_stopped;
        let jobs = self.controller.handle(event, self.now);
        if was_stopped {
            let is_answer = |job: &Job<Error>| matches!(job, Job::Answer { .. });
            assert!(jobs.iter().all(is_answer), "after the end: {jobs:?}");
        }
        self.perform(jobs);
    }

    fn perform(&mut self, jobs: Vec<Job<Error>>) {
        for job in jobs {
            self.history.push(format!("{}:   {job:?}", self.now.0));
            self.check_job(&job);
            match job {
                Job::Cancel(id) => {
                    self.world.loads.retain(|_, of| *of != id);
                    let pending = self.pending.get_mut(&id).expect("nobody asked");
                    assert!(!self.connections.contains_key(&pending.connection));
                    assert!(!pending.is_cancelled, "it is given up twice");
                    pending.is_cancelled = true;
                }
                Job::Keep(id) => {
                    let token = self.pending[&id].socket.expect("a socket came with it");
                    let socket = self.world.sockets.get_mut(&token);
                    socket.expect("a socket").is_held = true;
                }
                Job::Release { key, counts: _ } => {
                    let socket = self.world.sockets.get_mut(&key.token);
                    socket.expect("a socket").is_held = false;
                    self.watched.insert(key.token);
                    self.world.close();
                }
                Job::Answer { id, answer } => self.answered(id, answer),
                Job::Publish => self.world.publish(&mut self.shown, self.controller.state()),
                Job::DropObjects { keep } => self.world.objects.retain(|it| keep.contains(it)),
                Job::Tell(notice) => self.told(notice),
                Job::Stopped => {
                    self.is_stopped = true;
                    let mut lanes = self.running.iter().filter_map(Running::site);
                    assert_eq!(lanes.next(), None, "it stopped in the middle");
                }
                Job::Load { .. }
                | Job::Prepare { .. }
                | Job::Commit { .. }
                | Job::Free { .. }
                | Job::Look { .. }
                | Job::Give { .. }
                | Job::Take { .. }
                | Job::Sweep { .. } => {
                    let running = Running::new(job);
                    if let Some(site) = running.site() {
                        let mut lanes = self.running.iter().filter_map(Running::site);
                        assert!(lanes.all(|other| other != site), "two jobs in a lane");
                    }
                    self.running.push(running);
                }
            }
        }
    }

    fn answered(&mut self, id: RequestId, answer: Answer<Error>) {
        let pending = self.pending.remove(&id);
        let Some(pending) = pending else {
            panic!("{id:?} is answered, and nobody asked: {answer:?}");
        };
        self.world.loads.retain(|_, of| *of != id);
        self.orders.saw(pending.site, Kind::Reply);
        for other in self.pending.values_mut() {
            if other.site == pending.site {
                other.overtaken += 1;
            }
        }
        if self.connections.contains_key(&pending.connection) {
            self.answers.insert(id, answer);
        }
    }

    fn told(&mut self, notice: Notice<Error>) {
        if let Notice::Expired { interface, .. } = &notice {
            let chains = self.controller.state().chains.values();
            let mut interfaces = chains.map(|chain| &chain.interface);
            let found = interfaces.find(|it| it.name == *interface);
            if let Some(key) = found.map(|found| found.key) {
                self.orders.saw(key, Kind::Expiry);
            }
        } else if let Notice::SocketsExpired { site, .. } = &notice {
            self.orders.saw(*site, Kind::Expiry);
        }
        self.notices.push(notice);
    }

    /// The next effect of a job that is being carried out, or its end. `load`: what becomes of it if
    /// it is a load.
    pub(super) fn step(&mut self, which: usize, fate: Fate, load: Load) {
        if self.running.is_empty() {
            return;
        }
        let which = which % self.running.len();
        if let Some(done) = self.running[which].done.take() {
            self.running.remove(which);
            self.saw_done(&done);
            return self.handle(Event::Done(done));
        }
        if let Job::Load { id, order } = self.running[which].job.clone() {
            self.running.remove(which);
            let outcome = self.load(id, &order, load);
            return self.handle(Event::Done(Done::Loaded { id, outcome }));
        }
        let running = &self.running[which];
        let what = format!("{}: effect of {:?} {fate:?}", self.now.0, running.site());
        self.history.push(what);
        self.world.step(&mut self.running[which], fate);
    }

    fn saw_done(&mut self, done: &Done<Error>) {
        if let Done::Looked { site, .. } = done {
            self.orders.saw(*site, Kind::Look);
        } else if let Done::Freed { site, .. } = done {
            self.orders.saw(*site, Kind::Drained);
        }
    }

    fn load(
        &mut self,
        id: RequestId,
        order: &LoadOrder,
        load: Load,
    ) -> Result<Box<Facts>, LoadFailure<Error>> {
        use planner::Code;
        let refused = |by_kernel, error| LoadFailure { by_kernel, error };
        match load {
            Load::Works => {}
            Load::Refused => return Err(refused(true, "the verifier")),
            Load::Fails => return Err(refused(false, "the loader")),
        }
        let pending = self.pending.get(&id).filter(|it| !it.is_cancelled);
        let Some(pending) = pending else {
            return Err(refused(false, "its request was given up"));
        };
        let facts = match &order.code {
            Code::Fresh(number) => pending.facts[*number].clone(),
            Code::Again(reload) => {
                let member = self.controller.state().member(reload.member);
                if member.is_none() {
                    return Err(refused(false, "its maps are gone"));
                }
                let object = reload.source.sha256();
                assert!(object.is_none_or(|object| self.world.objects.contains(object)));
                Facts {
                    source: reload.source.clone(),
                    ..planner::testing::facts()
                }
            }
            Code::BuiltIn(built_in) => Facts {
                source: Source::BuiltIn(*built_in),
                ..planner::testing::facts()
            },
        };
        self.next_program += 1;
        self.world.loads.insert(order.load, id);
        Ok(Box::new(Facts {
            load: order.load,
            program_id: self.next_program,
            abilities: order.outline.abilities,
            form: order.form,
            replaces: order.replaces,
            ..facts
        }))
    }

    /// Lets the time pass, in which nothing else happens.
    pub(super) fn pass(&mut self, mut ms: u64) {
        loop {
            let timeout = self.controller.poll_timeout(self.now);
            if timeout > ms {
                self.now = self.now.after_ms(ms);
                return;
            }
            self.now = self.now.after_ms(timeout);
            ms -= timeout;
            self.idle_wakes = if timeout == 0 { self.idle_wakes + 1 } else { 0 };
            assert!(self.idle_wakes < 3, "it wakes again and again for nothing");
            self.handle(Event::Time);
            self.check();
        }
    }

    /// Carries everything out that there is, without a fault.
    pub(super) fn run(&mut self) {
        let mut effects = 0;
        while !self.running.is_empty() {
            self.step(0, Fate::Works, Load::Works);
            self.check();
            effects += 1;
            assert!(effects < 50_000, "it never ends: {:?}", self.running);
        }
    }

    /// The same, while time passes in steps.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        self.run();
        while self.now < end {
            self.pass(end.ms_since(self.now).min(250));
            self.run();
        }
    }

    /// The daemon dies at this point, and another one starts. Clients that live on find it later.
    pub(super) fn crash(&mut self) {
        self.orders.saw_everywhere(&self.world, Kind::Crash);
        self.history.push(format!("{}: crash", self.now.0));
        self.running.clear();
        self.pending.clear();
        self.answers.clear();
        self.connections.clear();
        self.watched.clear();
        self.world.crash();
        self.is_stopping = false;
        self.is_stopped = false;
        self.idle_wakes = 0;
        let (controller, jobs) = started(&mut self.world, self.engines, self.now);
        self.controller = controller;
        let empty = self.world.nics.iter();
        let empty = empty.filter(|(_, nic)| !matches!(nic.hook, Hook::Link { .. }));
        self.disturbed.extend(empty.map(|(key, _)| *key));
        self.perform(jobs);
        self.check();
    }

    /// What is left to free.
    pub(super) fn obsolete(&self) -> Vec<&Obsolete> {
        self.controller.state().obsolete.values().collect()
    }
}

fn started(
    world: &mut World,
    engines: Engines,
    now: Moment,
) -> (Controller<Error>, Vec<Job<Error>>) {
    let recovery = reconcile(&world.observe(), engines, now);
    assert_eq!(recovery.unreadable, []);
    world.mend(&recovery.mends);
    let claims = world.claims(&recovery.state, now.into());
    let setup = Setup {
        policy: policy(SocketLimits::default()),
        frags: true,
        pid: 1,
    };
    Controller::start(recovery, claims, setup, now)
}
