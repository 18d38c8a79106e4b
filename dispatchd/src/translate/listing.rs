//! Chains and members, in the wire's words.

use std::collections::BTreeMap;

use dispatcher_abi::{Engine, REDIRECT_MEMBER, SlotCounters};
use planner::{ChainKey, Engines, MemberId, Obstacle};
use protocol::{EngineProbe, EngineReason, Options, Origin, ProbeReason};

use crate::kernel::MemberMap;

/// A chain for a listing.
pub(crate) fn chain_view(
    chain: &planner::Chain,
    engines: Engines,
    counts: &BTreeMap<MemberId, SlotCounters>,
) -> protocol::Chain {
    protocol::Chain {
        id: chain_id(chain.interface.key),
        interface: chain.interface.name.clone(),
        ifindex: chain.interface.key.ifindex,
        netns: protocol::NetNs {
            cookie: chain.interface.key.netns,
            name: chain.interface.netns_name.clone(),
        },
        mode: Some(chain.mode),
        hook: Some(protocol::Hook::Link),
        // What is known: the daemon attached it, and attaches it again if somebody detaches it.
        attached: true,
        looked_ms_ago: None,
        hook_program: None,
        parked: false,
        revision: chain.generation.0,
        build: chain.generation.0,
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

/// A chain's own id. Until chains are numbered it is made of the chain's key: namespace cookies are
/// counted from 1 on, so that two chains have one id only beyond 2³² namespaces.
pub(crate) fn chain_id(key: ChainKey) -> u64 {
    key.netns.rotate_left(32) ^ u64::from(key.ifindex)
}

/// What a program was loaded as: extensions have no attach type.
pub(crate) fn form(form: planner::Form) -> protocol::Form {
    protocol::Form {
        engine: form.engine,
        attach_type: match form.engine {
            Engine::Freplace => 0,
            Engine::Tailcall => protocol::ATTACH_TYPE_XDP,
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
        program: member.source.program.clone(),
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
            planner::MemberState::Lingering => protocol::MemberState::Lingering,
        },
        owner: protocol::Owner {
            uid: member.owner.uid,
            pid: member.owner.pid,
            client: member.owner.client.clone(),
        },
        lifetime: member.lifetime,
        // The name is nobody else's.
        origin: if member.name == REDIRECT_MEMBER {
            Origin::BuiltIn
        } else {
            Origin::Object
        },
        sha256: Some(member.source.sha256),
        pins: None,
        packets,
        ns_per_packet: None,
        options: Options::new(),
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
