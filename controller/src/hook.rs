//! Looking at hooks, and putting chains back on theirs.

use planner::{ChainDir, ChainKey, HookProgram, Standing, Waiting};

use crate::lane::{After, Doing, OffHook, Purpose, Work};
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
            Seen::Attached => {
                self.saw_hook(site);
                self.on_hook(site, purpose);
            }
            Seen::Detached => {
                self.saw_hook(site);
                self.rearm(site, purpose);
            }
            Seen::Taken(program) => {
                self.saw_hook(site);
                self.hook_taken(site, program.clone());
                self.go_on_with(site, purpose, Some(OffHook::Taken(program)));
            }
            Seen::Gone if self.now < next_removal => {
                self.go_on_with(site, purpose, Some(OffHook::Gone));
            }
            Seen::Gone => self.interface_gone(site, purpose),
            // What was seen last stands.
            Seen::Unknown(error) => {
                self.hook_not_seen(site, error.clone());
                self.go_on_with(site, purpose, Some(OffHook::Failed(error)));
            }
        }
        self.advance(site);
    }

    /// It is known what the hook of a lane runs, as of now.
    pub(crate) fn saw_hook(&mut self, site: ChainKey) {
        let Some(chain) = self.state.at(site).map(|chain| chain.id) else {
            return;
        };
        self.not_seen.remove(&chain);
        let at = self.now;
        self.push(Job::ShowLook { chain, at });
    }

    /// A look at a chain's hook failed. Said once.
    fn hook_not_seen(&mut self, site: ChainKey, error: E) {
        let Some(chain) = self.state.at(site) else {
            return;
        };
        let interface = chain.interface.name.clone();
        if self.not_seen.insert(chain.id) {
            self.tell(Notice::NotSeen { interface, error });
        }
    }

    /// Somebody else's program is on a chain's hook. Said once.
    fn hook_taken(&mut self, site: ChainKey, program: HookProgram) {
        let Some(chain) = self.state.at_mut(site) else {
            return;
        };
        let waiting = Standing::Waiting(Waiting::Taken(program.clone()));
        if chain.standing != waiting {
            chain.standing = waiting;
            let interface = chain.interface.name.clone();
            self.changed();
            self.tell(Notice::Taken { interface, program });
        }
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
        self.go_on_with(site, purpose, Some(OffHook::Failed(error)));
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
    fn go_on_with(&mut self, site: ChainKey, purpose: Purpose, off_hook: Option<OffHook<E>>) {
        match purpose {
            Purpose::Request(id) => self.decide_change(site, id, off_hook),
            Purpose::Expire => self.expire(site, off_hook),
            Purpose::Look => {}
        }
    }
}
