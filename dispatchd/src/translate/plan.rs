//! What a change did or would do, in the wire's words.

use planner::{Cleanup, Commit, MemberId, Plan, Prepare, Slot};
use protocol::{Changed, Registered, Step};

use super::{chain_id, form};
use crate::engine::Outcome;

/// What a change did: `facts` are of the members that it gave code to.
pub(crate) fn outcome(outcome: Outcome, facts: &[planner::Facts], dry_run: bool) -> Changed {
    let plan = steps(&outcome.plan);
    let next = outcome.plan.next.as_ref();
    let members = facts
        .iter()
        .filter_map(|facts| {
            let chain = next?;
            let member = outcome.plan.member_of(facts.load)?;
            let (slot, member) = (0..)
                .zip(&chain.members)
                .find(|(_, known)| known.id == member)?;
            Some(Registered {
                name: member.name.clone(),
                id: member.id.0,
                slot,
                program_id: if dry_run { 0 } else { member.program_id },
                form: form(member.form),
                taken_up: false,
            })
        })
        .collect();
    let generation = next.map_or(0, |chain| chain.generation.0);
    Changed {
        chain: next.map_or(0, |chain| chain_id(chain.interface.key)),
        revision: generation,
        build: generation,
        mode: next.map(|chain| chain.mode),
        notes: outcome.notes.into_iter().map(Into::into).collect(),
        members,
        plan: plan.into_iter().map(Into::into).collect(),
        reloads: outcome.plan.reloads,
        options: protocol::Options::new(),
    }
}

/// A plan's steps, in order.
pub(super) fn steps(plan: &Plan) -> Vec<Step> {
    let prepare = plan.prepare.iter().map(|step| prepare(plan, step));
    let cleanup = plan.cleanup.iter().map(|step| cleanup(plan, step));
    prepare.chain([commit(plan)]).chain(cleanup).collect()
}

fn prepare(plan: &Plan, step: &Prepare) -> Step {
    match step {
        Prepare::PinCode { member, code, .. } => {
            let member = name(plan, *member);
            Step::PinCode {
                reloaded: plan.reloads.contains(&member),
                member,
                code: code.0,
            }
        }
        Prepare::BuildRoot { generation, root } => Step::BuildRoot {
            build: generation.0,
            root: root.kind.to_string(),
            slots: u16::try_from(root.slots.len()).unwrap_or(u16::MAX),
            final_verdict: root.final_verdict,
            counters: root.counters,
            frags: root.frags,
        },
        Prepare::FillSlot {
            slot,
            member,
            engine,
            ..
        } => Step::FillSlot {
            slot: slot.0,
            member: name(plan, *member),
            engine: *engine,
        },
        Prepare::WriteRegistry { generation } => Step::WriteRegistry {
            build: generation.0,
        },
    }
}

fn commit(plan: &Plan) -> Step {
    let interface = plan.interface.clone();
    match plan.commit {
        Commit::Attach { generation, mode } => Step::Attach {
            build: generation.0,
            interface,
            mode,
        },
        Commit::Swap { from, to } => Step::Swap {
            interface,
            from: from.0,
            to: to.0,
        },
        Commit::Reattach {
            from,
            to,
            old_mode,
            mode,
        } => Step::Reattach {
            interface,
            from: from.0,
            to: to.0,
            old_mode,
            mode,
        },
        Commit::Detach { generation } => Step::Detach {
            build: generation.0,
            interface,
        },
        Commit::Registry { generation } => Step::ReplaceRegistry {
            build: generation.0,
            interface,
        },
    }
}

fn cleanup(plan: &Plan, step: &Cleanup) -> Step {
    match step {
        Cleanup::Grace => Step::Grace,
        Cleanup::FoldCounters {
            generation,
            members,
        } => Step::FoldCounters {
            build: generation.0,
            members: names(plan, members),
        },
        Cleanup::RetireGeneration { generation } => Step::RetireBuild {
            build: generation.0,
        },
        Cleanup::RemoveCode { member, code } => Step::RemoveCode {
            member: name(plan, *member),
            code: code.0,
        },
        Cleanup::RemoveMember { member } => Step::RemoveMember {
            member: name(plan, *member),
        },
        Cleanup::RemoveChain => Step::RemoveChain {
            interface: plan.interface.clone(),
        },
    }
}

fn names(plan: &Plan, members: &[(Slot, MemberId)]) -> Vec<String> {
    members.iter().map(|(_, id)| name(plan, *id)).collect()
}

/// The name of a member that stays, comes or goes; every member that a plan speaks of is one.
fn name(plan: &Plan, id: MemberId) -> String {
    let next = plan.next.iter().flat_map(|chain| &chain.members);
    next.map(|member| (member.id, &member.name))
        .chain(plan.removes.iter().map(|(id, name)| (*id, name)))
        .find(|(known, _)| *known == id)
        .map_or_else(|| format!("member {id}"), |(_, name)| name.clone())
}
