//! A random walk: everything that can happen, in any order, at every step of every job.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use planner::testing::{ENGINES, aim_at, interface, outline};
use planner::{
    ConnectionId, Engines, Interface, LeaseState, MemberState, Opening, PinnedMemory, QueueKey,
    SocketKey,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::action::{Action, News, STUCK, SocketAct, UIDS, action};
use super::daemon::Daemon;
use super::order::{Kind, Orders};
use super::world::{Hook, Nic, Socket};
use crate::{Answer, Event, Request, RequestId};

/// So many steps, unless `WALK_STEPS` says how many.
const STEPS: u32 = 160_000;
/// The steps of one walk.
const WALK: usize = 800;

/// A socket of a client.
#[derive(Clone, Copy, Debug)]
struct Owned {
    connection: ConnectionId,
    key: SocketKey,
}

/// A daemon and what its clients remember.
struct Walk {
    daemon: Daemon,
    clients: [Option<ConnectionId>; UIDS.len()],
    sites: Vec<Interface>,
    next_nic: u32,
    /// Neither daemon nor interfaces come and go.
    is_quiet: bool,
    loads: u32,
    sockets: u8,
    opening: Vec<(RequestId, Owned)>,
    making: Vec<(RequestId, Owned)>,
    reclaiming: Vec<(RequestId, Owned)>,
    owned: Vec<Owned>,
}

impl Walk {
    fn new(engines: Engines, is_quiet: bool) -> Self {
        Self {
            is_quiet,
            daemon: Daemon::new(engines),
            clients: [None; UIDS.len()],
            sites: (0..3).map(interface).collect(),
            next_nic: 3,
            loads: 0,
            sockets: 0,
            opening: Vec::new(),
            making: Vec::new(),
            reclaiming: Vec::new(),
            owned: Vec::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        let is_loud = matches!(
            action,
            Action::Crash { .. }
                | Action::Stop { .. }
                | Action::News {
                    news: News::Removed,
                    ..
                }
        );
        if is_loud && self.is_quiet {
            return;
        }
        match action {
            Action::Effect { which, fate, load } => self.daemon.step(*which, *fate, *load),
            Action::Change {
                client,
                site,
                dry_run,
                change,
            } => self.change(*client, *site, *dry_run, change),
            Action::Reclaim {
                client,
                which,
                wrong,
            } => self.reclaim(*client, *which, *wrong),
            Action::Socket { client, site, act } => self.socket(*client, *site, *act),
            Action::Gone { client } => self.gone(*client),
            Action::Time { ms } => self.daemon.pass(*ms),
            Action::News { site, news } => self.news(*site, *news),
            Action::Crash { ms } => {
                self.crash();
                self.daemon.pass(*ms);
            }
            Action::Stuck { what } => self.daemon.world.stuck = STUCK[*what],
            Action::Stop { detach } => {
                if !self.daemon.is_stopping {
                    self.daemon.stop(*detach);
                }
            }
        }
        if self.daemon.is_stopped {
            // What comes back now is too late.
            self.daemon.run();
            self.crash();
        }
        self.hear();
        self.daemon.check();
    }

    fn play(&mut self, actions: &[Action]) {
        for action in actions {
            self.act(action);
        }
        self.daemon.settle();
    }

    fn crash(&mut self) {
        self.daemon.crash();
        self.clients = [None; UIDS.len()];
        self.opening.clear();
        self.making.clear();
        self.reclaiming.clear();
        self.owned.clear();
    }

    /// A client that waits for nothing; it connects if it has to.
    fn client(&mut self, client: usize) -> Option<ConnectionId> {
        let daemon = &mut self.daemon;
        let id = *self.clients[client].get_or_insert_with(|| daemon.connect(UIDS[client]));
        let mut pending = self.daemon.pending.values();
        pending.all(|it| it.connection != id).then_some(id)
    }

    fn change(
        &mut self,
        client: usize,
        site: usize,
        dry_run: bool,
        wanted: &planner::testing::Request,
    ) {
        let Some(connection) = self.client(client) else {
            return;
        };
        let mut wanted = wanted.clone();
        let site = self.sites[site].clone();
        if let planner::testing::Request::Change { change, .. } = &mut wanted {
            change.interface = site.clone();
        }
        aim_at(&mut wanted, self.daemon.controller.state(), &mut self.loads);
        let planner::testing::Request::Change { change, facts, .. } = wanted else {
            return;
        };
        let request = Request::Change {
            change,
            outlines: facts.iter().map(outline).collect(),
            dry_run,
        };
        self.daemon.ask(connection, site, request, facts);
    }

    fn reclaim(&mut self, client: usize, which: usize, wrong: bool) {
        let chains = self.daemon.controller.state().chains.values();
        let members = chains.flat_map(|chain| chain.members.iter().map(move |it| (chain, it)));
        let lingering: Vec<_> = members
            .filter(|(_, member)| member.state != MemberState::Running)
            .collect();
        let Some((chain, member)) = lingering.get(which % lingering.len().max(1)) else {
            return;
        };
        let site = chain.interface.clone();
        let (member, mut token, uid) = (member.id, member.token, member.owner.uid);
        token[0] ^= u8::from(wrong);
        let owner = UIDS.iter().position(|it| *it == uid).unwrap_or(client);
        if let Some(connection) = self.client(if wrong { client } else { owner }) {
            let request = Request::Reclaim { member, token };
            self.daemon.ask(connection, site, request, Vec::new());
        }
    }

    fn socket(&mut self, client: usize, site: usize, act: SocketAct) {
        if let SocketAct::Reclaim { which, wrong } = act {
            return self.reclaim_socket(which, wrong);
        }
        let Some(connection) = self.client(client) else {
            return;
        };
        let site = self.sites[site].clone();
        let mine = self.owned.iter().filter(|it| it.connection == connection);
        let mine: Vec<Owned> = mine.copied().collect();
        let pick = |which: usize| mine.get(which % mine.len().max(1)).copied();
        match act {
            SocketAct::Open { queue, redirect } => {
                self.sockets = self.sockets.wrapping_add(1);
                let token = [self.sockets; 16];
                if self.daemon.world.sockets.contains_key(&token) {
                    return;
                }
                let chain = site.key;
                let key = SocketKey {
                    place: QueueKey { chain, queue },
                    token,
                };
                let bytes = 4096;
                let opening = Opening {
                    interface: site.clone(),
                    queue,
                    memory: PinnedMemory { of: token, bytes },
                    beside: false,
                    bare: false,
                    redirect,
                    sends: true,
                    token,
                };
                let request = Request::Open(opening);
                let id = self.daemon.ask(connection, site, request, Vec::new());
                self.opening.push((id, Owned { connection, key }));
            }
            SocketAct::Activate { which, has_frames } => {
                let Some(Owned { key, .. }) = pick(which) else {
                    return;
                };
                let socket = self.daemon.world.sockets.get_mut(&key.token);
                socket.expect("it was made").has_frames = has_frames;
                let site = self.site_of(key);
                self.daemon
                    .ask(connection, site, Request::Activate { key }, Vec::new());
            }
            SocketAct::Close { which } => {
                if let Some(Owned { key, .. }) = pick(which) {
                    self.owned.retain(|it| it.key != key);
                    let site = self.site_of(key);
                    self.daemon
                        .ask(connection, site, Request::Close { key }, Vec::new());
                }
            }
            SocketAct::Drop { which } => {
                if let Some(Owned { key, .. }) = pick(which) {
                    self.drop_socket(key);
                }
            }
            SocketAct::Reclaim { .. } => {}
        }
    }

    /// The interface that a socket was opened on.
    fn site_of(&self, key: SocketKey) -> Interface {
        Interface {
            key: key.place.chain,
            ..self.sites[0].clone()
        }
    }

    fn drop_socket(&mut self, key: SocketKey) {
        if let Some(socket) = self.daemon.world.sockets.get_mut(&key.token) {
            socket.is_open = false;
        }
        self.daemon.world.close();
    }

    fn reclaim_socket(&mut self, which: usize, wrong: bool) {
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
        let Some(client) = UIDS.iter().position(|it| *it == uid) else {
            return;
        };
        let Some(connection) = self.client(client) else {
            return;
        };
        let Some(socket) = self.daemon.world.sockets.get(&key.token) else {
            return;
        };
        if !socket.is_open {
            return;
        }
        let cookie = socket.cookie ^ u64::from(wrong);
        let site = self.site_of(key);
        let request = Request::ReclaimSocket { key, cookie };
        let id = self.daemon.ask(connection, site, request, Vec::new());
        self.reclaiming.push((id, Owned { connection, key }));
    }

    fn gone(&mut self, client: usize) {
        let Some(connection) = self.clients[client].take() else {
            return;
        };
        let gone = |it: &Owned| it.connection == connection;
        for owned in self.owned.clone() {
            if gone(&owned) {
                self.drop_socket(owned.key);
            }
        }
        self.owned.retain(|it| !gone(it));
        self.opening.retain(|(_, it)| !gone(it));
        self.reclaiming.retain(|(_, it)| !gone(it));
        self.making.retain(|(_, it)| !gone(it));
        self.daemon.disconnect(connection);
    }

    fn news(&mut self, site: usize, news: News) {
        let key = self.sites[site].key;
        let daemon = &mut self.daemon;
        match news {
            News::Detached => daemon.world.foreign_detach(key),
            News::Taken => {
                daemon.world.foreign_detach(key);
                daemon.world.foreign_attach(key, 77);
            }
            News::Left => daemon.world.foreign_leave(key),
            News::Removed => {
                let nic = daemon.world.nics[&key].clone();
                daemon.world.remove_nic(key);
                let next = interface(self.next_nic);
                self.next_nic += 1;
                let hook = Hook::Empty;
                daemon.world.nics.insert(next.key, Nic { hook, ..nic });
                self.sites[site] = next;
            }
        }
        daemon.disturbed.insert(key);
        daemon.orders.saw(key, Kind::News);
    }

    /// What clients and their sessions do with their answers.
    fn hear(&mut self) {
        for (id, owned) in std::mem::take(&mut self.opening) {
            match self.daemon.answers.remove(&id) {
                Some(Answer::Leased) => self.made(owned),
                Some(_) => {}
                None => self.opening.push((id, owned)),
            }
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

    fn made(&mut self, owned: Owned) {
        let key = owned.key;
        let made = !self.sockets.is_multiple_of(7);
        if made {
            let socket = Socket {
                cookie: u64::from(key.token[0]),
                has_rx_ring: !self.sockets.is_multiple_of(11),
                has_frames: true,
                is_open: true,
                is_held: false,
            };
            self.daemon.world.sockets.insert(key.token, socket);
        }
        let site = self.site_of(key);
        let request = Request::Made { key, made };
        let id = self.daemon.ask(owned.connection, site, request, Vec::new());
        if made {
            self.making.push((id, owned));
        }
    }
}

#[test]
fn whatever_happens_at_every_step_of_every_job_what_is_always_true_holds() {
    let steps = std::env::var("WALK_STEPS").ok();
    let steps = steps.map_or(STEPS, |steps| steps.parse().expect("a number of steps"));
    let config = Config {
        cases: steps.div_ceil(u32::try_from(WALK).unwrap()),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let orders = RefCell::new(Orders::default());
    let kind = (prop::bool::weighted(0.8), prop::bool::weighted(0.3));
    let walks = (
        kind,
        prop::collection::vec(action(), WALK / 2..=WALK * 3 / 2),
    );
    let begin = |(freplace, is_quiet)| {
        let engines = Engines {
            freplace,
            ..ENGINES
        };
        Walk::new(engines, is_quiet)
    };
    let outcome = TestRunner::new(config).run(&walks, |(kind, actions)| {
        let mut walk = begin(kind);
        walk.play(&actions);
        orders.borrow_mut().add(&walk.daemon.orders);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (kind, actions))) => {
            let mut walk = begin(kind);
            let _ = catch_unwind(AssertUnwindSafe(|| walk.play(&actions)));
            let history = walk.daemon.history.join("\n");
            panic!("{reason}, after {} actions:\n{history}", actions.len());
        }
        Err(error) => panic!("{error}"),
    }
    let counts = orders.into_inner().counts;
    let of = |pair| counts.get(&pair).copied().unwrap_or(0);
    let pairs = Kind::ALL
        .into_iter()
        .flat_map(|first| Kind::ALL.map(|second| (first, second)));
    let rare: Vec<_> = pairs.filter(|pair| of(*pair) == 0).collect();
    assert!(rare.is_empty(), "never: {rare:?}, of {counts:?}");
}
