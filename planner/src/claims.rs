//! Whose the interfaces' receive queues are: who may open an `AF_XDP` socket on one, who has one, and
//! whether a chain needs the redirect program.

use std::collections::BTreeMap;

use crate::{
    Chain, ChainKey, Change, Client, ConnectionId, Interface, Operation, Owner, Refusal, Rights,
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

/// What one user other than root may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Sockets.
    pub sockets: usize,
    /// Bytes of memory that its sockets pin.
    pub bytes: u64,
}

impl Default for SocketLimits {
    /// A socket for each queue of a large interface, and 16 384 frames of 4 KiB for each of four.
    fn default() -> Self {
        Self {
            sockets: 64,
            bytes: 256 << 20,
        }
    }
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

/// Memory that a socket keeps pinned, and every other one that shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedMemory {
    /// The token of the socket that brought it.
    pub of: [u8; 16],
    /// Its size; 0 if the daemon doesn't pin it.
    pub bytes: u64,
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
    claims: BTreeMap<QueueKey, Claim>,
    limits: SocketLimits,
}

impl Claims {
    /// No claims, within these limits.
    pub fn new(limits: SocketLimits) -> Self {
        Self {
            claims: BTreeMap::new(),
            limits,
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
        if let Some(claim) = self.claims.get(&key) {
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
        self.claims.insert(key, claim);
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
        let own = || self.claims.values().filter(|c| c.owner.uid == client.uid);
        if own().count() >= self.limits.sockets {
            return Err(Refusal::SocketQuota {
                uid: client.uid,
                interface: interface.to_owned(),
                max: self.limits.sockets,
            });
        }
        // Shared memory is pinned once, until the last socket that has its frames there is closed.
        let pinned: BTreeMap<_, _> = own()
            .map(|claim| (claim.memory.of, claim.memory.bytes))
            .collect();
        let used = pinned.values().sum::<u64>();
        let is_new = !pinned.contains_key(&memory.of);
        if is_new && memory.bytes > self.limits.bytes.saturating_sub(used) {
            return Err(Refusal::MemoryQuota {
                uid: client.uid,
                interface: interface.to_owned(),
                bytes: memory.bytes,
                used,
                max: self.limits.bytes,
            });
        }
        Ok(())
    }

    /// The claim of a socket that is this connection's.
    pub fn own(
        &self,
        client: &Client,
        interface: &str,
        key: QueueKey,
        token: &[u8; 16],
    ) -> Result<&Claim, Refusal> {
        let found = self.claims.get(&key);
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
        if let Some(claim) = self.claims.get_mut(&key) {
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
        let Some(claim) = self.claims.get_mut(&key) else {
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
        self.claims.insert(key, claim);
    }

    /// Gives a queue back.
    pub fn close(&mut self, key: QueueKey) -> Option<Claim> {
        self.claims.remove(&key)
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
        let claims = self.claims.iter();
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
        self.claims.get(&key)
    }

    /// Every claim, by queue.
    pub fn iter(&self) -> impl Iterator<Item = (QueueKey, &Claim)> {
        self.claims.iter().map(|(key, claim)| (*key, claim))
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
