//! Pins of chains, as a look finds them.

use crate::testing::{ENGINES, fill, interface};
use crate::{
    Build, Chain, ChainDir, Cleanup, CodeId, Holds, MemberId, Mend, Moment, Observed,
    ObservedBuild, ObservedChain, ObservedCode, ObservedLink, ObservedMember, Presence, Registry,
    State, Why, reconcile,
};

/// What a state looks like from outside.
pub(in crate::tests) fn observed(state: &State) -> Observed {
    Observed {
        chains: state.chains.values().map(pins).collect(),
    }
}

/// Where the first interface's chain has its pins.
pub(in crate::tests) fn dir() -> ChainDir {
    ChainDir {
        key: interface(0).key,
        again: 0,
    }
}

pub(super) fn observe(pins: ObservedChain) -> Observed {
    Observed { chains: vec![pins] }
}

pub(super) fn pins(chain: &Chain) -> ObservedChain {
    let registry = Registry::Chain(Box::new(chain.clone()));
    ObservedChain {
        dir: chain.dir,
        link: Some(holding(chain.build.0)),
        next_link: None,
        builds: vec![build(chain.build.0, registry)],
        members: chain
            .members
            .iter()
            .map(|kept| ObservedMember {
                codes: vec![code(kept.code.0)],
                ..member(kept.id.0)
            })
            .collect(),
        faults: Vec::new(),
    }
}

/// A chain of members that are tail-called.
pub(super) fn tail_called(members: usize) -> ObservedChain {
    let mut chain = chain(members);
    for member in &mut chain.members {
        member.form.engine = dispatcher_abi::Engine::Tailcall;
    }
    pins(&chain)
}

/// A link that holds this build on its hook.
pub(super) fn holding(build: u64) -> ObservedLink {
    ObservedLink {
        holds: Holds::Build(Build(build)),
        is_attached: true,
    }
}

pub(super) fn build(number: u64, registry: Registry) -> ObservedBuild {
    ObservedBuild {
        build: Build(number),
        registry,
        has_next_registry: false,
        root: Presence::Pinned,
        jump: Presence::Pinned,
        counters: Presence::Pinned,
    }
}

pub(super) fn member(id: u64) -> ObservedMember {
    ObservedMember {
        member: MemberId(id),
        totals: Presence::Pinned,
        has_next_totals: false,
        codes: vec![code(1)],
    }
}

pub(super) fn code(number: u32) -> ObservedCode {
    ObservedCode {
        code: CodeId(number),
        has_program: true,
    }
}

/// Build 1 of a chain of kept members 1, 2, ...
pub(in crate::tests) fn chain(members: usize) -> Chain {
    let plan = fill(members).play(&mut State::new(ENGINES));
    plan.unwrap().unwrap().next.unwrap()
}

pub(super) fn retire(number: u64) -> Cleanup {
    Cleanup::RetireBuild {
        build: Build(number),
    }
}

/// What is left to do for a chain that runs.
pub(super) fn leftovers(pins: ObservedChain) -> Vec<Cleanup> {
    let key = pins.dir.key;
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert!(recovery.state.at(key).is_some());
    let [(of, steps)] = &recovery.leftovers[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!(of.key, key);
    steps.clone()
}

/// Why nothing is done about it.
pub(super) fn left_alone(pins: ObservedChain) -> Why {
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 0);
    assert_eq!(recovery.leftovers, []);
    assert_eq!(recovery.mends, []);
    let [unreadable] = &recovery.unreadable[..] else {
        panic!("{recovery:?}")
    };
    assert_eq!(unreadable.dir, dir());
    unreadable.why.clone()
}

/// What is mended of a chain that runs.
pub(super) fn mends(pins: ObservedChain) -> Vec<Mend> {
    let recovery = reconcile(&observe(pins), ENGINES, Moment(0));
    assert_eq!(recovery.state.chains.len(), 1, "{recovery:?}");
    let mends = recovery.mends.into_iter();
    mends.map(|(_, mend)| mend).collect()
}
