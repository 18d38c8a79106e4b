//! What named tests say to a daemon.

use dispatcher_abi::Lifetime;
use planner::testing::{ENGINES, change, facts, interface, outline, registration};
use planner::{
    Chain, ChainKey, Change, ConnectionId, Facts, Interface, MemberId, Operation, Registration,
};

use super::daemon::{Daemon, Load};
use super::world::{Error, Fate, Running};
use crate::{Answer, Changed, Job, Request, RequestId};

/// `eth0`, which does everything.
pub(super) fn eth0() -> Interface {
    interface(0)
}

/// The `eth0` of another namespace, of the same index.
pub(super) fn twin() -> Interface {
    let eth0 = eth0();
    Interface {
        key: ChainKey {
            netns: eth0.key.netns + 1,
            ..eth0.key
        },
        netns_name: Some("blue".to_owned()),
        ..eth0
    }
}

/// A kept member of this name.
pub(super) fn kept(name: &str) -> Operation {
    Operation::Register(Registration {
        name: Some(name.to_owned()),
        ..registration()
    })
}

/// A member of this name that lingers so long after its connection.
pub(super) fn attached(name: &str, linger_ms: u32) -> Operation {
    Operation::Register(Registration {
        name: Some(name.to_owned()),
        lifetime: Lifetime::Attached,
        linger_ms,
        ..registration()
    })
}

pub(super) fn replace(name: &str) -> Operation {
    let name = name.to_owned();
    Operation::Replace { name }
}

pub(super) fn unregister(name: &str) -> Operation {
    let name = name.to_owned();
    Operation::Unregister { name }
}

/// A daemon on a kernel that has everything, and a connection of root's.
pub(super) fn daemon() -> (Daemon, ConnectionId) {
    let mut daemon = Daemon::new(ENGINES);
    let root = daemon.connect(0);
    daemon.run();
    (daemon, root)
}

impl Daemon {
    /// Asks for a change of `eth0`, all of whose objects are alike.
    pub(super) fn ask_for(
        &mut self,
        connection: ConnectionId,
        operations: Vec<Operation>,
    ) -> RequestId {
        self.ask_change(connection, change(operations), facts())
    }

    pub(super) fn ask_change(
        &mut self,
        connection: ConnectionId,
        change: Change,
        facts: Facts,
    ) -> RequestId {
        let facts = vec![facts; change.loads()];
        let site = change.interface.clone();
        let request = Request::Change {
            outlines: facts.iter().map(outline).collect(),
            change,
            dry_run: false,
        };
        self.ask(connection, site, request, facts)
    }

    /// Asks for a change of `eth0`, carries it out, and says what was answered.
    pub(super) fn made(&mut self, connection: ConnectionId, operations: Vec<Operation>) -> Changed {
        let id = self.ask_for(connection, operations);
        self.run();
        self.changed(id)
    }

    /// The answer to a request that was made.
    pub(super) fn changed(&mut self, id: RequestId) -> Changed {
        let answer = self.answer(id);
        let Answer::Changed(changed) = answer else {
            panic!("it is not made: {answer:?}");
        };
        *changed
    }

    pub(super) fn answer(&mut self, id: RequestId) -> Answer<Error> {
        self.answers.remove(&id).expect("it is answered")
    }

    /// The chain of `eth0`.
    pub(super) fn chain(&self) -> &Chain {
        let chain = self.controller.state().at(eth0().key);
        chain.expect("eth0 has a chain")
    }

    /// The names of the members of `eth0`'s chain, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        let chain = self.controller.state().at(eth0().key);
        let members = chain.into_iter().flat_map(|chain| &chain.members);
        members.map(|member| member.name.as_str()).collect()
    }

    /// The member of this name on `eth0`; one that there never was if it has none.
    pub(super) fn member(&self, name: &str) -> MemberId {
        let chain = self.controller.state().at(eth0().key);
        let found = chain.and_then(|chain| chain.member(name));
        found.map_or(MemberId(u64::MAX), |(_, member)| member.id)
    }

    /// Carries everything out until such a job is what comes next; nothing else is going on then.
    pub(super) fn run_until(&mut self, is_meant: impl Fn(&Job<Error>) -> bool) {
        for _ in 0..10_000 {
            let found = |running: &Running| running.done.is_none() && is_meant(&running.job);
            let Some(which) = self.running.iter().position(|it| !found(it)) else {
                assert!(!self.running.is_empty(), "there is no such job");
                return;
            };
            self.step(which, Fate::Works, Load::Works);
            self.check();
        }
        panic!("there is no such job");
    }

    /// Somebody takes `eth0`'s chain off its hook.
    pub(super) fn detach(&mut self) {
        let key = eth0().key;
        self.world.foreign_detach(key);
        self.disturbed.insert(key);
    }

    /// Lets this many effects of the only job happen, and the next one fail.
    pub(super) fn fail_after(&mut self, effects: usize) {
        assert_eq!(self.running.len(), 1, "{:?}", self.running);
        for _ in 0..effects {
            self.step(0, Fate::Works, Load::Works);
            self.check();
        }
        self.step(0, Fate::Fails, Load::Works);
        self.check();
    }
}

pub(super) fn is_load(job: &Job<Error>) -> bool {
    matches!(job, Job::Load { .. })
}

pub(super) fn is_look(job: &Job<Error>) -> bool {
    matches!(job, Job::Look { .. })
}

pub(super) fn is_prepare(job: &Job<Error>) -> bool {
    matches!(job, Job::Prepare { .. })
}

pub(super) fn is_commit(job: &Job<Error>) -> bool {
    matches!(job, Job::Commit { .. })
}
