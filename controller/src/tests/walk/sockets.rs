//! What clients do with sockets, and what they and their sessions do with answers.

use planner::{
    ConnectionId, Interface, LeaseState, Opening, PinnedMemory, QueueKey, Refusal, SocketKey,
};

use super::super::action::{OpenAs, SocketAct, UIDS, Wrong};
use super::super::world::Socket;
use super::{Asked, Owned, Walk};
use crate::{Answer, Event, Request};

impl Walk {
    pub(super) fn socket(&mut self, client: usize, site: usize, act: SocketAct) {
        if let SocketAct::Reclaim { which, wrong } = act {
            return self.reclaim_socket(client, which, wrong);
        }
        match act {
            SocketAct::Open {
                queue,
                redirect,
                how,
            } => {
                let first = match how {
                    OpenAs::Beside { which, .. }
                    | OpenAs::Sharing { which }
                    | OpenAs::Apart { which } => self.pick(which),
                    OpenAs::Own | OpenAs::Bare => None,
                };
                let intrudes = matches!(how, OpenAs::Beside { intrudes: true, .. });
                let owner = first.filter(|first| !intrudes && self.is_idle(first.connection));
                let idle = owner.map(|first| first.connection);
                if let Some(connection) = idle.or_else(|| self.client(client)) {
                    let site = self.sites[site].clone();
                    let first = first.filter(|it| intrudes || it.connection == connection);
                    self.open(connection, &site, (queue, redirect), how, first);
                }
            }
            SocketAct::Activate {
                which,
                has_frames,
                has_rx_ring,
            } => {
                // Also one that is not made yet.
                let to_make = self.to_make.first().map(|asked| asked.owned);
                if let Some(owned) = to_make.or_else(|| self.pick(which)) {
                    let sockets = &mut self.daemon.world.sockets;
                    if let Some(socket) = sockets.get_mut(&owned.key.token) {
                        socket.has_frames |= has_frames;
                        socket.has_rx_ring |= socket.is_bare && has_rx_ring;
                    }
                    let key = owned.key;
                    self.ask_of(owned, Request::Activate { key });
                }
            }
            SocketAct::Close { which } => {
                if let Some(owned) = self.pick(which) {
                    let key = owned.key;
                    if self.ask_of(owned, Request::Close { key }) {
                        self.owned.retain(|it| it.key != key);
                    }
                }
            }
            SocketAct::Drop { which } => {
                if let Some(Owned { key, .. }) = self.pick(which) {
                    self.drop_socket(key);
                }
            }
            SocketAct::Reclaim { .. } => {}
        }
    }

    /// Whichever socket has this number, counted around those that there are.
    fn pick(&self, which: usize) -> Option<Owned> {
        self.owned.get(which % self.owned.len().max(1)).copied()
    }

    /// Asks for something with a socket, if its client waits for nothing; returns whether it does.
    fn ask_of(&mut self, owned: Owned, request: Request) -> bool {
        let is_idle = self.is_idle(owned.connection);
        if is_idle {
            let site = self.site_of(owned.key);
            self.daemon.ask(owned.connection, site, request, Vec::new());
        }
        is_idle
    }

    /// Somebody has sockets whose packets go to them.
    pub(super) fn begin_with_sockets(&mut self) {
        for (client, site) in [(0, 0), (3, 3)] {
            let connection = self.client(client).expect("nothing was asked");
            let site = self.sites[site].clone();
            let owned = self.owned.len();
            self.open(connection, &site, (0, true), OpenAs::Own, None);
            while self.owned.len() == owned {
                self.hear();
            }
            let which = self.owned.len() - 1;
            let (has_frames, has_rx_ring) = (true, true);
            self.socket(
                client,
                0,
                SocketAct::Activate {
                    which,
                    has_frames,
                    has_rx_ring,
                },
            );
            self.daemon.run();
        }
    }

    /// Asks for a socket. `first`: the one whose memory it shares, if it shares any.
    fn open(
        &mut self,
        connection: ConnectionId,
        site: &Interface,
        (queue, redirect): (u32, bool),
        how: OpenAs,
        first: Option<Owned>,
    ) {
        self.sockets = self.sockets.wrapping_add(1);
        let token = [self.sockets; 16];
        if self.daemon.world.sockets.contains_key(&token) {
            return;
        }
        let leases = &self.daemon.controller.state().leases;
        let shared = first.and_then(|first| Some((first.key, leases.get(first.key)?.memory)));
        // Of a bare one's memory nothing is known.
        let shared = shared.filter(|(_, memory)| memory.bytes > 0);
        let (place, memory) = match (how, shared) {
            // One beside another is on its queue.
            (OpenAs::Beside { .. }, Some((key, memory))) => (key.place, memory),
            (OpenAs::Apart { .. }, Some((key, _))) => {
                let of = token;
                (key.place, PinnedMemory { of, bytes: 4096 })
            }
            (OpenAs::Beside { .. } | OpenAs::Apart { .. }, None) => return,
            (_, shared) => {
                let chain = site.key;
                let bytes = if how == OpenAs::Bare { 0 } else { 4096 };
                let own = PinnedMemory { of: token, bytes };
                let memory = shared.map_or(own, |(_, memory)| memory);
                (QueueKey { chain, queue }, memory)
            }
        };
        let key = SocketKey { place, token };
        let asked = Asked {
            owned: Owned { connection, key },
            is_bare: how == OpenAs::Bare,
            is_beside: matches!(how, OpenAs::Beside { .. } | OpenAs::Apart { .. }),
            is_allowed: first.is_none_or(|first| first.connection == connection)
                && !matches!(how, OpenAs::Apart { .. }),
        };
        let interface = self.site_of(key);
        let opening = Opening {
            interface: interface.clone(),
            queue: place.queue,
            memory,
            beside: asked.is_beside,
            bare: asked.is_bare,
            redirect,
            sends: true,
            token,
        };
        let request = Request::Open(opening);
        let id = self.daemon.ask(connection, interface, request, Vec::new());
        self.opening.push((id, asked));
    }

    /// The interface that a socket was opened on.
    fn site_of(&self, key: SocketKey) -> Interface {
        Interface {
            key: key.place.chain,
            ..self.sites[0].clone()
        }
    }

    pub(super) fn drop_socket(&mut self, key: SocketKey) {
        if let Some(socket) = self.daemon.world.sockets.get_mut(&key.token) {
            socket.is_open = false;
        }
        self.daemon.world.close();
    }

    fn reclaim_socket(&mut self, client: usize, which: usize, wrong: Wrong) {
        let leases = self.daemon.controller.state().leases.iter();
        let lingers = |(_, lease): &(SocketKey, &planner::Lease)| {
            matches!(lease.state, LeaseState::Lingering { .. })
        };
        let lingering = leases
            .filter(lingers)
            .map(|(key, lease)| (key, lease.owner.uid));
        let lingering: Vec<_> = lingering.collect();
        let Some((key, uid)) = lingering.get(which % lingering.len().max(1)).copied() else {
            return;
        };
        let owner = UIDS.iter().position(|it| *it == uid);
        let client = owner.filter(|_| wrong != Wrong::User).unwrap_or(client);
        let Some(connection) = self.client(client) else {
            return;
        };
        let Some(socket) = self.daemon.world.sockets.get(&key.token) else {
            return;
        };
        if !socket.is_open {
            return;
        }
        let cookie = socket.cookie ^ u64::from(wrong == Wrong::Proof);
        let site = self.site_of(key);
        let request = Request::ReclaimSocket { key, cookie };
        let id = self.daemon.ask(connection, site, request, Vec::new());
        self.reclaiming.push((id, Owned { connection, key }));
    }

    /// What clients and their sessions do with their answers.
    pub(super) fn hear(&mut self) {
        for (id, asked) in std::mem::take(&mut self.opening) {
            match self.daemon.answers.remove(&id) {
                Some(Answer::Leased) => {
                    assert!(asked.is_allowed, "{asked:?}");
                    self.to_make.push(asked);
                }
                Some(_) => {}
                None => self.opening.push((id, asked)),
            }
        }
        // A session takes its time.
        self.heard += 1;
        if self.heard.is_multiple_of(8) && !self.to_make.is_empty() {
            let asked = self.to_make.remove(0);
            self.made(asked);
        }
        for (id, owned) in std::mem::take(&mut self.making) {
            match self.daemon.answers.remove(&id) {
                Some(Answer::Made(true)) => self.owned.push(owned),
                Some(_) => {}
                None => self.making.push((id, owned)),
            }
        }
        for (id, owned) in std::mem::take(&mut self.reclaiming) {
            match self.daemon.answers.remove(&id) {
                Some(Answer::SocketReclaimed) => self.owned.push(owned),
                Some(_) => {}
                None => self.reclaiming.push((id, owned)),
            }
        }
        let sockets = &self.daemon.world.sockets;
        let watched = self.daemon.watched.iter();
        let closed = watched.filter(|token| !sockets[*token].is_open).copied();
        let closed: Vec<_> = closed.collect();
        if !closed.is_empty() {
            self.daemon.watched.retain(|token| !closed.contains(token));
            self.daemon.handle(Event::SocketsGone(closed));
        }
    }

    /// A queue is leased: its session makes the socket.
    pub(super) fn made(&mut self, asked: Asked) {
        let Asked {
            owned,
            is_bare,
            is_beside,
            is_allowed: _,
        } = asked;
        let key = owned.key;
        let uid = self.daemon.connections[&owned.connection];
        assert!(uid == 0 || !is_bare, "{uid} may bind any queue");
        let world = &mut self.daemon.world;
        let is_free = is_bare || world.may_bind(key.place, is_beside);
        let made = is_free && !self.sockets.is_multiple_of(7);
        if made {
            let socket = Socket {
                cookie: u64::from(key.token[0]),
                uid,
                place: key.place,
                is_bare,
                has_fill_ring: !is_bare && !is_beside,
                has_rx_ring: !is_bare && !self.sockets.is_multiple_of(11),
                has_frames: false,
                is_open: true,
                is_held: false,
            };
            world.sockets.insert(key.token, socket);
        }
        let site = self.site_of(key);
        let request = Request::Made { key, made };
        let id = self.daemon.ask(owned.connection, site, request, Vec::new());
        if made {
            self.making.push((id, owned));
            return;
        }
        // Without the socket the queue is free at once, and who keeps it from being bound is known.
        let answer = self.daemon.answers.remove(&id);
        let left_open = match answer {
            Some(Answer::NotMade(left_open)) => left_open,
            Some(Answer::Stopping) => return,
            other => panic!("it waits for something: {other:?}"),
        };
        let is_named = matches!(left_open, Some(Refusal::QueueLeftOpen { .. }));
        let sockets = &self.daemon.world.sockets;
        let mut watched = self.daemon.watched.iter().map(|token| &sockets[token]);
        let is_left = watched.any(|socket| socket.place == key.place && socket.is_open);
        assert!(
            is_left || !is_named,
            "nobody has {key:?} open: {left_open:?}"
        );
        assert!(
            is_free || is_named || self.is_orphaned(key.place),
            "{key:?}"
        );
    }

    /// Whether somebody has a socket on the queue that the daemon doesn't know of: one that never was
    /// active is not written down for the next daemon.
    fn is_orphaned(&self, place: QueueKey) -> bool {
        let sockets = self.daemon.world.sockets.iter();
        let mut on_queue = sockets.filter(|(_, socket)| socket.place == place && socket.is_open);
        on_queue.any(|(token, _)| !self.daemon.watched.contains(token))
    }
}
