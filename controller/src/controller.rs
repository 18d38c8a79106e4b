//! The controller: what it knows, and where an event goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use planner::{
    Authority, ChainId, ChainKey, Digest, Interface, Lease, LoadId, Loading, MemberId, Moment,
    Note, Plan, Policy, QueueKey, Recovery, SocketKey, State, done_before,
};

use crate::change::{Making, making_of};
use crate::lane::{After, Doing, Lane, Work};
use crate::{Answer, Asking, Done, Event, Job, Notice, Request, RequestId};

/// How often hooks are looked at, and what failed is tried again, in milliseconds.
pub const LOOK_MS: u32 = 1000;

/// What a controller starts with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who may do what.
    pub policy: Policy,
    /// Whether the kernel knows packets of several buffers.
    pub frags: bool,
    /// The daemon's process.
    pub pid: u32,
    /// The objects that an earlier daemon kept: members of a chain that can't be read may have been
    /// loaded from them.
    pub objects: BTreeSet<Digest>,
}

/// See the crate.
#[derive(Clone, Debug)]
pub struct Controller<E> {
    pub(crate) state: State,
    pub(crate) policy: Policy,
    pub(crate) daemon: Authority,
    pub(crate) frags: bool,
    pub(crate) requests: BTreeMap<RequestId, Asked<E>>,
    pub(crate) lanes: BTreeMap<ChainKey, Lane<E>>,
    next_load: LoadId,
    pub(crate) next_look: Moment,
    pub(crate) now: Moment,
    pub(crate) life: Life,
    /// Sockets that are to be taken off their queues, and could not be.
    pub(crate) not_taken: BTreeSet<SocketKey>,
    /// Active sockets that are to be in a redirect program's map, and could not be put there.
    pub(crate) not_given: BTreeSet<SocketKey>,
    /// Chains whose hooks could not be looked at the last time.
    pub(crate) not_seen: BTreeSet<ChainId>,
    /// The objects that members were loaded from, when unused ones were last dropped.
    pub(crate) objects: BTreeSet<Digest>,
    /// The objects that an earlier daemon kept.
    pub(crate) found_objects: BTreeSet<Digest>,
    jobs: Vec<Job<E>>,
    /// The state has changed since it was published.
    is_unpublished: bool,
}

/// Whether a controller begins anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// What is going on is brought to its end.
    Stopping,
    Stopped,
}

/// A request that isn't answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked<E> {
    pub(crate) authority: Authority,
    pub(crate) site: Interface,
    pub(crate) want: Want,
    /// Its connection ended while it was being done.
    pub(crate) is_gone: bool,
    /// The change of a chain that it is, or takes.
    pub(crate) making: Option<Making<E>>,
}

/// What a request wants, as far as it takes a lane.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Change,
    Reclaim { member: MemberId, token: [u8; 16] },
    Activate { key: SocketKey },
    Close { key: SocketKey },
    ReclaimSocket { key: SocketKey, cookie: u64 },
}

impl<E: Clone> Controller<E> {
    /// Goes on from what an earlier daemon left: `recovery`, whose mends are those that failed, and the
    /// sockets that it wrote down.
    pub fn start(
        recovery: Recovery,
        sockets: Vec<(QueueKey, Lease)>,
        setup: Setup,
        now: Moment,
    ) -> (Self, Vec<Job<E>>) {
        let mut state = recovery.state;
        state.unreadable = recovery.unreadable;
        for (place, lease) in sockets {
            state.leases.recover(place, lease);
        }
        for (dir, steps) in &recovery.leftovers {
            state.leave(*dir, planner::Obsolete::of(steps));
        }
        for (dir, step) in recovery.mends {
            state.not_mended(dir, step, now);
        }
        let mut controller = Self {
            state,
            policy: setup.policy,
            daemon: Authority::daemon(setup.pid),
            frags: setup.frags,
            requests: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_load: LoadId(1),
            next_look: now,
            now,
            life: Life::Running,
            not_taken: BTreeSet::new(),
            not_given: BTreeSet::new(),
            not_seen: BTreeSet::new(),
            objects: BTreeSet::new(),
            found_objects: setup.objects,
            jobs: Vec::new(),
            is_unpublished: true,
        };
        let chains: Vec<_> = controller.state.chains.keys().copied().collect();
        for chain in chains {
            controller.tell(Notice::Continued(chain));
        }
        controller.flush();
        controller.drop_objects();
        let jobs = controller.handle(Event::Time, now);
        (controller, jobs)
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Something happened: what is to be done.
    pub fn handle(&mut self, event: Event<E>, now: Moment) -> Vec<Job<E>> {
        self.now = self.now.max(now);
        match event {
            Event::Asked(asking) => self.asked(*asking),
            // What comes back now is too late.
            _ if self.life == Life::Stopped => {}
            Event::ConnectionGone(connection) => self.connection_gone(connection),
            Event::SocketsGone(tokens) => {
                for token in &tokens {
                    self.state.leases.gone(token);
                }
            }
            Event::Done(done) => self.done(done),
            Event::Time => {}
            Event::Stop { detach } => self.stop(detach),
        }
        self.what_is_due();
        self.flush();
        if self.life == Life::Stopping && self.is_at_rest() {
            self.life = Life::Stopped;
            self.push(Job::Stopped);
        }
        std::mem::take(&mut self.jobs)
    }

    /// How long there is nothing to do unless something happens, in milliseconds.
    pub fn poll_timeout(&self, now: Moment) -> u64 {
        // Time begins nothing any more.
        if self.life != Life::Running {
            return LOOK_MS.into();
        }
        // What is due already is begun, or waits for its lane, or for the next look.
        let deadlines = self.state.deadlines().filter(|at| *at > now);
        let next = deadlines.chain([self.next_look]).min();
        next.map_or(0, |at| at.ms_since(now))
    }

    /// Whether nothing is going on, and nothing waits.
    pub fn is_at_rest(&self) -> bool {
        self.requests.is_empty() && self.lanes.values().all(Lane::is_at_rest)
    }

    fn asked(&mut self, asking: Asking) {
        let Asking {
            id,
            client,
            site,
            request,
        } = asking;
        if self.life != Life::Running {
            return self.answer(id, Answer::Stopping);
        }
        if let Some(chain) = self.state.unreadable_at(site.key)
            && request.needs_chain()
        {
            let answer = Answer::Unreadable(Box::new(chain.clone()));
            return self.answer(id, answer);
        }
        let authority = self.policy.authority(&client, &site);
        let want = match request {
            Request::Change {
                change,
                outlines,
                dry_run,
            } => {
                // One that is sent again needs nothing loaded.
                let is_again = !dry_run && done_before(&self.state, &authority, &change).is_some();
                let loading = Loading::new(authority.clone(), change, outlines);
                let lane = site.key;
                let asked = Asked {
                    authority,
                    site,
                    want: Want::Change,
                    is_gone: false,
                    making: Some(Making::new(loading, dry_run)),
                };
                self.requests.insert(id, asked);
                if is_again {
                    return self.enqueue(lane, Work::Request(id));
                }
                return self.load(id);
            }
            Request::Open(opening) => return self.open(id, &authority, &opening),
            Request::Made { key, made } => return self.made(id, key, made),
            Request::Reclaim { member, token } => Want::Reclaim { member, token },
            Request::Activate { key } => Want::Activate { key },
            Request::Close { key } => Want::Close { key },
            Request::ReclaimSocket { key, cookie } => Want::ReclaimSocket { key, cookie },
        };
        let lane = site.key;
        let asked = Asked {
            authority,
            site,
            want,
            is_gone: false,
            making: None,
        };
        self.requests.insert(id, asked);
        self.enqueue(lane, Work::Request(id));
    }

    fn done(&mut self, done: Done<E>) {
        match done {
            Done::Loaded { id, outcome } => self.loaded(id, outcome),
            Done::Prepared { site, outcome } => self.prepared(site, outcome),
            Done::Committed { site, outcome } => self.committed(site, outcome),
            Done::Freed { site, steps } => self.freed(site, steps),
            Done::Looked { site, seen } => self.looked(site, seen),
            Done::Mended { site, dir, steps } => self.mended(site, dir, steps),
            Done::Given { site, outcome } => self.given(site, outcome),
            Done::Taken { site, error } => self.taken(site, error),
            Done::Swept { gone } => self.swept(gone),
        }
    }

    fn stop(&mut self, detach: bool) {
        if self.life != Life::Running {
            return;
        }
        self.life = Life::Stopping;
        let given_up: Vec<RequestId> = self
            .requests
            .keys()
            .copied()
            .filter(|id| !self.is_being_done(*id))
            .collect();
        for id in given_up {
            self.answer(id, Answer::Stopping);
        }
        for lane in self.lanes.values_mut() {
            lane.waiting.retain(|work| {
                matches!(
                    work,
                    Work::DropSockets(_) | Work::DropAgain | Work::Closed(_)
                )
            });
        }
        if detach {
            let chains = self.state.chains.values().map(|chain| chain.interface.key);
            let busy = self.lanes.iter().filter(|(_, lane)| lane.doing.is_some());
            let sites: BTreeSet<ChainKey> = chains.chain(busy.map(|(site, _)| *site)).collect();
            for site in sites {
                // A map lives on as long as a socket is in it.
                let sockets = self.state.leases.of_chain(site);
                let lane = self.lane(site);
                if !sockets.is_empty() {
                    lane.waiting.push_back(Work::DropSockets(sockets));
                }
                self.enqueue(site, Work::RemoveChain);
            }
            return;
        }
        let chains = self.state.chains.values();
        let left: Vec<(String, usize)> = chains
            .map(|chain| (chain.interface.name.clone(), chain.members.len()))
            .collect();
        for (interface, members) in left {
            self.tell(Notice::RunsOn { interface, members });
        }
    }

    // What all of the crate's rooms use.

    pub(crate) fn push(&mut self, job: Job<E>) {
        self.jobs.push(job);
    }

    pub(crate) fn tell(&mut self, notice: Notice<E>) {
        self.push(Job::Tell(notice));
    }

    /// Answers a request, which is done with.
    pub(crate) fn answer(&mut self, id: RequestId, answer: Answer<E>) {
        // A reader that asks after the answer sees what it says.
        self.flush();
        self.requests.remove(&id);
        self.push(Job::Answer { id, answer });
    }

    /// The state has changed.
    pub(crate) fn changed(&mut self) {
        self.is_unpublished = true;
    }

    /// Shows the state if it has changed, and drops the objects that went with members.
    pub(crate) fn flush(&mut self) {
        if !std::mem::take(&mut self.is_unpublished) {
            return;
        }
        self.push(Job::Publish);
        self.drop_objects_of_gone();
    }

    pub(crate) fn take_load_id(&mut self) -> LoadId {
        let id = self.next_load;
        self.next_load = LoadId(id.0 + 1);
        id
    }

    /// The name of a lane's interface.
    pub(crate) fn name_of(&self, site: ChainKey) -> String {
        let chain = self.state.at(site);
        chain.map_or_else(|| site.to_string(), |chain| chain.interface.name.clone())
    }

    pub(crate) fn lane(&mut self, site: ChainKey) -> &mut Lane<E> {
        self.lanes.entry(site).or_default()
    }

    /// What a lane was doing when one of its jobs came back.
    pub(crate) fn take_doing(&mut self, site: ChainKey) -> Doing<E> {
        let doing = self.lane(site).doing.take();
        doing.expect("a job that came back was given out by its lane")
    }

    pub(crate) fn enqueue(&mut self, site: ChainKey, work: Work) {
        self.lane(site).waiting.push_back(work);
        self.advance(site);
    }

    pub(crate) fn enqueue_first(&mut self, site: ChainKey, work: Work) {
        self.lane(site).waiting.push_front(work);
        self.advance(site);
    }

    /// What the daemon does by itself: once at a time, and not again at once after it failed.
    pub(crate) fn enqueue_own(&mut self, site: ChainKey, work: Work) {
        let now = self.now;
        let lane = self.lane(site);
        if lane.not_before <= now && !lane.waiting.contains(&work) {
            self.enqueue(site, work);
        }
    }

    /// What the daemon does by itself is not done at once.
    pub(crate) fn wait_with_own(&mut self, site: ChainKey) {
        let again = self.now.after_ms(LOOK_MS);
        self.lane(site).not_before = again;
    }

    /// What the daemon did by itself failed.
    pub(crate) fn failed_own(&mut self, site: ChainKey, act: crate::Act, error: E) {
        self.wait_with_own(site);
        self.tell(Notice::Failed { site, act, error });
    }

    /// Begins what waits in a lane, until something is being done.
    pub(crate) fn advance(&mut self, site: ChainKey) {
        while self.lane(site).doing.is_none() {
            let Some(work) = self.lane(site).waiting.pop_front() else {
                return;
            };
            self.begin(site, work);
        }
    }

    /// Begins a plan.
    pub(crate) fn carry_out(&mut self, site: ChainKey, plan: Plan, after: After<E>) {
        self.state.reserve(&plan);
        let plan = Arc::new(plan);
        if plan.prepare.is_empty() {
            return self.commit(site, plan, after);
        }
        self.push(Job::Prepare {
            site,
            id: after.request(),
            plan: Arc::clone(&plan),
        });
        self.lane(site).doing = Some(Doing::Preparing(plan, after));
    }

    pub(crate) fn commit(&mut self, site: ChainKey, plan: Arc<Plan>, after: After<E>) {
        self.push(Job::Commit {
            site,
            id: after.request(),
            plan: Arc::clone(&plan),
        });
        self.lane(site).doing = Some(Doing::Committing(plan, after));
    }

    /// Adds to what a request's client should know.
    pub(crate) fn note(&mut self, id: RequestId, notes: impl IntoIterator<Item = Note>) {
        if let Some(making) = making_of(&mut self.requests, id) {
            making.notes.extend(notes);
        }
    }
}
