//! Chains and members, in the wire's words.

use std::collections::BTreeMap;

use dispatcher_abi::{Engine, SlotCounters};
use planner::{AttachType, Engines, MemberId, Obstacle, Pin, Slot, Standing, Waiting};
use protocol::{EngineProbe, EngineReason, Options, Origin, ProbeReason, Warning};

use super::unreadable;
use crate::kernel::{MemberMap, Pins};

/// What listings need beside the chains.
pub(crate) struct Listing<'a> {
    /// What the kernel can do.
    pub(crate) engines: Engines,
    /// Where things are pinned.
    pub(crate) pins: &'a Pins,
}

impl Listing<'_> {
    /// A chain. `looked_ms_ago`: since it was seen what its hook runs.
    pub(crate) fn chain(
        &self,
        chain: &planner::Chain,
        counts: &BTreeMap<MemberId, SlotCounters>,
        looked_ms_ago: Option<u64>,
    ) -> protocol::Chain {
        let attached = chain.standing == Standing::InForce;
        let hook = match chain.hook {
            planner::Hook::Link => protocol::Hook::Link,
            planner::Hook::Netlink => protocol::Hook::Netlink,
        };
        let members = chain.slots().map(|(slot, member)| {
            let counted = counts.get(&member.id).copied().unwrap_or_default();
            self.member(chain, member, slot, counted)
        });
        protocol::Chain {
            id: Some(chain.id.0),
            interface: chain.interface.name.clone(),
            ifindex: chain.interface.key.ifindex,
            netns: protocol::NetNs {
                cookie: chain.interface.key.netns,
                name: chain.interface.netns_name.clone(),
            },
            mode: Some(chain.mode),
            hook: attached.then_some(hook),
            attached,
            looked_ms_ago,
            hook_program: taken(chain).map(|program| protocol::HookProgram {
                id: program.id,
                name: program.name.clone(),
            }),
            parked: chain.parked,
            revision: chain.revision.0,
            build: chain.build.0,
            pending: None,
            pins: self.pins.chain(chain.dir).display().to_string(),
            unreadable: None,
            final_verdict: Some(chain.final_verdict),
            counters: chain.counters,
            frags: planner::Root::of(chain).frags,
            members: members.collect(),
            options: Options::new(),
        }
    }

    fn member(
        &self,
        chain: &planner::Chain,
        member: &planner::Member,
        slot: Slot,
        packets: SlotCounters,
    ) -> protocol::Member {
        let runs = chain.standing == Standing::InForce;
        let path = |pin: Pin| self.pins.path(chain.dir, &pin).display().to_string();
        protocol::Member {
            slot: runs.then_some(slot.0),
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
                .tail_call_reason(member, self.engines)
                .map(|reason| engine_reason(reason).into()),
            state: match member.state {
                planner::MemberState::Lingering { .. } => protocol::MemberState::Lingering,
                planner::MemberState::Running if runs => protocol::MemberState::Running,
                planner::MemberState::Running => protocol::MemberState::Waiting,
            },
            owner: protocol::Owner {
                uid: member.owner.uid,
                pid: member.owner.pid,
                client: member.owner.client.clone(),
            },
            lifetime: member.lifetime,
            origin: origin(&member.source),
            sha256: member.source.sha256().copied(),
            pins: Some(protocol::Pins {
                program: path(Pin::Program(member.id, member.code)),
                maps: path(Pin::Maps(member.id, member.code)),
            }),
            packets,
            ns_per_packet: None,
            options: Options::new(),
        }
    }

    /// Everything about the member in this slot.
    pub(crate) fn detail(
        &self,
        chain: &planner::Chain,
        (slot, member): (Slot, &planner::Member),
        packets: SlotCounters,
        maps: &[MemberMap],
        sockets: Vec<protocol::SocketDetail>,
    ) -> protocol::MemberDetail {
        protocol::MemberDetail {
            member: self.member(chain, member, slot, packets),
            on_miss: member.on_miss,
            tail_depth: member.tail_depth,
            linger_ms: member.linger_ms,
            share_group: member.share_group.clone(),
            maps: maps.iter().map(map_shape).collect(),
            sockets,
            options: Options::new(),
        }
    }
}

/// The program that a chain's hook runs instead of it.
fn taken(chain: &planner::Chain) -> Option<&planner::HookProgram> {
    match &chain.standing {
        Standing::Waiting(Waiting::Taken(program)) => Some(program),
        Standing::Waiting(Waiting::NoInterface | Waiting::Detached) | Standing::InForce => None,
    }
}

/// What is wrong at the moment.
pub(crate) fn warnings(state: &planner::State, pins: &Pins) -> Vec<protocol::Open<Warning>> {
    let chains = state.chains.values();
    let off_hook = chains
        .filter(|chain| chain.standing != Standing::InForce)
        .map(|chain| {
            let interface = chain.interface.name.clone();
            let id = chain.id.0;
            match taken(chain) {
                Some(program) => Warning::HookTaken {
                    chain: id,
                    interface,
                    program_id: program.id,
                    program: program.name.clone(),
                },
                None => Warning::NotAttached {
                    chain: id,
                    interface,
                },
            }
        });
    let unreadable = state
        .unreadable
        .iter()
        .map(|chain| Warning::ChainUnreadable {
            chain: chain.id.map(|id| id.0),
            interface: unreadable::name(chain),
            pins: pins.chain(chain.dir).display().to_string(),
            why: unreadable::why(&chain.why).into(),
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
