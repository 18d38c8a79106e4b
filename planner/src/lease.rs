//! Whose the interfaces' receive queues are: who may open an `AF_XDP` socket on one, who has one, and
//! whether a chain needs the redirect program.

use std::collections::BTreeMap;

use crate::{
    Authority, Chain, ChainKey, Change, ConnectionId, Interface, Moment, Operation, Owner,
    PinnedMemory, Refusal, Verb,
    quota::{Remnant, Share},
};

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
#[expect(
    clippy::struct_excessive_bools,
    reason = "they have nothing to do with each other"
)]
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
    /// It can send packets.
    pub sends: bool,
    /// Random, drawn by the client: what names the socket.
    pub token: [u8; 16],
}

/// A socket on a queue that is somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The interface.
    pub interface: String,
    /// The client that has the socket.
    pub owner: Owner,
    /// The memory that its socket's frames are in.
    pub memory: PinnedMemory,
    /// The redirect program gives it packets, once it is active.
    pub redirect: bool,
    /// What names the socket.
    pub token: [u8; 16],
    /// What it is doing.
    pub state: LeaseState,
}

/// What a leased queue's socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The queue is its client's, and the socket is being made.
    Opening,
    /// It was opened.
    Opened,
    /// It gets the queue's packets.
    Active,
    /// It gets them, and its client has to come back for it, since the daemon was started anew. The
    /// socket's `SO_COOKIE`, by which it is known again.
    Lingering {
        /// `SO_COOKIE`.
        cookie: u64,
        /// When its queue is given back.
        until: Moment,
    },
}

/// Every lease on every interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    sockets: BTreeMap<SocketKey, Lease>,
    /// Sockets that may be open without a lease, by token.
    remnants: BTreeMap<[u8; 16], Remnant>,
}

impl Leases {
    /// Gives a queue to a client, or a place on its own, if it may have it.
    pub fn open(&mut self, authority: &Authority, opening: &Opening) -> Result<SocketKey, Refusal> {
        let interface = &opening.interface.name;
        if opening.redirect || !opening.sends {
            authority.check(Verb::Redirect, interface)?;
        }
        if opening.sends {
            authority.check(Verb::Send, interface)?;
        }
        if opening.bare {
            authority.may_bare(interface)?;
        }
        let key = SocketKey {
            place: QueueKey {
                chain: opening.interface.key,
                queue: opening.queue,
            },
            token: opening.token,
        };
        self.check_queue(authority, opening, key.place)?;
        self.check_quota(authority, interface, opening.memory)?;
        let lease = Lease {
            interface: interface.clone(),
            owner: Owner::of(authority),
            memory: opening.memory,
            redirect: opening.redirect,
            token: opening.token,
            state: LeaseState::Opening,
        };
        self.sockets.insert(key, lease);
        Ok(key)
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

    /// A queue is free, or all that is on it is this client's and in the same memory.
    fn check_queue(
        &self,
        authority: &Authority,
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
        let together = |lease: &Lease| {
            opening.beside && lease.is_of(authority) && lease.memory.of == opening.memory.of
        };
        match others.find(|(_, lease)| !together(lease)) {
            Some((_, lease)) => Err(lease.taken(interface, place.queue)),
            None => Ok(()),
        }
    }

    fn check_quota(
        &self,
        authority: &Authority,
        interface: &str,
        memory: PinnedMemory,
    ) -> Result<(), Refusal> {
        let Some(limits) = authority.grant.sockets else {
            return Ok(());
        };
        let uid = authority.uid();
        let mut share = Share::default();
        let leases = self.sockets.values();
        for lease in leases.filter(|lease| lease.owner.uid == uid) {
            share.add(lease.memory);
        }
        let remnants = self.remnants.values();
        for remnant in remnants.filter(|remnant| remnant.lease.owner.uid == uid) {
            share.add_remnant(remnant);
        }
        limits.check(uid, interface, &share, memory)
    }

    /// The lease of a socket that is this connection's.
    pub fn own(
        &self,
        authority: &Authority,
        interface: &str,
        key: SocketKey,
    ) -> Result<&Lease, Refusal> {
        let found = self.sockets.get(&key);
        found
            .filter(|lease| lease.is_of(authority))
            .ok_or_else(|| Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue: key.place.queue,
            })
    }

    /// Whether a socket of this connection may be given its queue's packets.
    pub fn may_activate(
        &self,
        authority: &Authority,
        interface: &str,
        key: SocketKey,
    ) -> Result<(), Refusal> {
        let queue = key.place.queue;
        authority.check(Verb::Redirect, interface)?;
        let lease = self.own(authority, interface, key)?;
        if lease.state == LeaseState::Opening {
            return Err(Refusal::NoSuchSocket {
                interface: interface.to_owned(),
                queue,
            });
        }
        if !lease.redirect {
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
        let found =
            on.find(|(_, lease)| !matches!(lease.state, LeaseState::Opening | LeaseState::Opened));
        found.map(|(key, _)| key)
    }

    /// The socket that a queue was leased for is made; returns whether the queue still is.
    pub fn opened(&mut self, key: SocketKey) -> bool {
        let lease = self.sockets.get_mut(&key);
        lease.is_some_and(|lease| {
            lease.state = LeaseState::Opened;
            true
        })
    }

    /// The queue's packets go to this socket from now on.
    pub fn activated(&mut self, key: SocketKey) {
        if let Some(lease) = self.sockets.get_mut(&key) {
            lease.state = LeaseState::Active;
        }
    }

    /// Makes a lingering lease its client's again: the same user, token and socket.
    pub fn reclaim(
        &mut self,
        authority: &Authority,
        interface: &str,
        key: SocketKey,
        cookie: u64,
    ) -> Result<(), Refusal> {
        let queue = key.place.queue;
        authority.check(Verb::Redirect, interface)?;
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
        let lease = self.sockets.get_mut(&key).ok_or_else(mismatch)?;
        let lingers =
            matches!(lease.state, LeaseState::Lingering { cookie: known, .. } if known == cookie);
        if !lingers || lease.owner.uid != authority.uid() {
            return Err(mismatch());
        }
        lease.state = LeaseState::Active;
        lease.owner = Owner::of(authority);
        Ok(())
    }

    /// Takes over a lease that an earlier daemon wrote down.
    pub fn recover(&mut self, place: QueueKey, lease: Lease) {
        let key = SocketKey {
            place,
            token: lease.token,
        };
        self.sockets.insert(key, lease);
    }

    /// Takes a socket off its queue which others may have open: it counts as its user's until it is
    /// [gone](Self::gone). With its last socket a queue is free.
    pub fn leave(&mut self, key: SocketKey) {
        if let Some(lease) = self.close(key) {
            let place = key.place;
            self.remnants.insert(lease.token, Remnant { place, lease });
        }
    }

    /// Why the kernel gives a queue to no other socket: a client gave it back and has not closed its own
    /// socket yet. What a bare socket is bound to isn't known here.
    pub fn left_open(&self, interface: &str, place: QueueKey) -> Option<Refusal> {
        let mut remnants = self.remnants.values();
        let on_queue = |remnant: &&Remnant| remnant.place == place;
        let remnant = remnants.find(|it| on_queue(it) && it.lease.memory.bytes > 0)?;
        let owner = &remnant.lease.owner;
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
    pub fn close(&mut self, key: SocketKey) -> Option<Lease> {
        self.sockets.remove(&key)
    }

    /// The sockets of a connection, to be taken off their queues when it ends.
    pub fn of_connection(&self, connection: ConnectionId) -> Vec<SocketKey> {
        self.keys(|_, lease| lease.owner.connection == Some(connection))
    }

    /// The sockets whose clients did not come back in time.
    pub fn over(&self, now: Moment) -> Vec<SocketKey> {
        self.keys(
            |_, lease| matches!(lease.state, LeaseState::Lingering { until, .. } if until <= now),
        )
    }

    /// When each socket that waits for its client has had its time.
    pub fn deadlines(&self) -> impl Iterator<Item = Moment> {
        let leases = self.sockets.values();
        leases.filter_map(|lease| match lease.state {
            LeaseState::Lingering { until, .. } => Some(until),
            LeaseState::Opening | LeaseState::Opened | LeaseState::Active => None,
        })
    }

    /// The sockets of an interface, to be taken off their queues when it is gone.
    pub fn of_chain(&self, chain: ChainKey) -> Vec<SocketKey> {
        self.keys(|key, _| key.place.chain == chain)
    }

    fn keys(&self, wanted: impl Fn(&SocketKey, &Lease) -> bool) -> Vec<SocketKey> {
        let leases = self.sockets.iter();
        leases
            .filter(|(key, lease)| wanted(key, lease))
            .map(|(key, _)| *key)
            .collect()
    }

    /// The sockets on a queue.
    fn on(&self, place: QueueKey) -> impl Iterator<Item = (SocketKey, &Lease)> {
        let bound = |byte| SocketKey {
            place,
            token: [byte; 16],
        };
        let on = self.sockets.range(bound(u8::MIN)..=bound(u8::MAX));
        on.map(|(key, lease)| (*key, lease))
    }

    /// Whether a chain needs the redirect program: as long as it has a socket that could be active.
    pub fn want_redirect(&self, chain: ChainKey) -> bool {
        self.iter()
            .any(|(key, lease)| key.place.chain == chain && lease.redirect)
    }

    /// A lease.
    pub fn get(&self, key: SocketKey) -> Option<&Lease> {
        self.sockets.get(&key)
    }

    /// Every lease, by queue.
    pub fn iter(&self) -> impl Iterator<Item = (SocketKey, &Lease)> {
        self.sockets.iter().map(|(key, lease)| (*key, lease))
    }
}

impl Lease {
    /// Whether it belongs to the connection over which something is asked.
    fn is_of(&self, authority: &Authority) -> bool {
        let connection = authority.connection();
        connection.is_some() && self.owner.connection == connection
    }

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
pub fn without_redirect(chain: &Chain, leases: &Leases) -> Option<Change> {
    let member = chain.redirect()?;
    (!leases.want_redirect(chain.interface.key)).then(|| Change {
        interface: chain.interface.clone(),
        expected_revision: None,
        expected_members: Vec::new(),
        mode: None,
        operations: vec![Operation::Unregister {
            name: member.name.clone(),
        }],
    })
}
