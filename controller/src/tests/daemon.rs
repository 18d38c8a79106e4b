//! A daemon in memory: a controller, the world that it believes to know, its clients, and the time.

mod load;

use std::collections::{BTreeMap, BTreeSet};

use planner::testing::{interface, policy};
use planner::{
    ChainKey, Client, ConnectionId, Engines, Facts, Interface, MemberId, Moment, ORPHAN_LINGER_MS,
    Obsolete, SocketLimits, Start, reconcile,
};

use super::ask::twin;
use super::order::{Kind, Orders};
use super::world::{Error, Fate, Hook, Nic, Running, Shown, World};
use crate::{Answer, Asking, Controller, Done, Event, Job, Notice, Request, RequestId, Setup};

/// A request that isn't answered.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) connection: ConnectionId,
    pub(super) uid: u32,
    pub(super) site: ChainKey,
    /// What its objects turn out to be.
    facts: Vec<Facts>,
    /// What is asked for.
    pub(super) request: Request,
    /// The socket that came with it, by token.
    socket: Option<[u8; 16]>,
    /// It was given up: nobody wants what is loaded for it.
    is_cancelled: bool,
    /// How many were answered at the same interface since it was asked.
    pub(super) overtaken: usize,
    /// How many changes came to their end at the same interface since it was asked.
    pub(super) ends: usize,
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
    /// How long clients have after a restart.
    pub(super) restart_linger_ms: u32,
    pub(super) is_stopping: bool,
    /// It takes its chains with it. What failed since it was told to is in `notices`.
    pub(super) is_detaching: bool,
    pub(super) is_stopped: bool,
    pub(super) pending: BTreeMap<RequestId, Pending>,
    /// What clients were answered that are there still.
    pub(super) answers: BTreeMap<RequestId, Answer<Error>>,
    pub(super) notices: Vec<Notice<Error>>,
    /// The clients that are connected, and their users.
    pub(super) connections: BTreeMap<ConnectionId, u32>,
    /// Hooks that somebody else changed.
    pub(super) disturbed: BTreeSet<ChainKey>,
    /// Interfaces whose hook was seen to run the chain that is there.
    pub(super) looked_at: BTreeSet<ChainKey>,
    /// Interfaces at which nothing was freed since what ran there changed.
    pub(super) undrained: BTreeSet<ChainKey>,
    /// Every member's user.
    pub(super) users: BTreeMap<MemberId, u32>,
    /// Members that were given back to their clients.
    pub(super) reclaimed: BTreeMap<MemberId, ConnectionId>,
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
    /// A daemon on a machine with four interfaces: `eth0` does everything, `eth1` has no native XDP,
    /// packets of `eth2` have several buffers, and another namespace has an `eth0` of the same index.
    pub(super) fn new(engines: Engines) -> Self {
        let nics = [(true, false), (false, false), (true, true), (true, false)];
        let nics = (0..3).map(interface).chain([twin()]).zip(nics);
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
        let (controller, jobs) = started(&mut world, engines, now.into());
        let mut daemon = Self {
            controller,
            world,
            running: Vec::new(),
            now,
            engines,
            restart_linger_ms: ORPHAN_LINGER_MS,
            is_stopping: false,
            is_detaching: false,
            is_stopped: false,
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            connections: BTreeMap::new(),
            disturbed: BTreeSet::new(),
            looked_at: BTreeSet::new(),
            undrained: BTreeSet::new(),
            users: BTreeMap::new(),
            reclaimed: BTreeMap::new(),
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
            uid,
            site: site.key,
            facts,
            request: request.clone(),
            socket,
            is_cancelled: false,
            overtaken: 0,
            ends: 0,
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
        self.orders.saw(self.controller.state(), site.key, kind);
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
        if self.is_stopping {
            let answer = self.answers.get(&id);
            assert!(matches!(answer, Some(Answer::Stopping)), "{answer:?}");
        }
        id
    }

    /// A client's connection ends. Its sockets are closed with it, unless somebody else has them.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.reclaimed.retain(|_, owner| *owner != connection);
        self.saw_gone(connection);
        self.handle(Event::ConnectionGone(connection));
    }

    /// The daemon is to stop.
    pub(super) fn stop(&mut self, detach: bool) {
        self.is_stopping = true;
        self.is_detaching = detach;
        self.notices.clear();
        self.handle(Event::Stop { detach });
    }

    /// Tells the controller, and does what takes no time.
    pub(super) fn handle(&mut self, event: Event<Error>) {
        if !matches!(event, Event::Time) {
            self.idle_wakes = 0;
        }
        self.history.push(format!("{}: {event:?}", self.now.0));
        let was_stopped = self.is_stopped;
        let before = self.seen_before(&event);
        let jobs = self.controller.handle(event, self.now);
        self.check_elsewhere(&before);
        let drops = jobs
            .iter()
            .any(|job| matches!(job, Job::DropObjects { .. }));
        assert!(
            drops || before.objects.is_subset(&self.objects()),
            "unused objects are kept"
        );
        if was_stopped {
            let is_answer = |job: &Job<Error>| matches!(job, Job::Answer { .. });
            assert!(jobs.iter().all(is_answer), "after the end: {jobs:?}");
        }
        self.perform(jobs);
    }

    pub(super) fn perform(&mut self, jobs: Vec<Job<Error>>) {
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
                Job::ShowLook { chain, at } => self.shown.looked(chain, at),
                Job::DropObjects { keep } => self.world.objects.retain(|it| keep.contains(it)),
                Job::Tell(notice) => self.told(notice),
                Job::Stopped => {
                    self.is_stopped = true;
                    let mut lanes = self.running.iter().filter_map(Running::site);
                    assert_eq!(lanes.next(), None, "it stopped in the middle");
                    self.check_detached();
                }
                Job::Load { .. }
                | Job::Prepare { .. }
                | Job::Commit { .. }
                | Job::Free { .. }
                | Job::Look { .. }
                | Job::Mend { .. }
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
        self.orders
            .saw(self.controller.state(), pending.site, Kind::Reply);
        for other in self.pending.values_mut() {
            if other.site == pending.site {
                other.overtaken += 1;
            }
        }
        self.check_answer(&pending, &answer);
        if self.connections.contains_key(&pending.connection) {
            self.answers.insert(id, answer);
        }
    }

    fn told(&mut self, notice: Notice<Error>) {
        let state = self.controller.state();
        if let Notice::Expired { interface, .. } = &notice {
            // Two namespaces may have interfaces of this name.
            for id in state.over(self.now).into_keys() {
                let found = &state.chains[&id].interface;
                if found.name == *interface {
                    self.orders.saw(state, found.key, Kind::Expiry);
                }
            }
        } else if let Notice::SocketsExpired { site, .. } = &notice {
            self.orders.saw(state, *site, Kind::Expiry);
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
            let running = self.running.remove(which);
            self.saw_done(&done);
            self.note_done(&running.job, &done);
            let is_failed = matches!(
                done,
                Done::Committed {
                    outcome: Err(_),
                    ..
                }
            );
            self.handle(Event::Done(done));
            return self.check_off_hook(&running.job, is_failed);
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
        let state = self.controller.state();
        if let Done::Looked { site, .. } = done {
            self.orders.saw(state, *site, Kind::Look);
        } else if let Done::Freed { site, .. } = done {
            self.orders.saw(state, *site, Kind::Drained);
        }
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
        self.orders
            .saw_everywhere(self.controller.state(), Kind::Crash);
        self.history.push(format!("{}: crash", self.now.0));
        self.running.clear();
        self.pending.clear();
        self.answers.clear();
        self.connections.clear();
        self.looked_at.clear();
        self.undrained.clear();
        self.users.clear();
        self.reclaimed.clear();
        self.watched.clear();
        self.world.crash();
        self.is_stopping = false;
        self.is_detaching = false;
        self.is_stopped = false;
        self.idle_wakes = 0;
        let start = self.start();
        let (controller, jobs) = started(&mut self.world, self.engines, start);
        self.controller = controller;
        let empty = self.world.nics.iter();
        let empty = empty.filter(|(_, nic)| !matches!(nic.hook, Hook::Link { .. }));
        self.disturbed.extend(empty.map(|(key, _)| *key));
        self.perform(jobs);
        self.check_orphans();
        self.check();
    }

    /// The start of a daemon at this moment.
    pub(super) fn start(&self) -> Start {
        Start {
            now: self.now,
            linger_ms: self.restart_linger_ms,
        }
    }

    /// What is left to free.
    pub(super) fn obsolete(&self) -> Vec<&Obsolete> {
        self.controller.state().obsolete.values().collect()
    }
}

fn started(
    world: &mut World,
    engines: Engines,
    start: Start,
) -> (Controller<Error>, Vec<Job<Error>>) {
    let mut recovery = reconcile(&world.observe(), engines, start);
    assert_eq!(recovery.unreadable, []);
    world.mend(&std::mem::take(&mut recovery.mends));
    let claims = world.claims(&recovery.state, start);
    let setup = Setup {
        policy: policy(SocketLimits::default()),
        frags: true,
        pid: 1,
        objects: world.objects.clone(),
    };
    Controller::start(recovery, claims, setup, start.now)
}
