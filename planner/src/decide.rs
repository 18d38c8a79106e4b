//! From a change to the steps that carry it out.

use std::collections::BTreeMap;

use crate::draft::Draft;
use crate::{
    Authority, Build, Chain, ChainId, Change, Cleanup, Commit, Facts, Form, LoadId, Member,
    MemberId, MemberState, Plan, Prepare, Refusal, Revision, Root, Slot, State,
};

/// What becomes of a chain.
struct Outcome<'a> {
    /// The chain as it is.
    before: Option<&'a Chain>,
    /// The chain as it will be, but for its build.
    after: Chain,
    /// Members whose code is new, and where the loader holds it. Some may have gone again.
    fresh: BTreeMap<MemberId, LoadId>,
    /// Names of the members whose code was loaded again.
    reloads: Vec<String>,
}

/// Decides what a change does, or why it may not. `facts` are those of the operations that take
/// some, in their order; `reloaded` those of the members that were loaded again, as
/// [`needs`](crate::needs) asked.
pub fn decide(
    state: &State,
    authority: &Authority,
    change: &Change,
    facts: &[Facts],
    reloaded: &[Facts],
) -> Result<Plan, Refusal> {
    assert_eq!(facts.len(), change.loads(), "one for each object loaded");
    // An upgrade is made if it was prepared; a change is never refused for the lack of one.
    let upgraded = settle(state, authority, change, facts, reloaded, true);
    let settled = match upgraded {
        Err(Refusal::ChangedMeanwhile { .. }) => {
            settle(state, authority, change, facts, reloaded, false)
        }
        other => other,
    };
    Ok(plan(settled?))
}

/// The chain as it will be, each member with code that is loaded as the chain needs it.
fn settle<'a>(
    state: &'a State,
    authority: &'a Authority,
    change: &Change,
    facts: &[Facts],
    reloaded: &[Facts],
    upgrade: bool,
) -> Result<Outcome<'a>, Refusal> {
    let mut draft = Draft::open(state, authority, change)?;
    draft.apply_all(change, facts)?;
    let drafted = draft.finish(upgrade)?;
    let mut outcome = Outcome {
        before: drafted.before,
        after: drafted.after,
        fresh: drafted.fresh,
        reloads: Vec::new(),
    };
    for (member, form) in outcome.after.members.iter_mut().zip(drafted.forms) {
        if member.form == form {
            continue;
        }
        let found = reloaded.iter().find(|facts| fits(facts, member, form));
        let Some(facts) = found.filter(|_| !outcome.fresh.contains_key(&member.id)) else {
            return Err(Refusal::ChangedMeanwhile {
                name: member.name.clone(),
            });
        };
        member.code = state.next_code(outcome.after.dir, member.id, member.code);
        member.program_id = facts.program_id;
        member.form = form;
        outcome.fresh.insert(member.id, facts.load);
        outcome.reloads.push(member.name.clone());
    }
    Ok(outcome)
}

/// Whether this is the member's present code, loaded again as it is needed.
fn fits(facts: &Facts, member: &Member, form: Form) -> bool {
    facts.replaces == Some((member.id, member.code)) && facts.form == form
}

/// Removes those of the members that still linger; `None` if none does.
pub fn expire(state: &State, chain: ChainId, members: &[MemberId]) -> Option<Plan> {
    let before = state.chains.get(&chain)?;
    let mut after = before.clone();
    after
        .members
        .retain(|member| member.state == MemberState::Running || !members.contains(&member.id));
    (after.members.len() < before.members.len()).then(|| {
        plan(Outcome {
            before: Some(before),
            after,
            fresh: BTreeMap::new(),
            reloads: Vec::new(),
        })
    })
}

fn plan(outcome: Outcome<'_>) -> Plan {
    let Outcome {
        before,
        after,
        fresh,
        reloads,
    } = outcome;
    let plan = match before {
        None => attach(after, &fresh),
        Some(before) if after.members.is_empty() => detach(before),
        Some(before) if looks_the_same(before, &after) => rewrite(before, after),
        Some(before) => swap(before, after, &fresh),
    };
    Plan { reloads, ..plan }
}

/// Whether packets and counters can't tell the two apart.
fn looks_the_same(before: &Chain, after: &Chain) -> bool {
    let code = |chain: &Chain| -> Vec<_> {
        let members = chain.members.iter();
        members.map(|m| (m.id, m.code)).collect()
    };
    before.mode == after.mode && Root::of(before) == Root::of(after) && code(before) == code(after)
}

/// The first build of a chain.
fn attach(mut chain: Chain, fresh: &BTreeMap<MemberId, LoadId>) -> Plan {
    number(&mut chain, Revision(0), Build(0));
    Plan {
        prepare: build(&chain, fresh),
        commit: Commit::Attach {
            build: chain.build,
            mode: chain.mode,
        },
        ..empty(chain)
    }
}

/// Gives a chain the next revision and the next build after these.
fn number(chain: &mut Chain, revision: Revision, last_build: Build) {
    chain.revision = Revision(revision.0 + 1);
    chain.build = Build(last_build.0 + 1);
    chain.last_build = chain.build;
}

/// Metadata only: nothing that runs changes.
fn rewrite(before: &Chain, mut chain: Chain) -> Plan {
    chain.revision = Revision(before.revision.0 + 1);
    let build = chain.build;
    Plan {
        prepare: vec![Prepare::WriteRegistry { build }],
        commit: Commit::Registry { build },
        ..empty(chain)
    }
}

/// One build in the place of another.
fn swap(before: &Chain, mut after: Chain, fresh: &BTreeMap<MemberId, LoadId>) -> Plan {
    let from = before.build;
    number(&mut after, before.revision, before.last_build);
    let to = after.build;
    let commit = if before.mode == after.mode {
        Commit::Swap { from, to }
    } else {
        Commit::Reattach {
            from,
            to,
            old_mode: before.mode,
            mode: after.mode,
        }
    };
    let stays = |member: &Member| after.members.iter().any(|next| next.id == member.id);
    let mut cleanup = vec![Cleanup::Grace];
    cleanup.extend(fold(before, stays));
    cleanup.push(Cleanup::RetireBuild { build: from });
    for member in &before.members {
        let next = after.members.iter().find(|next| next.id == member.id);
        if next.is_some_and(|next| next.code != member.code) {
            cleanup.push(Cleanup::RemoveCode {
                member: member.id,
                code: member.code,
            });
        }
    }
    let gone: Vec<_> = before.members.iter().filter(|m| !stays(m)).collect();
    cleanup.extend(gone.iter().copied().map(remove));
    Plan {
        prepare: build(&after, fresh),
        commit,
        cleanup,
        removes: gone.into_iter().map(named).collect(),
        ..empty(after)
    }
}

/// The last member goes, and the chain with it.
fn detach(chain: &Chain) -> Plan {
    let build = chain.build;
    let mut cleanup = vec![Cleanup::Grace, Cleanup::RetireBuild { build }];
    cleanup.extend(chain.members.iter().map(remove));
    cleanup.push(Cleanup::RemoveChain);
    Plan {
        chain: chain.id,
        dir: chain.dir,
        site: chain.interface.key,
        interface: chain.interface.name.clone(),
        build: Build(0),
        prepare: Vec::new(),
        commit: Commit::Detach { build },
        cleanup,
        next: None,
        reloads: Vec::new(),
        removes: chain.members.iter().map(named).collect(),
    }
}

/// Builds a build aside: members' code first, which its slots hold; its registry last, which
/// says that it is whole.
fn build(chain: &Chain, fresh: &BTreeMap<MemberId, LoadId>) -> Vec<Prepare> {
    let build = chain.build;
    let pins = chain.members.iter().filter_map(|member| {
        fresh.get(&member.id).map(|load| Prepare::PinCode {
            member: member.id,
            code: member.code,
            load: *load,
        })
    });
    let fills = chain.slots().map(|(slot, member)| Prepare::FillSlot {
        build,
        slot,
        member: member.id,
        code: member.code,
        engine: member.form.engine,
    });
    pins.chain([Prepare::BuildRoot {
        build,
        root: Root::of(chain),
    }])
    .chain(fills)
    .chain([Prepare::WriteRegistry { build }])
    .collect()
}

/// Saves what a build has counted for the members that stay; nothing if it counted nothing.
pub(crate) fn fold(chain: &Chain, stays: impl Fn(&Member) -> bool) -> Option<Cleanup> {
    let members: Vec<(Slot, MemberId)> = chain
        .slots()
        .filter(|(_, member)| stays(member))
        .map(|(slot, member)| (slot, member.id))
        .collect();
    (chain.counters && !members.is_empty()).then_some(Cleanup::FoldCounters {
        build: chain.build,
        members,
    })
}

fn remove(member: &Member) -> Cleanup {
    Cleanup::RemoveMember { member: member.id }
}

fn named(member: &Member) -> (MemberId, String) {
    (member.id, member.name.clone())
}

/// A plan that leads to this chain, without its steps.
fn empty(chain: Chain) -> Plan {
    Plan {
        chain: chain.id,
        dir: chain.dir,
        site: chain.interface.key,
        interface: chain.interface.name.clone(),
        build: chain.build,
        prepare: Vec::new(),
        commit: Commit::Registry { build: chain.build },
        cleanup: Vec::new(),
        next: Some(chain),
        reloads: Vec::new(),
        removes: Vec::new(),
    }
}
