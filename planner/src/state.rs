//! Every chain.

use std::collections::BTreeMap;

use dispatcher_abi::Lifetime;

use crate::{
    Chain, ChainDir, ChainId, ChainKey, Client, ConnectionId, Engines, Interface, Member, MemberId,
    MemberState, Plan, Refusal,
};

/// Every chain that the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The chains.
    pub chains: BTreeMap<ChainId, Chain>,
    /// The next chain's number.
    pub next_chain: ChainId,
    /// The next member's id.
    pub next_member: MemberId,
    /// What the daemon's probe found.
    pub engines: Engines,
}

/// A member whose client is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its chain.
    pub chain: ChainId,
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
            next_chain: ChainId(1),
            next_member: MemberId(1),
            engines,
        }
    }

    /// The chain of an interface.
    pub fn at(&self, key: ChainKey) -> Option<&Chain> {
        let mut chains = self.chains.values();
        chains.find(|chain| chain.interface.key == key)
    }

    /// The chain of an interface, to be changed.
    pub fn at_mut(&mut self, key: ChainKey) -> Option<&mut Chain> {
        let mut chains = self.chains.values_mut();
        chains.find(|chain| chain.interface.key == key)
    }

    /// Takes over a chain that was found. One whose number is 0, or another's, gets a new one.
    pub(crate) fn insert(&mut self, mut chain: Chain) -> ChainId {
        if chain.id == ChainId(0) || self.chains.contains_key(&chain.id) {
            chain.id = self.next_chain;
        }
        self.next_chain = self.next_chain.max(ChainId(chain.id.0 + 1));
        let id = chain.id;
        self.chains.insert(id, chain);
        id
    }

    /// Where the pins of a new chain go: the directory named after its interface, unless another
    /// chain has its pins there.
    pub(crate) fn new_dir(&self, interface: &Interface, id: ChainId) -> ChainDir {
        let dir = ChainDir {
            key: interface.key,
            again: 0,
        };
        let is_taken = self.chains.values().any(|chain| chain.dir == dir);
        let again = if is_taken { id.0 } else { 0 };
        ChainDir { again, ..dir }
    }

    /// Takes over what a plan did, once it is carried out.
    pub fn commit(&mut self, plan: &Plan) {
        self.next_chain = self.next_chain.max(ChainId(plan.chain.0 + 1));
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

    /// Takes a chain's attached members from their connections, which went with a former daemon.
    pub(crate) fn orphan_all(&mut self, chain: ChainId) -> Vec<Orphan> {
        let members = self.chains.get_mut(&chain).map(|found| &mut found.members);
        let attached = members
            .into_iter()
            .flatten()
            .filter(|m| m.lifetime == Lifetime::Attached);
        attached.map(|member| member.orphan(chain)).collect()
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
        let Some(found) = self.at_mut(chain) else {
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
    pub(crate) fn orphan(&mut self, chain: ChainId) -> Orphan {
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
