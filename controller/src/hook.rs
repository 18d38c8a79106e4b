//! Looking at hooks, and putting chains back on theirs.

use planner::{ChainDir, ChainKey, Standing};

use crate::lane::{After, Doing, Work};
use crate::{Controller, Job, LOOK_MS, Notice, RequestId, Seen};

impl<E: Clone> Controller<E> {
    /// Looks at a chain's hook before this work.
    pub(crate) fn look(&mut self, site: ChainKey, dir: ChainDir, then: Work) {
        let id = request_of(&then);
        self.push(Job::Look { site, id, dir });
        self.lane(site).doing = Some(Doing::Looking(then));
    }

    /// A chain's hook was looked at.
    pub(crate) fn looked(&mut self, site: ChainKey, seen: Seen<E>) {
        let Doing::Looking(then) = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        let next_removal = self.lane(site).next_removal;
        match seen {
            Seen::Attached => self.on_hook(site, &then),
            Seen::Detached => self.rearm(site, then),
            // What the chain was looked at for fails by itself.
            Seen::Gone if self.now < next_removal => self.go_on_with(site, &then, None),
            Seen::Gone => self.interface_gone(site, then),
            Seen::Unknown(error) => {
                self.off_hook(site, error.clone());
                self.go_on_with(site, &then, Some(error));
            }
        }
        self.advance(site);
    }

    /// Attaches a chain again as it was.
    fn rearm(&mut self, site: ChainKey, then: Work) {
        let Some(chain) = self.state.at(site) else {
            return self.go_on_with(site, &then, None);
        };
        let plan = planner::rearm(&self.state, chain.id).expect("a chain that is there");
        if chain.standing == Standing::InForce {
            let interface = chain.interface.name.clone();
            self.tell(Notice::Detached { interface });
        }
        self.commit(site, plan.into(), After::Rearm(then));
    }

    /// The chain is on its hook.
    fn on_hook(&mut self, site: ChainKey, then: &Work) {
        if let Some(chain) = self.state.at_mut(site)
            && chain.standing != Standing::InForce
        {
            chain.standing = Standing::InForce;
            let interface = chain.interface.name.clone();
            self.changed();
            self.tell(Notice::Attached { interface });
        }
        self.go_on_with(site, then, None);
    }

    pub(crate) fn rearmed(&mut self, site: ChainKey, then: &Work) {
        self.go_on_with(site, then, None);
    }

    pub(crate) fn not_rearmed(&mut self, site: ChainKey, then: &Work, error: E) {
        self.go_on_with(site, then, Some(error));
    }

    /// The interface is gone. Its sockets go first: a map lives on as long as a socket is in it, and
    /// a client may keep its socket.
    fn interface_gone(&mut self, site: ChainKey, then: Work) {
        let interface = self.name_of(site);
        self.tell(Notice::InterfaceGone { interface });
        let sockets = self.state.leases.of_chain(site);
        let again = self.now.after_ms(LOOK_MS);
        let lane = self.lane(site);
        lane.next_removal = again;
        let waiting = &mut lane.waiting;
        if then != Work::Look {
            waiting.push_front(then);
        }
        waiting.push_front(Work::RemoveChain);
        if !sockets.is_empty() {
            waiting.push_front(Work::DropSockets(sockets));
        }
    }

    /// Goes on with what the hook was looked at for.
    fn go_on_with(&mut self, site: ChainKey, then: &Work, off_hook: Option<E>) {
        match then {
            Work::Request(id) => self.decide_change(site, *id, off_hook),
            Work::Expire => self.expire(site, off_hook),
            Work::Look
            | Work::Gone(_)
            | Work::DropSockets(_)
            | Work::DropAgain
            | Work::ExpireSockets
            | Work::DropRedirect
            | Work::GiveAgain(_)
            | Work::Closed(_)
            | Work::RemoveChain
            | Work::Free(_) => {}
        }
    }
}

fn request_of(work: &Work) -> Option<RequestId> {
    match work {
        Work::Request(id) => Some(*id),
        Work::Gone(_)
        | Work::Expire
        | Work::DropSockets(_)
        | Work::DropAgain
        | Work::ExpireSockets
        | Work::DropRedirect
        | Work::GiveAgain(_)
        | Work::Closed(_)
        | Work::RemoveChain
        | Work::Free(_)
        | Work::Look => None,
    }
}
