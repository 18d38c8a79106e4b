//! The one thread that owns the state and the descriptors: it decides, executes, commits,
//! publishes. It never waits for a verifier: programs arrive loaded.

mod remarks;
mod socket_event;
mod sockets;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use dispatcher_abi::ModeChoice;
use planner::{
    Chain, ChainKey, Change, Cleanup, Client, Commit, ConnectionId, Engines, Facts, LoadId,
    MemberId, Operation, Orphan, Plan, Refusal, Rights, SocketLimits, State,
};

use protocol::Note;

use self::sockets::Sockets;
use crate::executor;
use crate::kernel::{Kernel, KernelError, KernelErrorKind, Linux, Staged};
use crate::object::Object;
use crate::objects::Objects;
use crate::published::{Board, Published};

pub use self::socket_event::{Activation, SocketError, SocketEvent, SocketRequest};

/// How often the hooks are looked at, and cleanup that failed is tried again.
const SWEEP: Duration = Duration::from_secs(1);
/// How long an attached member waits for its client after the daemon restarted, at least.
const ORPHAN_LINGER: Duration = Duration::from_secs(30);

/// Everything that happens, on one channel.
#[derive(Debug)]
pub enum Event {
    /// A client wants a chain changed.
    Change(Box<ChangeRequest>),
    /// A client wants a lingering member back.
    Reclaim {
        /// Who.
        client: Client,
        /// Which chain.
        chain: ChainKey,
        /// Which member.
        name: String,
        /// Its token.
        token: [u8; 16],
        /// Where the answer goes.
        reply: SyncSender<Result<(), Refusal>>,
    },
    /// Something happens to an `AF_XDP` socket.
    Socket(Box<SocketEvent>),
    /// A connection ended.
    ConnectionGone(ConnectionId),
    /// The daemon stops.
    Shutdown {
        /// Whether the chains go with it.
        detach: bool,
    },
}

/// A change, with what was loaded for it.
#[derive(Debug)]
pub struct ChangeRequest {
    /// Who.
    pub client: Client,
    /// What.
    pub change: Change,
    /// What was learned of each registered or replaced program, in the order of the operations.
    pub facts: Vec<Facts>,
    /// What was learned of each member's code that was loaded again.
    pub reloaded: Vec<Facts>,
    /// The programs themselves.
    pub staged: BTreeMap<LoadId, Staged>,
    /// What the new ones were loaded from.
    pub objects: Vec<Arc<Object>>,
    /// The namespace of the interface.
    pub namespace: Arc<OwnedFd>,
    /// Plan only.
    pub dry_run: bool,
    /// Where the answer goes.
    pub reply: SyncSender<Result<Outcome, ChangeError>>,
}

/// What a change did, or would do.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was planned.
    pub plan: Plan,
    /// What the caller should know.
    pub notes: Vec<Note>,
}

/// Why a change was not made.
#[derive(Debug)]
pub enum ChangeError {
    /// The planner turned it down.
    Refused(Refusal),
    /// The kernel refused a step.
    Kernel(KernelError),
    /// The chain is another version's.
    Foreign,
}

/// The engine's thread.
#[derive(Debug)]
pub struct Engine {
    kernel: Linux,
    objects: Objects,
    state: State,
    sockets: Sockets,
    board: Board,
    /// When members whose client is gone go too.
    lingering: BTreeMap<(ChainKey, MemberId), Instant>,
    /// Cleanup that failed, to be tried again.
    leftovers: Vec<(ChainKey, Vec<Cleanup>)>,
    /// Chains whose registry this version can't read: they run on, and nothing touches them.
    foreign: BTreeSet<ChainKey>,
    /// Chains whose hook is known to be in trouble, so that it is said once.
    troubled: BTreeSet<ChainKey>,
    /// Packets that members are known to have missed, so that each is warned of once.
    missed: BTreeMap<MemberId, u64>,
}

impl Engine {
    /// Finds what is pinned, compares it with what runs, and goes on from there.
    pub fn start(
        mut kernel: Linux,
        objects: Objects,
        engines: Engines,
        limits: SocketLimits,
    ) -> Result<Self, KernelError> {
        let observed = kernel.observe()?;
        let recovery = planner::reconcile(&observed, engines);
        for chain in &recovery.foreign {
            tracing::warn!(%chain, "this chain's registry can't be read by this version: it runs on and is not changed");
        }
        for chain in recovery.state.chains.values() {
            tracing::info!(
                interface = %chain.interface.name,
                generation = chain.generation.0,
                members = chain.members.len(),
                "continuing a chain",
            );
        }
        let now = Instant::now();
        let lingering = recovery
            .orphans
            .iter()
            .map(|orphan| (key_of(orphan), now + linger_of(orphan).max(ORPHAN_LINGER)))
            .collect();
        let sockets = Sockets::recover(limits, &kernel, &recovery.state)?;
        let board = Board::new(published(&kernel, recovery.state.clone(), &sockets));
        let mut engine = Self {
            kernel,
            objects,
            state: recovery.state,
            sockets,
            board,
            lingering,
            leftovers: recovery.leftovers,
            foreign: recovery.foreign.into_iter().collect(),
            troubled: BTreeSet::new(),
            missed: BTreeMap::new(),
        };
        for error in engine.finish_leftovers(None) {
            tracing::warn!(%error, source = %error.source, "what an earlier daemon left could not be freed and will be tried again");
        }
        engine.publish();
        engine.drop_objects();
        engine.sweep();
        Ok(engine)
    }

    /// Where the sessions read.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Handles events until the daemon stops.
    pub fn run(mut self, events: &Receiver<Event>) {
        let mut next_sweep = Instant::now() + SWEEP;
        loop {
            let wake = self
                .lingering
                .values()
                .copied()
                .min()
                .map_or(next_sweep, |first| first.min(next_sweep));
            let wait = wake.saturating_duration_since(Instant::now());
            match events.recv_timeout(wait) {
                Ok(Event::Shutdown { detach }) => return self.shut_down(detach),
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.shut_down(false),
            }
            let now = Instant::now();
            self.expire(now);
            if now >= next_sweep {
                next_sweep = now + SWEEP;
                for error in self.finish_leftovers(None) {
                    tracing::debug!(%error, source = %error.source, "cleanup failed again");
                }
                self.sweep();
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Change(request) => {
                let mut request = *request;
                let key = request.change.interface.key;
                let hook = self.check_hook(key, Some(&request.namespace));
                self.kernel.lend(
                    Arc::clone(&request.namespace),
                    std::mem::take(&mut request.staged),
                );
                let outcome = self.change(&mut request, hook.err());
                self.kernel.take_back();
                if !request.dry_run {
                    self.drop_objects();
                }
                // A client that went away in between has no use for the answer.
                let _ = request.reply.send(outcome);
            }
            Event::Reclaim {
                client,
                chain,
                name,
                token,
                reply,
            } => {
                let _ = reply.send(self.reclaim(&client, chain, &name, &token));
            }
            Event::Socket(event) => self.socket_event(*event),
            Event::ConnectionGone(connection) => {
                self.sockets_of_connection_gone(connection);
                let now = Instant::now();
                let orphans = self.state.connection_gone(connection);
                if orphans.is_empty() {
                    return;
                }
                for orphan in &orphans {
                    tracing::info!(interface = %self.name_of(orphan.chain), member = %orphan.name, linger_ms = orphan.linger_ms, "the member's client is gone");
                    self.lingering
                        .insert(key_of(orphan), now + linger_of(orphan));
                }
                self.publish();
            }
            Event::Shutdown { .. } => {}
        }
    }

    fn change(
        &mut self,
        request: &mut ChangeRequest,
        mut unattached: Option<KernelError>,
    ) -> Result<Outcome, ChangeError> {
        let ChangeRequest {
            client,
            change,
            facts,
            reloaded,
            objects,
            dry_run,
            ..
        } = request;
        if self.foreign.contains(&change.interface.key) {
            return Err(ChangeError::Foreign);
        }
        let mut notes = Vec::new();
        loop {
            let plan = planner::decide(&self.state, client, change, facts, reloaded)
                .map_err(ChangeError::Refused)?;
            if *dry_run {
                return Ok(Outcome { plan, notes });
            }
            // A chain that is not on its interface can only be taken away.
            if !matches!(plan.commit, Commit::Detach { .. })
                && let Some(error) = unattached.take()
            {
                return Err(ChangeError::Kernel(error));
            }
            self.keep_objects(objects, &mut notes);
            match self.execute(&plan) {
                Ok(()) => {
                    notes.extend(remarks::by_tail_call(&plan, self.state.engines));
                    return Ok(Outcome { plan, notes });
                }
                Err(error) if falls_back(change, &plan, &error) => {
                    notes.push(remarks::generic_instead(&error, &plan));
                    change.mode = Some(ModeChoice::Generic);
                }
                Err(error) => return Err(ChangeError::Kernel(remarks::explained(error, &plan))),
            }
        }
    }

    /// Keeps what members were loaded from. A chain runs without it as well.
    fn keep_objects(&self, objects: &[Arc<Object>], notes: &mut Vec<Note>) {
        for object in objects {
            if let Err(error) = self.objects.put(&object.digest(), object.bytes()) {
                notes.push(Note::ObjectNotKept {
                    error: error.to_string(),
                });
            }
        }
    }

    /// Drops the objects that nobody runs any more. What is left is dropped another time. While there
    /// are chains whose members aren't known, everything stays.
    fn drop_objects(&self) {
        if !self.foreign.is_empty() {
            return;
        }
        if let Err(error) = self.objects.drop_unused(&self.state) {
            tracing::warn!(%error, "objects that no member runs could not be dropped");
        }
    }

    /// Carries a plan out and takes its result for the state.
    ///
    /// What an earlier change of this chain left to free goes first: generations are numbered anew
    /// in a chain that is made again, and counts are added in the order of generations.
    fn execute(&mut self, plan: &Plan) -> Result<(), KernelError> {
        if let Some(error) = self.finish_leftovers(Some(plan.chain)).pop() {
            return Err(error);
        }
        let failures = executor::run(&mut self.kernel, plan)?;
        self.state.commit(plan);
        for error in &failures {
            tracing::warn!(interface = %plan.interface, %error, source = %error.source, "cleanup failed and will be tried again");
        }
        if !failures.is_empty() {
            self.leftovers.push((plan.chain, plan.cleanup.clone()));
        }
        self.lingering.retain(|(chain, member), _| {
            self.state
                .chains
                .get(chain)
                .is_some_and(|chain| chain.members.iter().any(|known| known.id == *member))
        });
        self.publish();
        Ok(())
    }

    fn reclaim(
        &mut self,
        client: &Client,
        chain: ChainKey,
        name: &str,
        token: &[u8; 16],
    ) -> Result<(), Refusal> {
        self.state.reclaim(client, chain, name, token)?;
        if let Some((_, member)) = self
            .state
            .chains
            .get(&chain)
            .and_then(|chain| chain.member(name))
        {
            self.lingering.remove(&(chain, member.id));
        }
        tracing::info!(interface = %self.name_of(chain), member = %name, uid = client.uid, "the member's client is back");
        self.publish();
        Ok(())
    }

    /// Removes the members whose linger time is over.
    fn expire(&mut self, now: Instant) {
        let mut due: BTreeMap<ChainKey, Vec<MemberId>> = BTreeMap::new();
        self.lingering.retain(|(chain, member), deadline| {
            let over = *deadline <= now;
            if over {
                due.entry(*chain).or_default().push(*member);
            }
            !over
        });
        for (chain, members) in due {
            let Some(plan) = planner::expire(&self.state, chain, &members) else {
                continue;
            };
            tracing::info!(interface = %self.name_of(chain), members = members.len(), "removing members whose clients did not come back");
            let executed = self.execute(&plan);
            self.drop_objects();
            if let Err(error) = executed {
                tracing::error!(interface = %self.name_of(chain), %error, source = %error.source, "a lingering member could not be removed; tried again");
                let again = now + SWEEP;
                self.lingering
                    .extend(members.into_iter().map(|member| ((chain, member), again)));
            }
        }
    }

    /// Takes a chain away, and returns whether that worked.
    fn remove_all(&mut self, chain: &Chain) -> bool {
        let change = Change {
            interface: chain.interface.clone(),
            expected_generation: None,
            mode: None,
            operations: vec![Operation::UnregisterAll],
        };
        let removed = match planner::decide(&self.state, &daemon(), &change, &[], &[]) {
            Ok(plan) => self.execute(&plan).map_err(|error| error.to_string()),
            Err(refusal) => Err(refusal.to_string()),
        };
        if let Err(error) = &removed {
            tracing::error!(interface = %chain.interface.name, %error, "the chain could not be removed");
        }
        removed.is_ok()
    }

    /// The interface's name, for logs.
    fn name_of(&self, chain: ChainKey) -> &str {
        let found = self.state.chains.get(&chain);
        found.map_or("?", |chain| chain.interface.name.as_str())
    }

    /// Tries again to free what is left, of one chain or of all, and returns what failed again.
    fn finish_leftovers(&mut self, only: Option<ChainKey>) -> Vec<KernelError> {
        let mut failures = Vec::new();
        for (chain, steps) in std::mem::take(&mut self.leftovers) {
            if only.is_some_and(|only| only != chain) {
                self.leftovers.push((chain, steps));
                continue;
            }
            let failed = executor::finish(&mut self.kernel, chain, &steps);
            if !failed.is_empty() {
                self.leftovers.push((chain, steps));
            }
            failures.extend(failed);
        }
        failures
    }

    fn shut_down(mut self, detach: bool) {
        let chains: Vec<Chain> = self.state.chains.values().cloned().collect();
        for chain in &chains {
            if detach {
                if self.remove_all(chain) {
                    tracing::info!(interface = %chain.interface.name, "took the chain off its interface");
                }
            } else {
                tracing::info!(
                    interface = %chain.interface.name,
                    members = chain.members.len(),
                    "the chain keeps running without the daemon",
                );
            }
        }
    }

    fn publish(&self) {
        self.board
            .publish(published(&self.kernel, self.state.clone(), &self.sockets));
    }
}

/// Who asks for what the daemon itself does.
pub(crate) fn daemon() -> Client {
    Client {
        uid: 0,
        pid: std::process::id(),
        name: "dispatchd".to_owned(),
        connection: ConnectionId(0),
        rights: Rights::All,
    }
}

/// Whether a change that made a chain in native mode is worth trying in generic mode.
fn falls_back(change: &Change, plan: &Plan, error: &KernelError) -> bool {
    matches!(plan.commit, Commit::Attach { .. })
        && error.kind == KernelErrorKind::Mode
        && matches!(change.mode, None | Some(ModeChoice::Auto))
}

fn key_of(orphan: &Orphan) -> (ChainKey, MemberId) {
    (orphan.chain, orphan.member)
}

fn linger_of(orphan: &Orphan) -> Duration {
    Duration::from_millis(u64::from(orphan.linger_ms))
}

fn published(kernel: &Linux, state: State, sockets: &Sockets) -> Published {
    let mut counters = BTreeMap::new();
    let mut maps = BTreeMap::new();
    for (key, chain) in &state.chains {
        counters.insert(*key, kernel.counters(*key, chain.generation));
        for member in &chain.members {
            maps.insert(member.id, kernel.maps(*key, member.id, member.code));
        }
    }
    Published {
        state,
        counters,
        maps,
        sockets: sockets.published(),
    }
}
