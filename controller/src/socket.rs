//! `AF_XDP` sockets: queues are leased, given their packets, taken back.

use dispatcher_abi::{
    EngineChoice, Lifetime, OnMiss, REDIRECT_MEMBER, REDIRECT_PRIORITY, VerdictMask,
};
use planner::{
    Abilities, Authority, BuiltIn, ChainKey, Change, Interface, LeaseState, Loading, Opening,
    Operation, Outline, Refusal, Registration, SocketKey,
};

use crate::change::Making;
use crate::controller::Life;
use crate::lane::{Doing, Work};
use crate::{Act, Answer, Controller, GiveFailure, Job, Notice, RedirectCode, RequestId};

impl<E: Clone> Controller<E> {
    /// Leases a queue, before anything is made: of two that want it one hears of the other.
    pub(crate) fn open(&mut self, id: RequestId, authority: &Authority, opening: &Opening) {
        let answer = match self.lease(authority, opening) {
            Ok(_) => Answer::Leased,
            Err(refusal) => Answer::Refused(refusal),
        };
        self.changed();
        self.answer(id, answer);
    }

    fn lease(&mut self, authority: &Authority, opening: &Opening) -> Result<SocketKey, Refusal> {
        self.state.leases.check_token(opening)?;
        self.state.leases.open(authority, opening)
    }

    /// A leased queue's socket was made, or could not be.
    pub(crate) fn made(&mut self, id: RequestId, key: SocketKey, made: bool) {
        self.changed();
        if made {
            // The interface may have gone in between, and the lease with it.
            let is_leased = self.state.leases.opened(key);
            if is_leased {
                self.push(Job::Keep(id));
            }
            return self.answer(id, Answer::Made(is_leased));
        }
        let lease = self.state.leases.close(key);
        let leases = &self.state.leases;
        let left_open = lease.and_then(|lease| leases.left_open(&lease.interface, key.place));
        self.answer(id, Answer::NotMade(left_open));
    }

    /// Gives a queue's packets to its socket, after the redirect program where there is none.
    pub(crate) fn activate(&mut self, site: ChainKey, id: RequestId, key: SocketKey) {
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        let leases = &self.state.leases;
        let interface = &asked.site.name;
        if let Err(refusal) = leases.may_activate(&asked.authority, interface, key) {
            return self.answer(id, Answer::Refused(refusal));
        }
        if leases.receiver(key.place) == Some(key) {
            return self.answer_activated(id);
        }
        if self.redirect_code(site).is_some() {
            return self.give(site, key, Some(id), false);
        }
        let making = asked.making.as_ref();
        if making.is_some_and(|making| making.ready.is_some()) {
            return self.begin_change(site, id);
        }
        let change = with_redirect(&asked.site);
        let outline = Outline {
            program: BuiltIn::XskRedirect.program().to_owned(),
            abilities: Abilities {
                obstacle: None,
                frags: self.frags,
            },
        };
        let loading = Loading::new(self.daemon.clone(), change, vec![outline]);
        if let Some(asked) = self.requests.get_mut(&id) {
            asked.making = Some(Making::new(loading, false));
        }
        self.load(id);
    }

    fn answer_activated(&mut self, id: RequestId) {
        let asked = self.requests.get_mut(&id);
        let making = asked.and_then(|asked| asked.making.take());
        let notes = making.map(|making| making.notes).unwrap_or_default();
        self.answer(id, Answer::Activated { notes });
    }

    fn give(&mut self, site: ChainKey, key: SocketKey, id: Option<RequestId>, again: bool) {
        let (Some(to), Some(lease)) = (self.redirect_code(site), self.state.leases.get(key)) else {
            return;
        };
        let lease = lease.clone();
        self.push(Job::Give {
            site,
            to,
            key,
            lease,
            again,
        });
        self.lane(site).doing = Some(Doing::Giving { id, key });
    }

    /// A socket got its queue's packets, or didn't.
    pub(crate) fn given(&mut self, site: ChainKey, outcome: Result<(), GiveFailure<E>>) {
        let Doing::Giving { id, key } = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        match (id, outcome) {
            (Some(id), Ok(())) => self.socket_active(id, key),
            (Some(id), Err(failure)) => {
                let interface = self.requests.get(&id).map(|asked| asked.site.name.clone());
                let interface = interface.unwrap_or_else(|| self.name_of(site));
                let queue = key.place.queue;
                let answer = match failure {
                    GiveFailure::NoRxRing => {
                        Answer::Refused(Refusal::NoRxRing { interface, queue })
                    }
                    GiveFailure::NoFrames => {
                        Answer::Refused(Refusal::NoFrames { interface, queue })
                    }
                    GiveFailure::Failed(error) => Answer::Failed {
                        error,
                        in_the_way: Vec::new(),
                    },
                };
                self.answer(id, answer);
            }
            (None, Err(GiveFailure::Failed(error))) => {
                self.not_given.insert(key);
                self.failed_own(site, Act::Give, error);
            }
            (None, Ok(()) | Err(GiveFailure::NoRxRing | GiveFailure::NoFrames)) => {
                self.not_given.remove(&key);
            }
        }
        self.advance(site);
    }

    fn socket_active(&mut self, id: RequestId, key: SocketKey) {
        self.state.leases.activated(key);
        self.changed();
        if let Some(asked) = self.requests.get(&id) {
            let notice = Notice::SocketActive {
                interface: asked.site.name.clone(),
                queue: key.place.queue,
                uid: asked.authority.uid(),
            };
            self.tell(notice);
        }
        self.answer_activated(id);
    }

    /// A chain's redirect program is new and knows none of the sockets that are active.
    pub(crate) fn redirect_is_new(&mut self, site: ChainKey) {
        let leases = self.state.leases.iter();
        let active = leases
            .filter(|(key, lease)| key.place.chain == site && lease.state == LeaseState::Active);
        let active: Vec<SocketKey> = active.map(|(key, _)| key).collect();
        if !active.is_empty() {
            self.lane(site).waiting.push_front(Work::GiveAgain(active));
        }
    }

    pub(crate) fn give_again(&mut self, site: ChainKey, mut keys: Vec<SocketKey>) {
        let Some(key) = keys.pop() else {
            return;
        };
        if !keys.is_empty() {
            self.lane(site).waiting.push_front(Work::GiveAgain(keys));
        }
        self.give(site, key, None, true);
    }

    pub(crate) fn close(&mut self, site: ChainKey, id: RequestId, key: SocketKey) {
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        let own = self
            .state
            .leases
            .own(&asked.authority, &asked.site.name, key);
        if let Err(refusal) = own {
            return self.answer(id, Answer::Refused(refusal));
        }
        self.drop_sockets(site, vec![key], Some(id));
    }

    pub(crate) fn reclaim_socket(
        &mut self,
        site: ChainKey,
        id: RequestId,
        key: SocketKey,
        cookie: u64,
    ) {
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        let (uid, interface) = (asked.authority.uid(), asked.site.name.clone());
        let leases = &mut self.state.leases;
        if let Err(refusal) = leases.reclaim(&asked.authority, &interface, key, cookie) {
            return self.answer(id, Answer::Refused(refusal));
        }
        // It is to stay now.
        self.not_taken.remove(&key);
        self.push(Job::Keep(id));
        self.changed();
        let queue = key.place.queue;
        self.tell(Notice::SocketBack {
            interface,
            queue,
            uid,
        });
        self.answer(id, Answer::SocketReclaimed);
        self.give(site, key, None, true);
    }

    /// Gives queues back: first their packets are taken from the sockets. `closing`: the request that
    /// is answered then.
    pub(crate) fn drop_sockets(
        &mut self,
        site: ChainKey,
        keys: Vec<SocketKey>,
        closing: Option<RequestId>,
    ) {
        let leases = &self.state.leases;
        let queues = keys.iter().filter(|key| {
            // A socket beside it may be the one that gets the packets.
            let receiver = leases.receiver(key.place);
            leases.get(**key).is_some() && receiver.is_none_or(|receiver| receiver == **key)
        });
        let queues: Vec<u32> = queues.map(|key| key.place.queue).collect();
        if let Some(from) = self.redirect_code(site)
            && !queues.is_empty()
        {
            self.push(Job::Take { site, from, queues });
            self.lane(site).doing = Some(Doing::Taking { keys, closing });
            return;
        }
        self.leave(site, &keys, closing);
    }

    /// Gives the queues of an interface back that could not be before.
    pub(crate) fn drop_again(&mut self, site: ChainKey) {
        let not_taken = self.not_taken.iter();
        let keys = not_taken.filter(|key| key.place.chain == site).copied();
        let keys: Vec<SocketKey> = keys.collect();
        if !keys.is_empty() {
            self.drop_sockets(site, keys, None);
        }
    }

    pub(crate) fn taken(&mut self, site: ChainKey, error: Option<E>) {
        let Doing::Taking { keys, closing } = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        match error {
            Some(error) => self.not_taken(site, keys, closing, error),
            None => self.leave(site, &keys, closing),
        }
        self.advance(site);
    }

    /// Queues' packets could not be taken: the queues stay leased, the sockets in the map, and the
    /// chain where it is, until a look comes by.
    fn not_taken(
        &mut self,
        site: ChainKey,
        keys: Vec<SocketKey>,
        closing: Option<RequestId>,
        error: E,
    ) {
        // One that detaches and stops comes by no more.
        if self.life == Life::Running {
            let waiting = &mut self.lane(site).waiting;
            waiting.retain(|work| *work != Work::RemoveChain);
        }
        if let Some(id) = closing {
            let in_the_way = Vec::new();
            let error = error.clone();
            self.answer(id, Answer::Failed { error, in_the_way });
        }
        self.not_taken.extend(keys);
        self.failed_own(site, Act::Take, error);
    }

    /// Frees queues whose packets nobody gets any more. `closing`: the request that is answered then,
    /// once the redirect program went with its last socket.
    fn leave(&mut self, site: ChainKey, keys: &[SocketKey], closing: Option<RequestId>) {
        for key in keys {
            self.not_taken.remove(key);
            self.not_given.remove(key);
            let Some(lease) = self.state.leases.get(*key) else {
                continue;
            };
            let (counts, state) = (lease.owner.uid != 0, lease.state);
            self.changed();
            match state {
                // There is nothing to watch: its socket is not made yet, or is not the daemon's.
                LeaseState::Opening | LeaseState::Lingering { .. } => {
                    self.state.leases.close(*key);
                }
                LeaseState::Opened | LeaseState::Active => {
                    self.state.leases.leave(*key);
                    self.push(Job::Release { key: *key, counts });
                }
            }
        }
        let waiting = &mut self.lane(site).waiting;
        if let Some(id) = closing {
            waiting.push_front(Work::Closed(id));
        }
        if !waiting.contains(&Work::RemoveChain) {
            waiting.push_front(Work::DropRedirect);
        }
    }

    /// Sockets' clients did not come back.
    pub(crate) fn expire_sockets(&mut self, site: ChainKey) {
        let mut keys = self.state.leases.over(self.now);
        keys.retain(|key| key.place.chain == site);
        if keys.is_empty() {
            return;
        }
        let queues = keys.iter().map(|key| key.place.queue).collect();
        self.tell(Notice::SocketsExpired { site, queues });
        self.drop_sockets(site, keys, None);
    }

    /// Sockets' interfaces are gone, which had no chain.
    pub(crate) fn swept(&mut self, gone: Vec<SocketKey>) {
        for key in gone {
            let site = key.place.chain;
            if self.state.at(site).is_none() && self.state.leases.get(key).is_some() {
                let interface = self.name_of(site);
                self.tell(Notice::InterfaceGone { interface });
                self.enqueue(site, Work::DropSockets(vec![key]));
            }
        }
    }

    /// The redirect program's code in a lane's chain; `None` if it has none.
    fn redirect_code(&self, site: ChainKey) -> Option<RedirectCode> {
        let chain = self.state.at(site)?;
        let member = chain.redirect()?;
        Some(RedirectCode {
            dir: chain.dir,
            member: member.id,
            code: member.code,
        })
    }
}

/// The change that registers the redirect program.
fn with_redirect(interface: &Interface) -> Change {
    Change {
        interface: interface.clone(),
        expected_revision: None,
        expected_members: Vec::new(),
        mode: None,
        operations: vec![Operation::Register(Registration {
            name: Some(REDIRECT_MEMBER.to_owned()),
            built_in: Some(BuiltIn::XskRedirect),
            priority: Some(REDIRECT_PRIORITY),
            chain_call: Some(VerdictMask::PASS),
            allowed: None,
            on_miss: OnMiss::Abort,
            lifetime: Lifetime::Kept,
            linger_ms: 0,
            engine: EngineChoice::Auto,
            tail_depth: None,
            share_group: None,
            token: [0; 16],
        })],
    }
}
