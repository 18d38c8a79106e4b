//! Every chain.

use std::collections::BTreeMap;

use dispatcher_abi::Lifetime;

use crate::{
    Chain, ChainKey, Client, ConnectionId, Engines, Member, MemberId, MemberState, Plan, Refusal,
};

/// Every chain that the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The chains.
    pub chains: BTreeMap<ChainKey, Chain>,
    /// The next member's id.
    pub next_member: MemberId,
    /// What the daemon's probe found.
    pub engines: Engines,
}

/// A member whose client is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its chain.
    pub chain: ChainKey,
    /// Its name.
    pub name: String,
    /// Its id.
    pub member: MemberId,
    /// How long it stays, in milliseconds.
    pub linger_ms: u32,
}

impl State {
    /// No chains, on a kernel with these engines.
    pub fn new(engines: Engines) -> Self {
        Self {
            chains: BTreeMap::new(),
            next_member: MemberId(1),
            engines,
        }
    }

    /// Takes over what a plan did, once it is carried out.
    pub fn commit(&mut self, plan: &Plan) {
        let Some(next) = &plan.next else {
            self.chains.remove(&plan.chain);
            return;
        };
        for member in &next.members {
            self.next_member = self.next_member.max(MemberId(member.id.0 + 1));
        }
        self.chains.insert(plan.chain, next.clone());
    }

    /// A connection is gone: its attached members linger from now on.
    pub fn connection_gone(&mut self, connection: ConnectionId) -> Vec<Orphan> {
        let mut orphans = Vec::new();
        for (key, chain) in &mut self.chains {
            for member in &mut chain.members {
                let is_attached = member.lifetime == Lifetime::Attached;
                let runs = member.state == MemberState::Running;
                if is_attached && runs && member.owner.connection == connection {
                    orphans.push(member.orphan(*key));
                }
            }
        }
        orphans
    }

    /// Makes a lingering member its client's again. It takes the uid that registered it and the
    /// token that its registration returned.
    pub fn reclaim(
        &mut self,
        client: &Client,
        chain: ChainKey,
        name: &str,
        token: &[u8; 16],
    ) -> Result<(), Refusal> {
        let Some(found) = self.chains.get_mut(&chain) else {
            return Err(Refusal::NoChain {
                interface: chain.to_string(),
            });
        };
        let interface = found.interface.name.clone();
        let name = name.to_owned();
        let Some(member) = found.members.iter_mut().find(|m| m.name == name) else {
            return Err(Refusal::NoSuchMember { interface, name });
        };
        if member.state != MemberState::Lingering {
            return Err(Refusal::NotLingering { interface, name });
        }
        if member.owner.uid != client.uid || member.token != *token {
            return Err(Refusal::ClaimMismatch { interface, name });
        }
        member.state = MemberState::Running;
        member.owner.pid = client.pid;
        member.owner.client.clone_from(&client.name);
        member.owner.connection = client.connection;
        Ok(())
    }
}

impl Member {
    /// Takes the member from its connection.
    pub(crate) fn orphan(&mut self, chain: ChainKey) -> Orphan {
        self.owner.connection = ConnectionId(0);
        self.state = MemberState::Lingering;
        Orphan {
            chain,
            name: self.name.clone(),
            member: self.id,
            linger_ms: self.linger_ms,
        }
    }
}
