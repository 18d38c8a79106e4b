//! What a change did or would do, in the wire's words.

use planner::{Cleanup, Commit, MemberId, Plan, Prepare, Slot, State, TakenUp};
use protocol::{Changed, Registered, Step};

use super::{form, notes};

/// What a change did, or would do.
pub(crate) fn outcome(outcome: &controller::Changed, dry_run: bool) -> Changed {
    let plan = steps(&outcome.plan);
    let next = outcome.plan.next.as_ref();
    let members = outcome
        .facts
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
    Changed {
        // In a dry run a chain that would be made has no number yet.
        chain: if dry_run && outcome.plan.is_first() {
            0
        } else {
            outcome.plan.chain.0
        },
        revision: next.map_or(0, |chain| chain.revision.0),
        build: next.map_or(0, |chain| chain.build.0),
        mode: next.map(|chain| chain.mode),
        notes: notes(&outcome.notes),
        members,
        plan: plan.into_iter().map(Into::into).collect(),
        reloads: outcome.plan.reloads.clone(),
        options: protocol::Options::new(),
    }
}

/// A change that had been done before, as it stands; `None` if its chain is gone again.
pub(crate) fn taken_up(state: &State, taken: &TakenUp) -> Option<Changed> {
    let chain = state.chains.get(&taken.chain)?;
    // In the order of the operations; what has gone since is left out.
    let members = taken.members.iter().filter_map(|id| {
        let (slot, member) = chain.slots().find(|(_, member)| member.id == *id)?;
        Some(Registered {
            name: member.name.clone(),
            id: id.0,
            slot: slot.0,
            program_id: member.program_id,
            form: form(member.form),
            taken_up: true,
        })
    });
    Some(Changed {
        chain: chain.id.0,
        revision: chain.revision.0,
        build: chain.build.0,
        mode: Some(chain.mode),
        notes: Vec::new(),
        members: members.collect(),
        plan: Vec::new(),
        reloads: Vec::new(),
        options: protocol::Options::new(),
    })
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
        Prepare::BuildRoot { build, root } => Step::BuildRoot {
            build: build.0,
            root: root.program.to_string(),
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
        Prepare::WriteRegistry { build } => Step::WriteRegistry { build: build.0 },
    }
}

fn commit(plan: &Plan) -> Step {
    let interface = plan.interface.clone();
    match plan.commit {
        Commit::Attach { build, mode } => Step::Attach {
            build: build.0,
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
        Commit::Detach { build } => Step::Detach {
            build: build.0,
            interface,
        },
        Commit::Registry { build } => Step::ReplaceRegistry {
            build: build.0,
            interface,
        },
    }
}

fn cleanup(plan: &Plan, step: &Cleanup) -> Step {
    match step {
        Cleanup::Grace => Step::Grace,
        Cleanup::FoldCounters { build, members } => Step::FoldCounters {
            build: build.0,
            members: names(plan, members),
        },
        Cleanup::RetireBuild { build } => Step::RetireBuild { build: build.0 },
        Cleanup::RemoveDraft { .. } => unreachable!("a plan that is done leaves no draft"),
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
