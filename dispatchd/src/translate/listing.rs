//! Chains and members, in the wire's words.

use std::collections::BTreeMap;

use dispatcher_abi::{Engine, SlotCounters};
use planner::{AttachType, Engines, MemberId, Obstacle};
use protocol::{EngineProbe, EngineReason, Options, Origin, ProbeReason, Warning};

use crate::kernel::MemberMap;

/// A chain for a listing.
pub(crate) fn chain_view(
    chain: &planner::Chain,
    engines: Engines,
    counts: &BTreeMap<MemberId, SlotCounters>,
) -> protocol::Chain {
    protocol::Chain {
        id: chain.id.0,
        interface: chain.interface.name.clone(),
        ifindex: chain.interface.key.ifindex,
        netns: protocol::NetNs {
            cookie: chain.interface.key.netns,
            name: chain.interface.netns_name.clone(),
        },
        mode: Some(chain.mode),
        hook: Some(match chain.hook {
            planner::Hook::Link => protocol::Hook::Link,
            planner::Hook::Netlink => protocol::Hook::Netlink,
        }),
        attached: chain.standing == planner::Standing::InForce,
        looked_ms_ago: None,
        hook_program: None,
        parked: chain.parked,
        revision: chain.revision.0,
        build: chain.build.0,
        pending: None,
        unreadable: None,
        final_verdict: Some(chain.final_verdict),
        counters: chain.counters,
        frags: planner::Root::of(chain).frags,
        members: (0..)
            .zip(&chain.members)
            .map(|(slot, member)| {
                let counted = counts.get(&member.id).copied().unwrap_or_default();
                member_view(chain, member, engines, slot, counted)
            })
            .collect(),
        options: Options::new(),
    }
}

/// A chain that can't be read, for a listing: what is known of it.
pub(crate) fn unreadable_view(chain: &planner::Unreadable) -> protocol::Chain {
    let interface = chain.interface.as_ref();
    protocol::Chain {
        id: 0,
        interface: interface.map_or_else(|| chain.dir.to_string(), |found| found.name.clone()),
        ifindex: chain.site.ifindex,
        netns: protocol::NetNs {
            cookie: chain.site.netns,
            name: interface.and_then(|found| found.netns_name.clone()),
        },
        mode: None,
        hook: None,
        attached: false,
        looked_ms_ago: None,
        hook_program: None,
        parked: false,
        revision: 0,
        build: 0,
        pending: None,
        unreadable: Some(super::why(&chain.why).into()),
        final_verdict: None,
        counters: false,
        frags: false,
        members: Vec::new(),
        options: Options::new(),
    }
}

/// What is wrong at the moment.
pub(crate) fn warnings(state: &planner::State) -> Vec<protocol::Open<Warning>> {
    let chains = state.chains.values();
    let off_hook = chains
        .filter(|chain| chain.standing != planner::Standing::InForce)
        .map(|chain| Warning::NotAttached {
            chain: chain.id.0,
            interface: chain.interface.name.clone(),
        });
    let unreadable = state.unreadable.iter().map(|chain| {
        let name = chain.interface.as_ref().map(|found| found.name.clone());
        Warning::ChainUnreadable {
            chain: 0,
            interface: name.unwrap_or_else(|| chain.dir.to_string()),
            why: super::why(&chain.why).into(),
        }
    });
    off_hook.chain(unreadable).map(Into::into).collect()
}

/// What a program was loaded as: extensions have no attach type.
pub(crate) fn form(form: planner::Form) -> protocol::Form {
    protocol::Form {
        engine: form.engine,
        attach_type: match (form.engine, form.attach) {
            (Engine::Freplace, _) | (Engine::Tailcall, AttachType::Unset) => 0,
            (Engine::Tailcall, AttachType::Xdp) => protocol::ATTACH_TYPE_XDP,
        },
        frags: form.frags,
    }
}

/// Why a program runs by tail call.
pub(crate) fn engine_reason(obstacle: Obstacle) -> EngineReason {
    match obstacle {
        Obstacle::NoTypes => EngineReason::NoTypes,
        Obstacle::Prototype => EngineReason::Prototype,
        Obstacle::Refused => EngineReason::Refused,
        Obstacle::Untrusted => EngineReason::Untrusted,
        Obstacle::Unknown(_) => EngineReason::Other,
    }
}

fn member_view(
    chain: &planner::Chain,
    member: &planner::Member,
    engines: Engines,
    slot: u16,
    packets: SlotCounters,
) -> protocol::Member {
    protocol::Member {
        slot: Some(slot),
        id: member.id.0,
        name: member.name.clone(),
        program: member.source.program().to_owned(),
        program_id: Some(member.program_id),
        priority: member.priority,
        requested_priority: member.requested_priority,
        chain_call: member.chain_call,
        allowed: member.allowed,
        form: form(member.form),
        engine_reason: chain
            .tail_call_reason(member, engines)
            .map(|reason| engine_reason(reason).into()),
        state: match member.state {
            planner::MemberState::Running => protocol::MemberState::Running,
            planner::MemberState::Lingering { .. } => protocol::MemberState::Lingering,
        },
        owner: protocol::Owner {
            uid: member.owner.uid,
            pid: member.owner.pid,
            client: member.owner.client.clone(),
        },
        lifetime: member.lifetime,
        origin: origin(&member.source),
        sha256: member.source.sha256().copied(),
        pins: None,
        packets,
        ns_per_packet: None,
        options: Options::new(),
    }
}

/// Where a member's code comes from.
fn origin(source: &planner::Source) -> Origin {
    match source {
        planner::Source::Object(_) => Origin::Object,
        planner::Source::Loaded(loaded) => match loaded.how {
            planner::HandOver::Given => Origin::Loaded,
            planner::HandOver::Adopted => Origin::Adopted,
        },
        planner::Source::BuiltIn(_) => Origin::BuiltIn,
    }
}

/// Everything about the member in this slot.
pub(crate) fn member_detail(
    chain: &planner::Chain,
    member: &planner::Member,
    engines: Engines,
    slot: u16,
    packets: SlotCounters,
    maps: &[MemberMap],
    sockets: Vec<protocol::SocketDetail>,
) -> protocol::MemberDetail {
    protocol::MemberDetail {
        member: member_view(chain, member, engines, slot, packets),
        on_miss: member.on_miss,
        tail_depth: member.tail_depth,
        linger_ms: member.linger_ms,
        share_group: member.share_group.clone(),
        maps: maps.iter().map(map_shape).collect(),
        sockets,
        options: Options::new(),
    }
}

/// What came of trying an engine.
pub(crate) fn probe(tried: &Result<(), ProbeReason>) -> EngineProbe {
    EngineProbe {
        available: tried.is_ok(),
        reason: tried.clone().err().map(Into::into),
    }
}

/// A map's name and shape.
pub(crate) fn map_shape(map: &MemberMap) -> protocol::MapShape {
    protocol::MapShape {
        name: map.name.clone(),
        id: map.info.id,
        map_type: map.info.shape.map_type,
        key_size: map.info.shape.key_size,
        value_size: map.info.shape.value_size,
        max_entries: map.info.shape.max_entries,
    }
}
