//! Whose the interfaces' receive queues are: who may open an `AF_XDP` socket on one, who has one, and
//! whether a chain needs the redirect program.

use std::collections::BTreeMap;

use crate::{
    Chain, ChainKey, Change, Client, ConnectionId, Interface, Operation, Owner, PinnedMemory,
    Refusal, Rights, SocketLimits,
    quota::{Remnant, Share},
};
use dispatcher_abi::REDIRECT_MEMBER;

/// A receive queue of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey {
    /// The interface's chain, whether or not there is one.
    pub chain: ChainKey,
    /// Its number.
    pub queue: u32,
}

/// A socket on a receive queue. A queue has several if its client opens others beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketKey {
    /// The queue.
    pub place: QueueKey,
    /// What names the socket.
    pub token: [u8; 16],
}

/// A socket to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// On which interface.
    pub interface: Interface,
    /// On which receive queue.
    pub queue: u32,
    /// The memory that its frames are in.
    pub memory: PinnedMemory,
    /// It shares the queue with the client's other sockets there, whose memory it has.
    pub beside: bool,
    /// Its client binds it.
    pub bare: bool,
    /// The redirect program gives it packets, once it is active.
    pub redirect: bool,
    /// Random, chosen by the session: what names the socket.
    pub token: [u8; 16],
}

/// A socket on a queue that is somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The interface.
    pub interface: String,
    /// Whose.
    pub owner: Owner,
    /// The memory that its socket's frames are in.
    pub memory: PinnedMemory,
    /// The redirect program gives it packets, once it is active.
    pub redirect: bool,
    /// What names the socket.
    pub token: [u8; 16],
    /// What it is doing.
    pub state: ClaimState,
}

/// What a claimed queue's socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// It was opened.
    Opened,
    /// It gets the queue's packets.
    Active,
    /// It gets them, and its client has to come back for it, since the daemon was started anew. The
    /// socket's `SO_COOKIE`, by which it is known again.
    Lingering {
        /// `SO_COOKIE`.
        cookie: u64,
    },
}

/// Every claim on every interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    sockets: BTreeMap<SocketKey, Claim>,
    /// Sockets that may be open without a claim, by token.
    remnants: BTreeMap<[u8; 16], Remnant>,
    limits: SocketLimits,
}

impl Claims {
    /// No claims, within these limits.
    pub fn new(limits: SocketLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Gives a queue to a client, or a place on its own, if it may have it. `may_bare`: it may bind
    /// sockets itself.
    pub fn open(
        &mut self,
        client: &Client,
        opening: &Opening,
        may_bare: bool,
    ) -> Result<SocketKey, Refusal> {
        client.may_ask()?;
        let interface = &opening.interface.name;
        if opening.bare && !may_bare && client.rights != Rights::All {
            return Err(Refusal::BareNotAllowed {
                uid: client.uid,
                interface: interface.clone(),
            });
        }
        let key = SocketKey {
            place: QueueKey {
                chain: opening.interface.key,
                queue: opening.queue,
            },
            token: opening.token,
        };
        self.check_queue(client, opening, key.place)?;
        self.check_quota(client, interface, opening.memory)?;
        let claim = Claim {
            interface: interface.clone(),
            owner: Owner {
                uid: client.uid,
                pid: client.pid,
                client: client.name.clone(),
                connection: client.connection,
            },
            memory: opening.memory,
            redirect: opening.redirect,
            token: opening.token,
            state: ClaimState::Opened,
        };
        self.sockets.insert(key, claim);
        Ok(key)
    }

    /// A queue is free, or all that is on it is this client's and in the same memory.
    fn check_queue(
        &self,
        client: &Client,
        opening: &Opening,
        place: QueueKey,
    ) -> Result<(), Refusal> {
        let interface = &opening.interface.name;
        let mut others = self.on(place).peekable();
        if opening.beside && others.peek().is_none() {
            return Err(Refusal::NoSuchSocket {
                interface: interface.clone(),
                queue: place.queue,
            });
        }
        let together = |claim: &Claim| {
            opening.beside
                && claim.owner.connection == client.connection
                && claim.memory.of == opening.memory.of
        };
        match others.find(|(_, claim)| !together(claim)) {
            Some((_, claim)) => Err(claim.taken(interface, place.queue)),
            None => Ok(()),
        }
    }

    /// Refuses a token that names another socket already: its client draws it anew for each, and
    /// quotas tell sockets apart by it.
    pub fn check_token(&self, opening: &Opening) -> Result<(), Refusal> {
        let mut known = self.sockets.keys().map(|key| &key.token);
        if known.any(|token| *token == opening.token) || self.remnants.contains_key(&opening.token)
        {
            return Err(Refusal::TokenTaken {
                interface: opening.interface.name.clone(),
                queue: opening.queue,
            });
        }
        Ok(())
    }

    fn check_quota(
        &self,
        client: &Client,
        interface: &str,
        memory: PinnedMemory,
    ) -> Result<(), Refusal> {
        if client.rights == Rights::All {
            return Ok(());
        }
        let mut share = Share::default();
        let claims = self.sockets.values();
        for claim in claims.filter(|claim| claim.owner.uid == client.uid) {
            share.add(claim.memory);
        }
        let remnants = self.remnants.values();
        for remnant in remnants.filter(|remnant| remnant.claim.owner.uid == client.uid) {
            share.add_remnant(remnant);
        }
        self.limits.check(client.uid, interface, &share, memory)
    }

    /// The claim of a socket that is this connection's.
    pub fn own(&self, client: &Client, interface: &str, key: SocketKey) -> Result<&Claim, Refusal> {
        let found = self.sockets.get(&key);
        found
            .filter(|claim| claim.owner.connection == client.connection)
            .ok_or_else(|| Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue: key.place.queue,
            })
    }

    /// Whether a socket of this connection may be given its queue's packets.
    pub fn may_activate(
        &self,
        client: &Client,
        interface: &str,
        key: SocketKey,
    ) -> Result<(), Refusal> {
        let queue = key.place.queue;
        if !self.own(client, interface, key)?.redirect {
            return Err(Refusal::NotRedirected {
                interface: interface.to_owned(),
                queue,
            });
        }
        if self.receiver(key.place).is_some_and(|other| other != key) {
            return Err(Refusal::HasReceiver {
                interface: interface.to_owned(),
                queue,
            });
        }
        Ok(())
    }

    /// The socket that gets a queue's packets.
    pub fn receiver(&self, place: QueueKey) -> Option<SocketKey> {
        let mut on = self.on(place);
        let found = on.find(|(_, claim)| claim.state != ClaimState::Opened);
        found.map(|(key, _)| key)
    }

    /// The queue's packets go to this socket from now on.
    pub fn activated(&mut self, key: SocketKey) {
        if let Some(claim) = self.sockets.get_mut(&key) {
            claim.state = ClaimState::Active;
        }
    }

    /// Makes a lingering claim its client's again: the same user, token and socket.
    pub fn reclaim(
        &mut self,
        client: &Client,
        interface: &str,
        key: SocketKey,
        cookie: u64,
    ) -> Result<(), Refusal> {
        let queue = key.place.queue;
        if self.on(key.place).next().is_none() {
            return Err(Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue,
            });
        }
        let mismatch = || Refusal::SocketMismatch {
            interface: interface.to_owned(),
            queue,
        };
        let claim = self.sockets.get_mut(&key).ok_or_else(mismatch)?;
        let lingers = claim.state == ClaimState::Lingering { cookie };
        if !lingers || claim.owner.uid != client.uid {
            return Err(mismatch());
        }
        claim.state = ClaimState::Active;
        claim.owner.pid = client.pid;
        claim.owner.client.clone_from(&client.name);
        claim.owner.connection = client.connection;
        Ok(())
    }

    /// Takes over a claim that an earlier daemon wrote down.
    pub fn recover(&mut self, place: QueueKey, claim: Claim) -> SocketKey {
        let key = SocketKey {
            place,
            token: claim.token,
        };
        self.sockets.insert(key, claim);
        key
    }

    /// Takes a socket off its queue which others may have open: it counts as its user's until it is
    /// [gone](Self::gone). With its last socket a queue is free.
    pub fn leave(&mut self, key: SocketKey) -> Option<Claim> {
        let claim = self.close(key)?;
        let remnant = Remnant {
            place: key.place,
            claim: claim.clone(),
        };
        self.remnants.insert(claim.token, remnant);
        Some(claim)
    }

    /// Who gave a queue back which the kernel doesn't give to another socket, and has not closed its own.
    /// What a bare socket is bound to isn't known here.
    pub fn left_open(&self, interface: &str, place: QueueKey) -> Option<Refusal> {
        let mut remnants = self.remnants.values();
        let on_queue = |remnant: &&Remnant| remnant.place == place;
        let remnant = remnants.find(|it| on_queue(it) && it.claim.memory.bytes > 0)?;
        let owner = &remnant.claim.owner;
        Some(Refusal::QueueLeftOpen {
            interface: interface.to_owned(),
            queue: place.queue,
            client: owner.client.clone(),
            uid: owner.uid,
            pid: owner.pid,
        })
    }

    /// Nobody has the socket open any more, which was taken off its queue.
    pub fn gone(&mut self, token: &[u8; 16]) {
        self.remnants.remove(token);
    }

    /// Takes a socket off its queue which nobody else has.
    pub fn close(&mut self, key: SocketKey) -> Option<Claim> {
        self.sockets.remove(&key)
    }

    /// The sockets of a connection, to be taken off their queues when it ends.
    pub fn of_connection(&self, connection: ConnectionId) -> Vec<SocketKey> {
        self.keys(|_, claim| claim.owner.connection == connection)
    }

    /// The sockets of an interface, to be taken off their queues when it is gone.
    pub fn of_chain(&self, chain: ChainKey) -> Vec<SocketKey> {
        self.keys(|key, _| key.place.chain == chain)
    }

    fn keys(&self, wanted: impl Fn(&SocketKey, &Claim) -> bool) -> Vec<SocketKey> {
        let claims = self.sockets.iter();
        claims
            .filter(|(key, claim)| wanted(key, claim))
            .map(|(key, _)| *key)
            .collect()
    }

    /// The sockets on a queue.
    fn on(&self, place: QueueKey) -> impl Iterator<Item = (SocketKey, &Claim)> {
        let bound = |byte| SocketKey {
            place,
            token: [byte; 16],
        };
        let on = self.sockets.range(bound(u8::MIN)..=bound(u8::MAX));
        on.map(|(key, claim)| (*key, claim))
    }

    /// Whether a chain needs the redirect program: as long as it has a socket that could be active.
    pub fn want_redirect(&self, chain: ChainKey) -> bool {
        self.iter()
            .any(|(key, claim)| key.place.chain == chain && claim.redirect)
    }

    /// A claim.
    pub fn get(&self, key: SocketKey) -> Option<&Claim> {
        self.sockets.get(&key)
    }

    /// Every claim, by queue.
    pub fn iter(&self) -> impl Iterator<Item = (SocketKey, &Claim)> {
        self.sockets.iter().map(|(key, claim)| (*key, claim))
    }
}

impl Claim {
    fn taken(&self, interface: &str, queue: u32) -> Refusal {
        Refusal::QueueTaken {
            interface: interface.to_owned(),
            queue,
            client: self.owner.client.clone(),
            uid: self.owner.uid,
            pid: self.owner.pid,
        }
    }
}

/// The change that takes the redirect program out of a chain; `None` if it isn't in it, or if a
/// socket needs it.
pub fn without_redirect(chain: &Chain, claims: &Claims) -> Option<Change> {
    chain.member(REDIRECT_MEMBER)?;
    (!claims.want_redirect(chain.interface.key)).then(|| Change {
        interface: chain.interface.clone(),
        expected_generation: None,
        mode: None,
        operations: vec![Operation::Unregister {
            name: REDIRECT_MEMBER.to_owned(),
        }],
    })
}
