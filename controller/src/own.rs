//! What lanes do: clients' requests, and what the daemon does by itself.

use planner::{ChainKey, Change, Commit, MemberId, Operation, decide, expire, without_redirect};

use crate::controller::{Life, Want};
use crate::lane::{After, Then, Work};
use crate::{Act, Answer, Controller, Notice, RequestId};

impl<E: Clone> Controller<E> {
    /// Begins one thing in a lane. Where it needs no job it is done at once.
    pub(crate) fn begin(&mut self, site: ChainKey, work: Work) {
        match work {
            Work::Request(id) => self.begin_request(site, id),
            Work::Gone(connection) => self.members_linger(connection),
            Work::Expire => self.begin_expiry(site),
            Work::DropSockets(keys) => self.drop_sockets(site, keys),
            Work::ExpireSockets => self.expire_sockets(site),
            Work::DropRedirect => self.drop_redirect(site),
            Work::GiveAgain(keys) => self.give_again(site, keys),
            Work::Closed(id) => self.answer(id, Answer::Closed),
            Work::RemoveChain => self.remove_chain(site),
            Work::Free(dir) => self.free(site, dir, Then::Nothing),
            Work::Look => {
                if let Some(dir) = self.state.at(site).map(|chain| chain.dir) {
                    self.look(site, dir, Work::Look);
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
        let name = self
            .state
            .member(member)
            .map(|(_, found)| found.name.clone());
        let name = name.unwrap_or_else(|| member.to_string());
        let reclaimed = self.state.reclaim(&asked.authority, site, &name, token);
        let uid = asked.authority.uid();
        match reclaimed {
            Ok(_) => {
                self.changed();
                let interface = self.name_of(site);
                let member = name;
                self.tell(Notice::ClientBack {
                    interface,
                    member,
                    uid,
                });
                self.answer(id, Answer::Reclaimed);
            }
            Err(refusal) => self.answer(id, Answer::Refused(refusal)),
        }
    }

    fn members_linger(&mut self, connection: planner::ConnectionId) {
        for orphan in self.state.connection_gone(connection, self.now) {
            self.changed();
            let chain = &self.state.chains[&orphan.chain];
            let interface = chain.interface.name.clone();
            let linger_ms = orphan.until.ms_since(self.now);
            self.tell(Notice::ClientGone {
                interface,
                member: orphan.name,
                linger_ms,
            });
        }
    }

    /// A chain is looked at first: nothing can be swapped on a hook that isn't its own.
    fn begin_expiry(&mut self, site: ChainKey) {
        let chain = self.state.at(site).map(|chain| (chain.id, chain.dir));
        if let Some((chain, dir)) = chain
            && self.state.over(self.now).contains_key(&chain)
        {
            self.look(site, dir, Work::Expire);
        }
    }

    /// Removes the members whose time is over. `off_hook`: why the chain could not be put back on its
    /// hook; then it can only go as a whole.
    pub(crate) fn expire(&mut self, site: ChainKey, off_hook: Option<E>) {
        let Some(chain) = self.state.at(site).map(|chain| chain.id) else {
            return;
        };
        let over = self.state.over(self.now);
        let members = over.get(&chain).map_or(&[][..], Vec::as_slice);
        let Some(plan) = expire(&self.state, chain, members) else {
            return;
        };
        if let Some(error) = off_hook
            && !matches!(plan.commit, Commit::Detach { .. })
        {
            return self.failed_own(site, Act::Expire, error);
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
        let decided = decide(&self.state, &self.daemon, change, &[], &[]);
        let plan = decided.expect("the daemon may remove what is there");
        self.carry_out(site, plan, After::Own(act));
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
