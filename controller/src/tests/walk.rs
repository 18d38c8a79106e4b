//! A random walk: everything that can happen, in any order, at every step of every job.

mod sockets;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use planner::testing::{ENGINES, aim_at, interface, outline};
use planner::{ChainKey, ConnectionId, Engines, Interface, MemberState, Revision, SocketKey};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::action::{Action, News, STUCK, UIDS, Wrong, action};
use super::ask::twin;
use super::daemon::{Daemon, Load};
use super::order::{Kind, Orders};
use super::world::{Fate, Hook, Nic};
use crate::{Job, Request, RequestId};

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

/// A socket that is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    owned: Owned,
    is_bare: bool,
    is_beside: bool,
    /// It may have the queue, if that is free.
    is_allowed: bool,
}

/// A daemon and what its clients remember.
struct Walk {
    daemon: Daemon,
    clients: [Option<ConnectionId>; UIDS.len()],
    sites: Vec<Interface>,
    /// The next interface's index, in each namespace.
    next_nics: BTreeMap<u64, u32>,
    /// Neither daemon nor interfaces come and go.
    is_quiet: bool,
    loads: u32,
    sockets: u8,
    opening: Vec<(RequestId, Asked)>,
    /// Queues that are leased, and whose sockets are not made yet.
    to_make: Vec<Asked>,
    heard: u32,
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
            sites: (0..3).map(interface).chain([twin()]).collect(),
            next_nics: BTreeMap::new(),
            loads: 0,
            sockets: 0,
            opening: Vec::new(),
            to_make: Vec::new(),
            heard: 0,
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
                expected,
            } => self.change(*client, *site, *dry_run, change, *expected),
            Action::Reclaim {
                client,
                which,
                wrong,
            } => self.reclaim(*client, *which, *wrong),
            Action::Socket { client, site, act } => self.socket(*client, *site, *act),
            Action::Gone { client } => self.gone(*client),
            Action::Time { ms } => self.daemon.pass(*ms),
            Action::Deadline => {
                let now = self.daemon.now;
                let deadlines = self.daemon.controller.state().deadlines();
                if let Some(next) = deadlines.filter(|at| *at > now).min() {
                    self.daemon.pass(next.ms_since(now).min(60_000));
                }
            }
            Action::News { site, news } => self.news(*site, *news),
            Action::Crash { ms } => {
                // Often between what is written down of a socket and its place in the map.
                let is_give = |job: &Job<_>| matches!(job, Job::Give { .. });
                let give = self.daemon.running.iter().position(|it| is_give(&it.job));
                if let Some(which) = give {
                    self.daemon.step(which, Fate::Works, Load::Works);
                }
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
        self.to_make.clear();
        self.making.clear();
        self.reclaiming.clear();
        self.owned.clear();
    }

    /// A client that waits for nothing; it connects if it has to.
    fn client(&mut self, client: usize) -> Option<ConnectionId> {
        let daemon = &mut self.daemon;
        let id = *self.clients[client].get_or_insert_with(|| daemon.connect(UIDS[client]));
        self.is_idle(id).then_some(id)
    }

    /// Whether a client waits for nothing.
    fn is_idle(&self, connection: ConnectionId) -> bool {
        let mut pending = self.daemon.pending.values();
        pending.all(|it| it.connection != connection)
    }

    fn change(
        &mut self,
        client: usize,
        site: usize,
        dry_run: bool,
        wanted: &planner::testing::Request,
        expected: Option<u64>,
    ) {
        let Some(connection) = self.client(client) else {
            return;
        };
        let mut wanted = wanted.clone();
        let site = self.sites[site].clone();
        if let planner::testing::Request::Change { change, .. } = &mut wanted {
            change.interface = site.clone();
            if let Some(later) = expected {
                let chain = self.daemon.controller.state().at(site.key);
                let now = chain.map_or(0, |chain| chain.revision.0);
                change.expected_revision = Some(Revision(now + later));
            }
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

    fn reclaim(&mut self, client: usize, which: usize, wrong: Wrong) {
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
        token[0] ^= u8::from(wrong == Wrong::Proof);
        let owner = UIDS.iter().position(|it| *it == uid).unwrap_or(client);
        if let Some(connection) = self.client(if wrong == Wrong::User { client } else { owner }) {
            let request = Request::Reclaim { member, token };
            self.daemon.ask(connection, site, request, Vec::new());
        }
    }

    fn gone(&mut self, client: usize) {
        let Some(connection) = self.clients[client].take() else {
            return;
        };
        let gone = |it: &Owned| it.connection == connection;
        // A session that makes a socket says so before it ends.
        let (now, later): (Vec<Asked>, Vec<Asked>) = std::mem::take(&mut self.to_make)
            .into_iter()
            .partition(|it| gone(&it.owned));
        self.to_make = later;
        for asked in now {
            self.made(asked);
        }
        self.hear();
        for owned in self.owned.clone() {
            if gone(&owned) {
                self.drop_socket(owned.key);
            }
        }
        self.owned.retain(|it| !gone(it));
        self.opening.retain(|(_, it)| !gone(&it.owned));
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
                let next = self.next_nics.entry(key.netns).or_insert(10);
                let ifindex = *next;
                *next += 1;
                let next = Interface {
                    key: ChainKey { ifindex, ..key },
                    name: format!("new{ifindex}"),
                    ..self.sites[site].clone()
                };
                let hook = Hook::Empty;
                daemon.world.nics.insert(next.key, Nic { hook, ..nic });
                self.sites[site] = next;
            }
        }
        daemon.disturbed.insert(key);
        let state = daemon.controller.state();
        daemon.orders.saw(state, key, Kind::News);
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
    let kind = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.5),
    );
    let walks = (
        kind,
        prop::collection::vec(action(), WALK / 2..=WALK * 3 / 2),
    );
    let begin = |(freplace, is_quiet, has_sockets)| {
        let engines = Engines {
            freplace,
            ..ENGINES
        };
        let mut walk = Walk::new(engines, is_quiet);
        if has_sockets {
            walk.begin_with_sockets();
        }
        walk
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
    // A shorter walk may miss some.
    if steps >= STEPS {
        orders.into_inner().assert_all();
    }
}
