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

/// A socket to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// On which interface.
    pub interface: Interface,
    /// On which receive queue.
    pub queue: u32,
    /// The memory that its frames are in.
    pub memory: PinnedMemory,
    /// Its client binds it.
    pub bare: bool,
    /// The redirect program gives it packets, once it is active.
    pub redirect: bool,
    /// Random, chosen by the session: what names the socket.
    pub token: [u8; 16],
}

/// A queue that is somebody's.
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
    queues: BTreeMap<QueueKey, Claim>,
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

    /// Gives a queue to a client, if it may have it. `may_bare`: it may bind sockets itself.
    pub fn open(
        &mut self,
        client: &Client,
        opening: &Opening,
        may_bare: bool,
    ) -> Result<QueueKey, Refusal> {
        client.may_ask()?;
        let interface = &opening.interface.name;
        if opening.bare && !may_bare && client.rights != Rights::All {
            return Err(Refusal::BareNotAllowed {
                uid: client.uid,
                interface: interface.clone(),
            });
        }
        let key = QueueKey {
            chain: opening.interface.key,
            queue: opening.queue,
        };
        if let Some(claim) = self.queues.get(&key) {
            return Err(claim.taken(interface, key.queue));
        }
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
        self.queues.insert(key, claim);
        Ok(key)
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
        let claims = self.queues.values();
        for claim in claims.filter(|claim| claim.owner.uid == client.uid) {
            share.add(claim.memory);
        }
        let remnants = self.remnants.values();
        for remnant in remnants.filter(|remnant| remnant.uid == client.uid) {
            share.add_remnant(remnant);
        }
        self.limits.check(client.uid, interface, &share, memory)
    }

    /// The claim of a socket that is this connection's.
    pub fn own(
        &self,
        client: &Client,
        interface: &str,
        key: QueueKey,
        token: &[u8; 16],
    ) -> Result<&Claim, Refusal> {
        let found = self.queues.get(&key);
        found
            .filter(|claim| claim.owner.connection == client.connection && claim.token == *token)
            .ok_or_else(|| Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue: key.queue,
            })
    }

    /// Whether a socket of this connection may be given its queue's packets.
    pub fn may_activate(
        &self,
        client: &Client,
        interface: &str,
        key: QueueKey,
        token: &[u8; 16],
    ) -> Result<(), Refusal> {
        if self.own(client, interface, key, token)?.redirect {
            return Ok(());
        }
        Err(Refusal::NotRedirected {
            interface: interface.to_owned(),
            queue: key.queue,
        })
    }

    /// The queue's packets go to its socket from now on.
    pub fn activated(&mut self, key: QueueKey) {
        if let Some(claim) = self.queues.get_mut(&key) {
            claim.state = ClaimState::Active;
        }
    }

    /// Makes a lingering claim its client's again: the same user, token and socket.
    pub fn reclaim(
        &mut self,
        client: &Client,
        interface: &str,
        key: QueueKey,
        token: &[u8; 16],
        cookie: u64,
    ) -> Result<(), Refusal> {
        let queue = key.queue;
        let Some(claim) = self.queues.get_mut(&key) else {
            return Err(Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue,
            });
        };
        let lingers = claim.state == ClaimState::Lingering { cookie };
        if !lingers || claim.owner.uid != client.uid || claim.token != *token {
            return Err(Refusal::SocketMismatch {
                interface: interface.to_owned(),
                queue,
            });
        }
        claim.state = ClaimState::Active;
        claim.owner.pid = client.pid;
        claim.owner.client.clone_from(&client.name);
        claim.owner.connection = client.connection;
        Ok(())
    }

    /// Takes over a claim that an earlier daemon wrote down.
    pub fn recover(&mut self, key: QueueKey, claim: Claim) {
        self.queues.insert(key, claim);
    }

    /// Gives a queue back whose socket others may have open: it counts as its user's until it is
    /// [gone](Self::gone).
    pub fn leave(&mut self, key: QueueKey) -> Option<Claim> {
        let claim = self.close(key)?;
        let remnant = Remnant {
            uid: claim.owner.uid,
            memory: claim.memory,
        };
        self.remnants.insert(claim.token, remnant);
        Some(claim)
    }

    /// Nobody has the socket open any more, whose queue was given back.
    pub fn gone(&mut self, token: &[u8; 16]) {
        self.remnants.remove(token);
    }

    /// Gives a queue back whose socket nobody has.
    pub fn close(&mut self, key: QueueKey) -> Option<Claim> {
        self.queues.remove(&key)
    }

    /// The queues of a connection, to be given back when it ends.
    pub fn of_connection(&self, connection: ConnectionId) -> Vec<QueueKey> {
        self.keys(|_, claim| claim.owner.connection == connection)
    }

    /// The queues of an interface, to be given back when it is gone.
    pub fn of_chain(&self, chain: ChainKey) -> Vec<QueueKey> {
        self.keys(|key, _| key.chain == chain)
    }

    fn keys(&self, wanted: impl Fn(&QueueKey, &Claim) -> bool) -> Vec<QueueKey> {
        let claims = self.queues.iter();
        claims
            .filter(|(key, claim)| wanted(key, claim))
            .map(|(key, _)| *key)
            .collect()
    }

    /// Whether a chain needs the redirect program: as long as it has a socket that could be active.
    pub fn want_redirect(&self, chain: ChainKey) -> bool {
        self.iter()
            .any(|(key, claim)| key.chain == chain && claim.redirect)
    }

    /// A claim.
    pub fn get(&self, key: QueueKey) -> Option<&Claim> {
        self.queues.get(&key)
    }

    /// Every claim, by queue.
    pub fn iter(&self) -> impl Iterator<Item = (QueueKey, &Claim)> {
        self.queues.iter().map(|(key, claim)| (*key, claim))
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
