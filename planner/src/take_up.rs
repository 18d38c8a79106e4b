//! A change that is sent again: its answer was lost, with the daemon or with the connection.

use dispatcher_abi::Lifetime;

use crate::{Authority, ChainId, Change, MemberId, MemberState, Operation, Owner, State};

/// A change that was done before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUp {
    /// The chain.
    pub chain: ChainId,
    /// The members that the change gave code to, in the order of its operations.
    pub members: Vec<MemberId>,
}

/// Whether a change was done before, for the same client: a change is done whole or not at all, so
/// it was if the chain has a member of this uid with the token of each registration. A client draws
/// a token for one registration alone, so nobody else has it; one of zeros was not drawn.
pub fn done_before(state: &State, authority: &Authority, change: &Change) -> Option<TakenUp> {
    let chain = state.at(change.interface.key)?;
    let mut members = Vec::new();
    let mut registers = false;
    for operation in &change.operations {
        match operation {
            Operation::Register(registration) => {
                registers = true;
                let found = chain.members.iter().find(|member| {
                    let is_named = registration.name.as_ref().is_none_or(|n| *n == member.name);
                    let is_own = member.owner.uid == authority.uid();
                    let is_drawn = registration.token != [0; 16];
                    is_named && is_own && is_drawn && member.token == registration.token
                });
                members.push(found?.id);
            }
            Operation::Replace { name } => members.push(chain.member(name)?.1.id),
            Operation::Unregister { .. }
            | Operation::UnregisterAll
            | Operation::Move { .. }
            | Operation::Order { .. }
            | Operation::Set { .. }
            | Operation::Configure(_) => {}
        }
    }
    let chain = chain.id;
    registers.then_some(TakenUp { chain, members })
}

impl State {
    /// Makes the attached members of a change that was done before its client's again.
    pub fn take_up(&mut self, authority: &Authority, taken: &TakenUp) {
        let Some(chain) = self.chains.get_mut(&taken.chain) else {
            return;
        };
        let attached = chain.members.iter_mut().filter(|member| {
            taken.members.contains(&member.id) && member.lifetime == Lifetime::Attached
        });
        for member in attached {
            member.state = MemberState::Running;
            member.owner = Owner::of(authority);
        }
    }
}
