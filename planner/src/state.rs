//! All that the daemon knows: every chain, every socket, and what is left to free.

use std::collections::BTreeMap;

use dispatcher_abi::Lifetime;

use crate::{
    Authority, Build, Chain, ChainDir, ChainId, ChainKey, CodeId, Commit, ConnectionId, Engines,
    FailureKind, Interface, Leases, MEND_AGAIN_MS, Member, MemberId, MemberState, Mend, Mends,
    Moment, Obsolete, Owner, Plan, Refusal, Start, Unreadable,
};

/// All that the daemon knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The chains.
    pub chains: BTreeMap<ChainId, Chain>,
    /// The sockets that clients have on receive queues.
    pub leases: Leases,
    /// What is left to free, by the directory that it is in.
    pub obsolete: BTreeMap<ChainDir, Obsolete>,
    /// What could not be mended of the chains' pins.
    pub mends: BTreeMap<ChainDir, Mends>,
    /// Chains that can't be read: they run on, and nothing of them is changed.
    pub unreadable: Vec<Unreadable>,
    /// The next chain's number.
    pub next_chain: ChainId,
    /// The next member's number.
    pub next_member: MemberId,
    /// What the daemon's probe found.
    pub engines: Engines,
}

impl State {
    /// No chains, on a kernel with these engines.
    pub fn new(engines: Engines) -> Self {
        Self {
            chains: BTreeMap::new(),
            leases: Leases::default(),
            obsolete: BTreeMap::new(),
            mends: BTreeMap::new(),
            unreadable: Vec::new(),
            next_chain: ChainId(1),
            next_member: MemberId(1),
            engines,
        }
    }

    /// The chain of an interface.
    pub fn at(&self, key: ChainKey) -> Option<&Chain> {
        let mut chains = self.chains.values();
        chains.find(|chain| chain.interface.key == key)
    }

    /// The chain of an interface, to be changed.
    pub fn at_mut(&mut self, key: ChainKey) -> Option<&mut Chain> {
        let mut chains = self.chains.values_mut();
        chains.find(|chain| chain.interface.key == key)
    }

    /// The chain that this interface may run and that can't be read.
    pub fn unreadable_at(&self, key: ChainKey) -> Option<&Unreadable> {
        let found = self.unreadable.iter().find(|chain| chain.concerns(key))?;
        // Where another chain is known, this is a former one beside the one that runs.
        self.at(key).is_none().then_some(found)
    }

    /// The member of this number, and its chain.
    pub fn member(&self, id: MemberId) -> Option<(&Chain, &Member)> {
        let mut chains = self.chains.values();
        chains.find_map(|chain| Some((chain, chain.member_by_id(id)?)))
    }

    /// Takes over a chain that was found. One whose number is 0, or another's, gets a new one.
    pub(crate) fn insert(&mut self, mut chain: Chain) -> ChainId {
        if chain.id == ChainId(0) || self.chains.contains_key(&chain.id) {
            chain.id = self.next_chain;
        }
        self.next_chain = self.next_chain.max(ChainId(chain.id.0 + 1));
        let id = chain.id;
        self.chains.insert(id, chain);
        id
    }

    /// Where the pins of a new chain go: the directory named after its interface, unless another
    /// chain has its pins there, or left some.
    pub(crate) fn new_dir(&self, interface: &Interface, id: ChainId) -> ChainDir {
        let dir = ChainDir {
            key: interface.key,
            again: 0,
        };
        let is_taken =
            self.obsolete.contains_key(&dir) || self.chains.values().any(|chain| chain.dir == dir);
        let again = if is_taken { id.0 } else { 0 };
        ChainDir { again, ..dir }
    }

    /// The number of a member's next code. One that is left to free has its own still.
    pub(crate) fn next_code(&self, dir: ChainDir, member: MemberId, now: CodeId) -> CodeId {
        let left = self.obsolete.get(&dir);
        let newest = left.and_then(|left| left.newest_code(member));
        CodeId(newest.map_or(now, |newest| newest.max(now)).0 + 1)
    }

    /// Sets the numbers aside that a plan uses, before anything of it is carried out: whatever
    /// becomes of it, nothing else gets them.
    pub fn reserve(&mut self, plan: &Plan) {
        self.next_chain = self.next_chain.max(ChainId(plan.chain.0 + 1));
        if let Some(chain) = self.chains.get_mut(&plan.chain) {
            chain.last_build = chain.last_build.max(plan.build);
        }
        let members = plan.next.iter().flat_map(|next| &next.members);
        let next = members.map(|member| MemberId(member.id.0 + 1)).max();
        self.next_member = self.next_member.max(next.unwrap_or(self.next_member));
    }

    /// Takes over what a plan did, once its commit is done: what is left of it is to be freed.
    pub fn commit(&mut self, plan: &Plan) {
        self.reserve(plan);
        self.leave(plan.dir, Obsolete::of(&plan.cleanup));
        match &plan.next {
            Some(next) => self.chains.insert(plan.chain, next.clone()),
            None => self.chains.remove(&plan.chain),
        };
    }

    /// Takes over that a plan's commit will never be done: what was prepared is to be freed.
    pub fn abandon(&mut self, plan: &Plan) {
        self.leave(plan.dir, plan.undo());
    }

    /// Takes over that a plan's commit was tried and failed.
    ///
    /// A link may have been there for a moment that could not be pinned: then packets are inside of
    /// what the plan built. An attachment that the kernel refused was never there.
    pub fn abandon_commit(&mut self, plan: &Plan, kind: FailureKind) {
        let attaches = matches!(plan.commit, Commit::Attach { .. } | Commit::Reattach { .. });
        let mut left = plan.undo();
        if attaches && kind == FailureKind::Failed {
            left.met_packets();
        }
        self.leave(plan.dir, left);
    }

    /// Adds to what is left to free in a directory.
    pub fn leave(&mut self, dir: ChainDir, obsolete: Obsolete) {
        if !obsolete.is_empty() {
            self.obsolete.entry(dir).or_default().merge(obsolete);
        }
    }

    /// A step that freed something is done. `newest`: [`Obsolete::newest`] when it was begun.
    pub fn freed(&mut self, dir: ChainDir, step: &crate::Cleanup, newest: Build) {
        if let Some(obsolete) = self.obsolete.get_mut(&dir) {
            obsolete.done(step, newest);
            if obsolete.is_empty() {
                self.obsolete.remove(&dir);
            }
        }
    }

    /// A step that was to make a chain's pins whole failed just now.
    pub fn not_mended(&mut self, dir: ChainDir, step: Mend, now: Moment) {
        let again = now.after_ms(MEND_AGAIN_MS);
        let steps = Vec::new();
        let mends = self.mends.entry(dir).or_insert(Mends { again, steps });
        mends.again = again;
        mends.steps.push(step);
    }

    /// Where something is to be mended by now.
    pub fn mends_due(&self, now: Moment) -> Vec<ChainDir> {
        let due = self.mends.iter().filter(|(_, mends)| mends.again <= now);
        due.map(|(dir, _)| *dir).collect()
    }

    /// Takes what is to be mended in a directory out of the state: what of it fails again is
    /// [`not_mended`](Self::not_mended). What its chain does without is forgotten.
    pub fn take_mends(&mut self, dir: ChainDir) -> Vec<Mend> {
        let mends = self.mends.remove(&dir).map_or(Vec::new(), |it| it.steps);
        let chain = self.chains.values().find(|chain| chain.dir == dir);
        let wanted = |step: &Mend| chain.is_some_and(|chain| step.concerns(chain));
        mends.into_iter().filter(wanted).collect()
    }

    /// A connection is gone: its attached members in an interface's chain linger from now on.
    pub fn connection_gone(
        &mut self,
        site: ChainKey,
        connection: ConnectionId,
        now: Moment,
    ) -> Vec<MemberId> {
        let mut lingering = Vec::new();
        let members = self.at_mut(site).map(|chain| &mut chain.members);
        for member in members.into_iter().flatten() {
            if member.owner.connection == Some(connection) && member.is_attached() {
                member.linger(now.after_ms(member.linger_ms));
                lingering.push(member.id);
            }
        }
        lingering
    }

    /// Takes a chain's attached members from their connections, which went with a former daemon.
    pub(crate) fn orphan_all(&mut self, chain: ChainId, start: Start) {
        let members = self.chains.get_mut(&chain).map(|found| &mut found.members);
        for member in members.into_iter().flatten() {
            if member.is_attached() {
                member.linger(start.until(member.linger_ms));
            }
        }
    }

    /// Makes a lingering member its client's again. It takes the uid that registered it and the
    /// token that it was registered with.
    pub fn reclaim(
        &mut self,
        authority: &Authority,
        site: ChainKey,
        member: MemberId,
        token: &[u8; 16],
    ) -> Result<(), Refusal> {
        let Some(found) = self.at_mut(site) else {
            return Err(Refusal::NoChain {
                interface: site.to_string(),
            });
        };
        let interface = found.interface.name.clone();
        authority.may_load(&interface)?;
        let Some(member) = found.members.iter_mut().find(|it| it.id == member) else {
            let name = member.to_string();
            return Err(Refusal::NoSuchMember { interface, name });
        };
        let name = member.name.clone();
        if member.state == MemberState::Running {
            return Err(Refusal::NotLingering { interface, name });
        }
        if member.owner.uid != authority.uid() || member.token != *token {
            return Err(Refusal::ClaimMismatch { interface, name });
        }
        member.state = MemberState::Running;
        member.owner = Owner::of(authority);
        Ok(())
    }

    /// The lingering members of each chain whose time is over.
    pub fn over(&self, now: Moment) -> BTreeMap<ChainId, Vec<MemberId>> {
        let mut over: BTreeMap<ChainId, Vec<MemberId>> = BTreeMap::new();
        for (id, chain) in &self.chains {
            let members = chain.members.iter().filter(|member| member.is_over(now));
            let ids: Vec<MemberId> = members.map(|member| member.id).collect();
            if !ids.is_empty() {
                over.insert(*id, ids);
            }
        }
        over
    }

    /// When each member or socket that waits for its client has had its time, and when what could not
    /// be mended is tried again.
    pub fn deadlines(&self) -> impl Iterator<Item = Moment> {
        let members = self.chains.values().flat_map(|chain| &chain.members);
        let until = members.filter_map(|member| match member.state {
            MemberState::Lingering { until } => Some(until),
            MemberState::Running => None,
        });
        let mends = self.mends.values().map(|mends| mends.again);
        until.chain(self.leases.deadlines()).chain(mends)
    }
}

impl Member {
    /// Whether its client's connection is what keeps it.
    fn is_attached(&self) -> bool {
        self.lifetime == Lifetime::Attached
    }

    /// Whether it lingers and its time is over.
    fn is_over(&self, now: Moment) -> bool {
        matches!(self.state, MemberState::Lingering { until } if until <= now)
    }

    /// Takes the member from its connection.
    fn linger(&mut self, until: Moment) {
        self.owner.connection = None;
        self.state = MemberState::Lingering { until };
    }
}
