//! What lanes do: clients' requests, and what the daemon does by itself.

use planner::{
    ChainDir, ChainKey, Change, Commit, MemberId, Mend, Operation, decide, expire, without_redirect,
};

use crate::controller::{Life, Want};
use crate::lane::{After, Doing, OffHook, Purpose, Then, Work};
use crate::{Act, Answer, Controller, Job, Notice, RequestId};

impl<E: Clone> Controller<E> {
    /// Begins one thing in a lane. Where it needs no job it is done at once.
    pub(crate) fn begin(&mut self, site: ChainKey, work: Work) {
        match work {
            Work::Request(id) => self.begin_request(site, id),
            Work::Gone(connection) => self.members_linger(site, connection),
            Work::Expire => self.begin_expiry(site),
            Work::DropSockets(keys) => self.drop_sockets(site, keys, None),
            Work::DropAgain => self.drop_again(site),
            Work::ExpireSockets => self.expire_sockets(site),
            Work::DropRedirect => self.drop_redirect(site),
            Work::GiveAgain(keys) => self.give_again(site, keys),
            Work::Closed(id) => self.answer(id, Answer::Closed),
            Work::RemoveChain => self.remove_chain(site),
            Work::Free(dir) => self.free(site, dir, Then::Nothing),
            Work::Mend(dir) => self.mend(site, dir),
            Work::Look => {
                if let Some(dir) = self.state.at(site).map(|chain| chain.dir) {
                    self.look(site, dir, Purpose::Look);
                }
            }
        }
    }

    fn begin_request(&mut self, site: ChainKey, id: RequestId) {
        if self.is_given_up(id) {
            return;
        }
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        match asked.want.clone() {
            Want::Change => self.begin_change(site, id),
            Want::Reclaim { member, token } => self.reclaim(site, id, member, &token),
            Want::Activate { key } => self.activate(site, id, key),
            Want::Close { key } => self.close(site, id, key),
            Want::ReclaimSocket { key, cookie } => self.reclaim_socket(site, id, key, cookie),
        }
    }

    fn reclaim(&mut self, site: ChainKey, id: RequestId, member: MemberId, token: &[u8; 16]) {
        let Some(asked) = self.requests.get(&id) else {
            return;
        };
        let uid = asked.authority.uid();
        let reclaimed = self.state.reclaim(&asked.authority, site, member, token);
        if let Err(refusal) = reclaimed {
            return self.answer(id, Answer::Refused(refusal));
        }
        self.changed();
        if let Some((chain, member)) = self.state.member(member) {
            let notice = Notice::ClientBack {
                interface: chain.interface.name.clone(),
                member: member.name.clone(),
                uid,
            };
            self.tell(notice);
        }
        self.answer(id, Answer::Reclaimed);
    }

    fn members_linger(&mut self, site: ChainKey, connection: planner::ConnectionId) {
        for id in self.state.connection_gone(site, connection, self.now) {
            self.changed();
            let Some((chain, member)) = self.state.member(id) else {
                continue;
            };
            let notice = Notice::ClientGone {
                interface: chain.interface.name.clone(),
                member: member.name.clone(),
                linger_ms: member.linger_ms.into(),
            };
            self.tell(notice);
        }
    }

    /// A chain is looked at first: nothing can be swapped on a hook that isn't its own.
    fn begin_expiry(&mut self, site: ChainKey) {
        let chain = self.state.at(site).map(|chain| (chain.id, chain.dir));
        if let Some((chain, dir)) = chain
            && self.state.over(self.now).contains_key(&chain)
        {
            self.look(site, dir, Purpose::Expire);
        }
    }

    /// Removes the members whose time is over. `off_hook`: why the chain could not be put back on its
    /// hook; then it can only go as a whole.
    pub(crate) fn expire(&mut self, site: ChainKey, off_hook: Option<OffHook<E>>) {
        let Some(chain) = self.state.at(site).map(|chain| chain.id) else {
            return;
        };
        let over = self.state.over(self.now);
        let members = over.get(&chain).map_or(&[][..], Vec::as_slice);
        let Some(plan) = expire(&self.state, chain, members) else {
            return;
        };
        if let Some(off_hook) = off_hook
            && !matches!(plan.commit, Commit::Detach { .. })
        {
            return match off_hook {
                // That was said, and isn't a failure.
                OffHook::Taken(_) | OffHook::Gone => self.wait_with_own(site),
                OffHook::Failed(error) => self.failed_own(site, Act::Expire, error),
            };
        }
        let interface = self.name_of(site);
        let members = members.len();
        self.tell(Notice::Expired { interface, members });
        self.carry_out(site, plan, After::Own(Act::Expire));
    }

    pub(crate) fn drop_redirect(&mut self, site: ChainKey) {
        let chain = self.state.at(site);
        let change = chain.and_then(|chain| without_redirect(chain, &self.state.leases));
        if let Some(change) = change {
            self.change_by_itself(site, &change, Act::DropRedirect);
        }
    }

    /// Tries again what could not be mended of a chain.
    fn mend(&mut self, site: ChainKey, dir: ChainDir) {
        let steps = self.state.take_mends(dir);
        if !steps.is_empty() {
            self.push(Job::Mend { site, dir, steps });
            self.lane(site).doing = Some(Doing::Mending);
        }
    }

    /// It was tried. What fails again was said when it failed first.
    pub(crate) fn mended(&mut self, site: ChainKey, dir: ChainDir, steps: Vec<(Mend, bool)>) {
        let Doing::Mending = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        for (step, is_done) in steps {
            if is_done {
                self.tell(Notice::Mended { dir, step });
            } else {
                self.state.not_mended(dir, step, self.now);
            }
        }
        // Readers have a member's totals from now on that had none.
        self.changed();
        self.advance(site);
    }

    fn remove_chain(&mut self, site: ChainKey) {
        let Some(chain) = self.state.at(site) else {
            return;
        };
        let change = Change {
            interface: chain.interface.clone(),
            expected_revision: None,
            expected_members: Vec::new(),
            mode: None,
            operations: vec![Operation::UnregisterAll],
        };
        self.change_by_itself(site, &change, Act::RemoveChain);
    }

    /// Makes a change that loads nothing, for the daemon itself.
    fn change_by_itself(&mut self, site: ChainKey, change: &Change, act: Act) {
        match decide(&self.state, &self.daemon, change, &[], &[]) {
            Ok(plan) => self.carry_out(site, plan, After::Own(act)),
            Err(refusal) => {
                self.wait_with_own(site);
                self.tell(Notice::Refused { site, act, refusal });
            }
        }
    }

    /// What the daemon did by itself is done.
    pub(crate) fn finished_own(&mut self, interface: &str, act: Act) {
        let interface = interface.to_owned();
        match act {
            Act::DropRedirect => self.tell(Notice::RedirectGone { interface }),
            Act::RemoveChain if self.life != Life::Running => {
                self.tell(Notice::Removed { interface });
            }
            Act::RemoveChain | Act::Free | Act::Expire | Act::Give | Act::Take => {}
        }
    }
}
