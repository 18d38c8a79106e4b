//! `AF_XDP` sockets: whose each queue is, the sockets themselves, and the redirect program that comes
//! with a chain's first active socket and goes with its last.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dispatcher_abi::{REDIRECT_MEMBER, SocketClaim};
use planner::{
    ChainKey, Claim, ClaimState, Claims, ConnectionId, Owner, PinnedMemory, QueueKey, Refusal,
    SocketKey, SocketLimits, State, without_redirect,
};
use rustix::net::sockopt::socket_cookie;

use super::socket_event::{Activation, SocketError, SocketEvent, SocketRequest};
use super::{Engine, daemon};
use crate::kernel::xsk::{has_interface, has_rx_ring};
use crate::kernel::{KernelError, KernelErrorKind, Linux, RedirectMaps, Remnants};
use crate::published::PublishedSocket;

/// How long a socket's queue waits for its client after the daemon was started again.
const LINGER: Duration = Duration::from_secs(30);

/// Every socket.
#[derive(Debug)]
pub(super) struct Sockets {
    claims: Claims,
    /// A copy of each, for as long as its client is there.
    held: BTreeMap<SocketKey, Held>,
    /// Those that were given back.
    remnants: Remnants,
    /// When claims whose clients are gone go too.
    lingering: BTreeMap<SocketKey, Instant>,
}

#[derive(Debug)]
struct Held {
    socket: Arc<OwnedFd>,
    zero_copy: bool,
}

impl Sockets {
    /// Finds what an earlier daemon wrote down.
    pub(super) fn recover(
        limits: SocketLimits,
        kernel: &Linux,
        state: &State,
    ) -> Result<Self, KernelError> {
        let mut sockets = Self {
            claims: Claims::new(limits),
            held: BTreeMap::new(),
            remnants: Remnants::new().map_err(|source| KernelError {
                call: "epoll_create1",
                subject: "the sockets that are given back".to_owned(),
                kind: KernelErrorKind::Failed,
                source,
            })?,
            lingering: BTreeMap::new(),
        };
        let deadline = Instant::now() + LINGER;
        for (chain, found) in &state.chains {
            let Some(maps) = redirect_maps(kernel, state, *chain) else {
                continue;
            };
            let interface = &found.interface.name;
            let written = maps.claims().unwrap_or_else(|error| {
                tracing::error!(%interface, %error, "the sockets' owners can't be read: their queues are free");
                Vec::new()
            });
            for (queue, claim) in written {
                let place = QueueKey {
                    chain: *chain,
                    queue,
                };
                let claim = recovered(interface, &claim);
                let key = sockets.claims.recover(place, claim);
                sockets.lingering.insert(key, deadline);
            }
        }
        Ok(sockets)
    }

    /// Gives a queue back. Its socket counts as its user's until nobody has it open.
    fn leave(&mut self, key: SocketKey) {
        self.lingering.remove(&key);
        let held = self.held.remove(&key);
        let Some(claim) = self.claims.get(key) else {
            return;
        };
        let is_roots = claim.owner.uid == 0;
        // Of what an earlier daemon opened there is nothing to watch.
        let Some(held) = held else {
            self.claims.close(key);
            return;
        };
        self.claims.leave(key);
        if let Err(error) = self.remnants.watch(held.socket.as_fd(), key.token) {
            if is_roots {
                // They don't count: nobody is wronged if this one is forgotten.
                self.claims.gone(&key.token);
            }
            tracing::warn!(chain = %key.place.chain, queue = key.place.queue, %error, "a socket can't be watched: it counts as its user's, other than root's, until the daemon ends");
        }
    }

    /// Forgets the sockets that nobody has open any more.
    fn forget_gone(&mut self) {
        match self.remnants.take_gone() {
            Ok(gone) => gone.iter().for_each(|token| self.claims.gone(token)),
            Err(error) => {
                tracing::warn!(%error, "whether sockets were closed can't be read: they go on counting");
            }
        }
    }

    /// What everybody may know of them.
    pub(super) fn published(&self) -> Vec<PublishedSocket> {
        self.claims
            .iter()
            .map(|(key, claim)| {
                let held = self.held.get(&key);
                PublishedSocket {
                    key,
                    claim: claim.clone(),
                    socket: held.map_or_else(Weak::new, |held| Arc::downgrade(&held.socket)),
                    zero_copy: held.is_some_and(|held| held.zero_copy),
                }
            })
            .collect()
    }
}

fn recovered(interface: &str, claim: &SocketClaim) -> Claim {
    Claim {
        interface: interface.to_owned(),
        owner: Owner {
            uid: claim.uid,
            pid: claim.pid,
            client: claim.client().to_owned(),
            connection: ConnectionId(0),
        },
        memory: PinnedMemory {
            of: claim.memory,
            bytes: claim.bytes,
        },
        redirect: true,
        token: claim.token,
        state: ClaimState::Lingering {
            cookie: claim.cookie,
        },
    }
}

/// The maps of a chain's redirect program; `None` if it has none.
fn redirect_maps(kernel: &Linux, state: &State, chain: ChainKey) -> Option<RedirectMaps> {
    let (_, member) = state.chains.get(&chain)?.member(REDIRECT_MEMBER)?;
    let maps = kernel.maps(chain, member.id, member.code);
    Some(RedirectMaps::of(maps))
}

impl Engine {
    pub(super) fn socket_event(&mut self, event: SocketEvent) {
        // A client that went away in between has no use for the answer.
        match event {
            SocketEvent::Claim {
                client,
                opening,
                may_bare,
                reply,
            } => {
                self.sockets.forget_gone();
                let claims = &mut self.sockets.claims;
                let claimed = claims
                    .check_token(&opening)
                    .and_then(|()| claims.open(&client, &opening, may_bare));
                let _ = reply.send(claimed.map(drop));
            }
            SocketEvent::Opened {
                key,
                socket,
                zero_copy,
                reply,
            } => {
                // The interface may have gone in between, and the claim with it.
                let is_claimed = self.sockets.claims.get(key).is_some();
                if is_claimed {
                    let held = Held { socket, zero_copy };
                    self.sockets.held.insert(key, held);
                    self.publish();
                }
                let _ = reply.send(is_claimed);
            }
            SocketEvent::Failed { key, reply } => {
                let claim = self.sockets.claims.get(key);
                let interface = claim.map(|claim| claim.interface.clone());
                self.give_back(&[key]);
                self.sockets.forget_gone();
                let claims = &self.sockets.claims;
                let left_open = interface.and_then(|name| claims.left_open(&name, key.place));
                let _ = reply.send(left_open);
            }
            SocketEvent::Activate(request) => {
                let activated = self.activate(&request);
                let _ = request.reply.send(activated);
            }
            SocketEvent::Close(request) => {
                let closed = self.close(&request);
                let _ = request.reply.send(closed);
            }
            SocketEvent::Reclaim { request, socket } => {
                let reclaimed = self.reclaim_socket(&request, socket);
                let _ = request.reply.send(reclaimed);
            }
        }
    }

    /// Gives a queue's packets to its socket, if the chain has the redirect program.
    fn activate(&mut self, request: &SocketRequest<Activation>) -> Result<Activation, SocketError> {
        let key = request.key;
        self.sockets
            .claims
            .may_activate(&request.client, &request.interface, key)
            .map_err(SocketError::Refused)?;
        if self.sockets.claims.receiver(key.place) == Some(key) {
            return Ok(Activation::Done);
        }
        let held = self.sockets.held.get(&key);
        if !held.is_some_and(|held| has_rx_ring(held.socket.as_fd())) {
            return Err(SocketError::Refused(Refusal::NoRxRing {
                interface: request.interface.clone(),
                queue: key.place.queue,
            }));
        }
        if redirect_maps(&self.kernel, &self.state, key.place.chain).is_none() {
            return Ok(Activation::NeedsRedirect);
        }
        self.put(key).map_err(|source| SocketError::Kernel {
            interface: request.interface.clone(),
            source,
        })?;
        self.sockets.claims.activated(key);
        self.put_others(key);
        tracing::info!(interface = %request.interface, queue = key.place.queue, uid = request.client.uid, "the queue's packets go to a socket");
        self.publish();
        Ok(Activation::Done)
    }

    /// Puts the chain's other active sockets into its maps: the program may be new.
    fn put_others(&self, key: SocketKey) {
        for other in self.sockets.claims.of_chain(key.place.chain) {
            let claim = self.sockets.claims.get(other);
            let is_active = claim.is_some_and(|claim| claim.state == ClaimState::Active);
            if other != key
                && is_active
                && let Err(error) = self.put(other)
            {
                tracing::warn!(chain = %key.place.chain, queue = other.place.queue, %error, "a socket could not be put into its map again");
            }
        }
    }

    /// Puts a socket into its chain's maps.
    fn put(&self, key: SocketKey) -> io::Result<()> {
        let (Some(claim), Some(held)) = (self.sockets.claims.get(key), self.sockets.held.get(&key))
        else {
            return Ok(());
        };
        let Some(maps) = redirect_maps(&self.kernel, &self.state, key.place.chain) else {
            return Ok(());
        };
        let (client, client_bytes) = SocketClaim::name(&claim.owner.client);
        let written = SocketClaim {
            version: SocketClaim::VERSION,
            uid: claim.owner.uid,
            cookie: socket_cookie(&held.socket)?,
            bytes: claim.memory.bytes,
            token: claim.token,
            memory: claim.memory.of,
            client_bytes,
            pid: claim.owner.pid,
            client,
        };
        maps.put(key.place.queue, held.socket.as_fd(), &written)
    }

    fn close(&mut self, request: &SocketRequest<()>) -> Result<(), SocketError> {
        self.sockets
            .claims
            .own(&request.client, &request.interface, request.key)
            .map_err(SocketError::Refused)?;
        self.give_back(&[request.key]);
        Ok(())
    }

    fn reclaim_socket(
        &mut self,
        request: &SocketRequest<()>,
        socket: OwnedFd,
    ) -> Result<(), SocketError> {
        let key = request.key;
        // Any other descriptor has another number, or none.
        let cookie = socket_cookie(&socket).unwrap_or(0);
        self.sockets
            .claims
            .reclaim(&request.client, &request.interface, key, cookie)
            .map_err(SocketError::Refused)?;
        let zero_copy = rustix::net::sockopt::xdp_options(&socket).is_ok_and(|mode| {
            mode.contains(rustix::net::xdp::XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY)
        });
        let held = Held {
            socket: Arc::new(socket),
            zero_copy,
        };
        self.sockets.held.insert(key, held);
        self.sockets.lingering.remove(&key);
        if let Err(error) = self.put(key) {
            tracing::warn!(interface = %request.interface, queue = key.place.queue, %error, "a socket that came back could not be put into its map again");
        }
        tracing::info!(interface = %request.interface, queue = key.place.queue, uid = request.client.uid, "the socket's client is back");
        self.publish();
        Ok(())
    }

    /// Frees the queues of a connection that ended.
    pub(super) fn sockets_of_connection_gone(&mut self, connection: ConnectionId) {
        let keys = self.sockets.claims.of_connection(connection);
        self.give_back(&keys);
    }

    /// Frees the queues of an interface that is gone, before its chain goes: a map lives on as long as
    /// a socket is in it, and a client may keep its socket.
    pub(super) fn sockets_of_interface_gone(&mut self, chain: ChainKey) {
        let keys = self.sockets.claims.of_chain(chain);
        self.release(&keys);
        self.publish();
    }

    /// Frees the queues of interfaces that are gone and had no chain.
    pub(super) fn sockets_without_interface(&mut self) {
        let held = self.sockets.held.iter();
        let gone: Vec<SocketKey> = held
            .filter(|(key, _)| !self.state.chains.contains_key(&key.place.chain))
            .filter(|(_, held)| !has_interface(held.socket.as_fd()))
            .map(|(key, _)| *key)
            .collect();
        for key in &gone {
            tracing::warn!(chain = %key.place.chain, queue = key.place.queue, "the interface is gone, and its socket with it");
        }
        self.give_back(&gone);
    }

    /// Frees queues, and takes the redirect program away where no other socket needs it.
    fn give_back(&mut self, keys: &[SocketKey]) {
        if keys.is_empty() {
            return;
        }
        self.release(keys);
        self.drop_idle_redirects();
        self.publish();
    }

    fn release(&mut self, keys: &[SocketKey]) {
        for key in keys {
            // A socket beside it may be the one that gets the packets.
            let receiver = self.sockets.claims.receiver(key.place);
            if receiver.is_none_or(|receiver| receiver == *key)
                && let Some(maps) = redirect_maps(&self.kernel, &self.state, key.place.chain)
                && let Err(error) = maps.remove(key.place.queue)
            {
                tracing::warn!(chain = %key.place.chain, queue = key.place.queue, %error, "a socket could not be taken out of its map");
            }
            self.sockets.leave(*key);
        }
    }

    /// Takes the redirect program out of chains without sockets. What fails is tried again with the
    /// next sweep.
    pub(super) fn drop_idle_redirects(&mut self) {
        let chains = self.state.chains.values();
        let idle: Vec<_> = chains
            .filter_map(|chain| without_redirect(chain, &self.sockets.claims))
            .collect();
        for change in idle {
            let interface = &change.interface.name;
            let removed = planner::decide(&self.state, &daemon(), &change, &[], &[])
                .map_err(|refusal| refusal.to_string())
                .and_then(|plan| self.execute(&plan).map_err(|error| error.to_string()));
            match removed {
                Ok(()) => {
                    tracing::info!(%interface, "the last socket is gone, and the redirect program with it");
                }
                Err(error) => {
                    tracing::error!(%interface, %error, "the redirect program could not be removed; tried again");
                }
            }
        }
    }

    /// Frees the queues whose clients did not come back to a daemon that was started again.
    pub(super) fn expire_sockets(&mut self, now: Instant) {
        let lingering = self.sockets.lingering.iter();
        let over: Vec<SocketKey> = lingering
            .filter(|(_, deadline)| **deadline <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &over {
            tracing::info!(chain = %key.place.chain, queue = key.place.queue, "a socket's client did not come back");
        }
        self.give_back(&over);
    }
}
