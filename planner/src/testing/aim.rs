//! Turns what was drawn blindly into requests that mostly mean something.
//!
//! A name that is drawn as a target, `?7`, becomes the name of a member that exists when its
//! request comes. This follows the history, so that it stays a function of what was drawn: what
//! shrinks is drawn, what is shown is aimed.

use crate::{Authority, ChainKey, Facts, LoadId, Member, MemberState, Operation, Position, State};

use super::{ENGINES, Request, client};

/// Whatever member has this number, counted around the chain.
pub(super) fn aimed(number: u8) -> String {
    format!("?{number}")
}

/// Aims each request at what the ones before it left.
pub(super) fn aim(requests: &mut [Request]) {
    let mut state = State::new(ENGINES);
    let mut loads = 0;
    for request in requests {
        aim_at(request, &state, &mut loads);
        if let Ok(Some(plan)) = request.play(&mut state) {
            state.commit(&plan);
        }
    }
}

/// Aims a request that was drawn at a state. `loads`: how many programs were loaded so far.
pub fn aim_at(request: &mut Request, state: &State, loads: &mut u32) {
    match request {
        Request::Change { change, facts, .. } => {
            let members = members(state, change.interface.key);
            for operation in &mut change.operations {
                aim_operation(operation, members);
            }
            facts.truncate(change.loads());
            for facts in facts {
                *loads += 1;
                number(facts, *loads);
            }
        }
        Request::Reclaim {
            client,
            chain,
            name,
            token,
        } => {
            if let Some(member) = aim_claim(state, *chain, client, name) {
                *token = member.token;
            }
        }
        Request::Gone(_) | Request::Expire(_) => {}
    }
}

fn members(state: &State, chain: ChainKey) -> &[Member] {
    state.at(chain).map_or(&[], |chain| &chain.members)
}

/// Each load and each program has a number of its own.
fn number(facts: &mut Facts, load: u32) {
    facts.load = LoadId(u64::from(load));
    facts.program_id = 1000 + load;
}

fn aim_operation(operation: &mut Operation, members: &[Member]) {
    match operation {
        Operation::Move { name, to } => {
            let mover = aim_name(name, members);
            if let Position::Before(neighbour) | Position::After(neighbour) = to {
                let others = members.iter().enumerate();
                let others = others.filter(|(index, _)| Some(*index) != mover);
                let others: Vec<Member> = others.map(|(_, member)| member.clone()).collect();
                aim_name(neighbour, &others);
            }
        }
        Operation::Unregister { name }
        | Operation::Set { name, .. }
        | Operation::Replace { name } => {
            aim_name(name, members);
        }
        Operation::Order { names } => {
            let mut left = members.to_vec();
            names.retain_mut(|name| match target(name) {
                Some(_) => aim_name(name, &left).map(|at| left.remove(at)).is_some(),
                None => true,
            });
        }
        Operation::Register(_) | Operation::UnregisterAll | Operation::Configure(_) => {}
    }
}

/// The number of a name that was drawn as a target.
fn target(name: &str) -> Option<usize> {
    name.strip_prefix('?')?.parse().ok()
}

/// Replaces a target by a member's name, and gives the member's index.
fn aim_name(name: &mut String, members: &[Member]) -> Option<usize> {
    let number = target(name)?;
    if members.is_empty() {
        *name = "nobody".into();
        return None;
    }
    let index = number % members.len();
    name.clone_from(&members[index].name);
    Some(index)
}

/// Makes the client the owner of a member that lingers.
fn aim_claim<'a>(
    state: &'a State,
    chain: ChainKey,
    claims: &mut Authority,
    name: &mut String,
) -> Option<&'a Member> {
    let members = members(state, chain).iter();
    let lingering = members.filter(|member| member.state != MemberState::Running);
    let lingering: Vec<&Member> = lingering.collect();
    let number = target(name)?;
    let Some(member) = lingering.get(number % lingering.len().max(1)) else {
        *name = "nobody".into();
        return None;
    };
    name.clone_from(&member.name);
    let connection = claims.connection().map_or(0, |connection| connection.0);
    *claims = client(member.owner.uid, connection);
    Some(member)
}
