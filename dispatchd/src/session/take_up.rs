//! A change that is sent again: its answer was lost, with the daemon or with the connection.

use std::sync::mpsc::sync_channel;

use dispatcher_abi::Lifetime;
use planner::{Chain, Change, Client, Member, Operation, Slot, State};
use protocol::{Changed, Options, Refused, Registered};

use super::{Session, stopping};
use crate::engine::Event;
use crate::translate;

impl Session<'_> {
    /// Answers a change that was done before, and makes its members this connection's. `None`: it
    /// was not done.
    pub(super) fn take_up(
        &self,
        change: &Change,
        dry_run: bool,
    ) -> Result<Option<Changed>, Refused> {
        let published = self.hub.board.read();
        let Some((chain, members)) = done_before(&published.state, &self.client, change) else {
            return Ok(None);
        };
        if dry_run {
            return Ok(None);
        }
        for (_, member) in &members {
            let is_ours = member.owner.connection == self.client.connection;
            if member.lifetime == Lifetime::Attached && !is_ours {
                self.reclaim_member(chain, member, member.token)?;
            }
        }
        tracing::info!(interface = %chain.interface.name, uid = self.client.uid, members = members.len(), "a change was sent again that had been done");
        Ok(Some(taken_up(chain, &members)))
    }

    /// Makes a lingering member this connection's again.
    pub(super) fn reclaim_member(
        &self,
        chain: &Chain,
        member: &Member,
        token: [u8; 16],
    ) -> Result<(), Refused> {
        let (reply, answer) = sync_channel(1);
        self.tell(Event::Reclaim {
            client: self.client.clone(),
            chain: chain.interface.key,
            name: member.name.clone(),
            token,
            reply,
        })?;
        answer
            .recv()
            .map_err(|_| stopping())?
            .map_err(|refusal| translate::refusal(&refusal))
    }
}

/// The chain and the members of a change that was done before, for the same client: a change is
/// done whole or not at all, so it was if the chain has a member of this uid with the token of each
/// registration. A client draws a token for one registration alone, so nobody else has it.
///
/// The members are those that the change gives code to, in the order of its operations.
fn done_before<'a>(
    state: &'a State,
    client: &Client,
    change: &Change,
) -> Option<(&'a Chain, Vec<(Slot, &'a Member)>)> {
    let chain = state.chains.get(&change.interface.key)?;
    let mut members = Vec::new();
    let mut registers = false;
    for operation in &change.operations {
        match operation {
            Operation::Register(registration) => {
                registers = true;
                let found = chain.slots().find(|(_, member)| {
                    let is_named = registration.name.as_ref().is_none_or(|n| *n == member.name);
                    is_named && member.owner.uid == client.uid && member.token == registration.token
                });
                members.push(found?);
            }
            Operation::Replace { name } => members.push(chain.member(name)?),
            Operation::Unregister { .. }
            | Operation::UnregisterAll
            | Operation::Move { .. }
            | Operation::Order { .. }
            | Operation::Set { .. }
            | Operation::Configure(_) => {}
        }
    }
    registers.then_some((chain, members))
}

fn taken_up(chain: &Chain, members: &[(Slot, &Member)]) -> Changed {
    let members = members.iter().map(|(slot, member)| Registered {
        name: member.name.clone(),
        id: member.id.0,
        slot: slot.0,
        program_id: member.program_id,
        form: translate::form(member.form),
        taken_up: true,
    });
    Changed {
        chain: translate::chain_id(chain.interface.key),
        revision: chain.generation.0,
        build: chain.generation.0,
        mode: Some(chain.mode),
        notes: Vec::new(),
        members: members.collect(),
        plan: Vec::new(),
        reloads: Vec::new(),
        options: Options::new(),
    }
}

#[cfg(test)]
mod tests {
    use planner::Registration;
    use planner::testing::{ENGINES, change, client, decided, facts, registration, root};

    use super::*;

    #[test]
    fn a_change_was_done_if_all_its_registrations_are_there_under_their_tokens() {
        let mut state = State::new(ENGINES);
        let owner = client(1000, 3);
        let asked = change(vec![register("a", 1), register("b", 2)]);
        assert!(done_before(&state, &owner, &asked).is_none());
        let loaded = [facts(), facts()];
        let plan = decided(&state, &owner, &asked, &loaded).unwrap();
        state.commit(&plan);

        let found = |client: &Client, operations| {
            let change = change(operations);
            let (_, members) = done_before(&state, client, &change)?;
            Some(
                members
                    .iter()
                    .map(|(_, m)| m.name.clone())
                    .collect::<Vec<_>>(),
            )
        };
        let both = vec![register("a", 1), register("b", 2)];
        let names = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(found(&owner, both.clone()), names);
        assert_eq!(
            found(&client(1000, 9), both.clone()),
            names,
            "on any connection"
        );
        assert_eq!(
            found(&client(1001, 3), both.clone()),
            None,
            "of another uid"
        );
        assert_eq!(found(&root(), both), None, "not even root");
        assert_eq!(
            found(&owner, vec![register("a", 1), register("b", 3)]),
            None
        );
        assert_eq!(
            found(&owner, vec![register("c", 1)]),
            None,
            "by another name"
        );
        let unnamed = Operation::Register(Registration {
            token: [1; 16],
            ..registration()
        });
        assert_eq!(found(&owner, vec![unnamed]), Some(vec!["a".to_owned()]));
        let go = Operation::Unregister { name: "a".into() };
        assert_eq!(found(&owner, vec![go]), None, "it registers nothing");
    }

    fn register(name: &str, token: u8) -> Operation {
        Operation::Register(Registration {
            name: Some(name.into()),
            token: [token; 16],
            ..registration()
        })
    }
}
