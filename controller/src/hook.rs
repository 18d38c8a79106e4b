//! Looking at hooks, and putting chains back on theirs.

use planner::{ChainDir, ChainKey, Standing};

use crate::lane::{After, Doing, Purpose, Work};
use crate::{Controller, Job, LOOK_MS, Notice, Seen};

impl<E: Clone> Controller<E> {
    /// Looks at a chain's hook for a purpose.
    pub(crate) fn look(&mut self, site: ChainKey, dir: ChainDir, purpose: Purpose) {
        let id = purpose.request();
        self.push(Job::Look { site, id, dir });
        self.lane(site).doing = Some(Doing::Looking(purpose));
    }

    /// A chain's hook was looked at.
    pub(crate) fn looked(&mut self, site: ChainKey, seen: Seen<E>) {
        let Doing::Looking(purpose) = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        let next_removal = self.lane(site).next_removal;
        match seen {
            Seen::Attached => self.on_hook(site, purpose),
            Seen::Detached => self.rearm(site, purpose),
            // What the chain was looked at for fails by itself.
            Seen::Gone if self.now < next_removal => self.go_on_with(site, purpose, None),
            Seen::Gone => self.interface_gone(site, purpose),
            Seen::Unknown(error) => {
                self.off_hook(site, error.clone());
                self.go_on_with(site, purpose, Some(error));
            }
        }
        self.advance(site);
    }

    /// Attaches a chain again as it was.
    fn rearm(&mut self, site: ChainKey, purpose: Purpose) {
        let Some(chain) = self.state.at(site) else {
            return self.go_on_with(site, purpose, None);
        };
        let plan = planner::rearm(&self.state, chain.id).expect("a chain that is there");
        if chain.standing == Standing::InForce {
            let interface = chain.interface.name.clone();
            self.tell(Notice::Detached { interface });
        }
        self.commit(site, plan.into(), After::Rearm(purpose));
    }

    /// The chain is on its hook.
    fn on_hook(&mut self, site: ChainKey, purpose: Purpose) {
        if let Some(chain) = self.state.at_mut(site)
            && chain.standing != Standing::InForce
        {
            chain.standing = Standing::InForce;
            let interface = chain.interface.name.clone();
            self.changed();
            self.tell(Notice::Attached { interface });
        }
        self.go_on_with(site, purpose, None);
    }

    pub(crate) fn rearmed(&mut self, site: ChainKey, purpose: Purpose) {
        self.go_on_with(site, purpose, None);
    }

    pub(crate) fn not_rearmed(&mut self, site: ChainKey, purpose: Purpose, error: E) {
        self.go_on_with(site, purpose, Some(error));
    }

    /// The interface is gone. Its sockets go first: a map lives on as long as a socket is in it, and
    /// a client may keep its socket.
    fn interface_gone(&mut self, site: ChainKey, purpose: Purpose) {
        let interface = self.name_of(site);
        self.tell(Notice::InterfaceGone { interface });
        let sockets = self.state.leases.of_chain(site);
        let again = self.now.after_ms(LOOK_MS);
        let lane = self.lane(site);
        lane.next_removal = again;
        let waiting = &mut lane.waiting;
        match purpose {
            Purpose::Request(id) => waiting.push_front(Work::Request(id)),
            Purpose::Expire => waiting.push_front(Work::Expire),
            Purpose::Look => {}
        }
        waiting.push_front(Work::RemoveChain);
        if !sockets.is_empty() {
            waiting.push_front(Work::DropSockets(sockets));
        }
    }

    /// Goes on with what the hook was looked at for.
    fn go_on_with(&mut self, site: ChainKey, purpose: Purpose, off_hook: Option<E>) {
        match purpose {
            Purpose::Request(id) => self.decide_change(site, id, off_hook),
            Purpose::Expire => self.expire(site, off_hook),
            Purpose::Look => {}
        }
    }
}
