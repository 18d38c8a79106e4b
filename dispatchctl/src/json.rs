//! What `--json` prints: `docs/json.md` describes every document.
//!
//! Fields are never removed or renamed, and mean the same for ever; new ones may come.

mod chain;
mod changed;
mod error;
mod socket;
mod unreadable;

use libdispatch::{
    Chain, Count, EngineProbe, MapShape, Member, MemberDetail, Owner, Pins, SlotCounters, Status,
    VerdictMask,
};
use serde::Serialize;

pub(crate) use self::chain::list;
pub(crate) use self::changed::changes;
pub(crate) use self::error::error;
use self::socket::SocketView;
use crate::{digest::hex, map_type};

pub(crate) fn status(status: &Status) -> String {
    document(&StatusView {
        version: &status.version,
        protocol: status.protocol,
        uptime_s: status.uptime_s,
        engines: EnginesView {
            freplace: (&status.freplace).into(),
            tailcall: (&status.tailcall).into(),
        },
        chains: status.chains,
        members: status.members,
        warnings: texts(&status.warnings),
    })
}

pub(crate) fn show(interface: &str, chain: Option<&Chain>, detail: &MemberDetail) -> String {
    document(&DetailView {
        interface,
        ifindex: chain.map(|chain| chain.ifindex),
        member: (&detail.member).into(),
        on_miss: detail.on_miss.name(),
        tail_depth: detail.tail_depth,
        linger_ms: detail.linger_ms,
        share_group: detail.share_group.as_deref(),
        maps: detail.maps.iter().map(MapView::from).collect(),
        sockets: detail.sockets.iter().map(SocketView::from).collect(),
    })
}

fn document(view: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(view).expect("text and numbers can always be written");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct StatusView<'a> {
    version: &'a str,
    protocol: u16,
    uptime_s: u64,
    engines: EnginesView,
    chains: u32,
    members: u32,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct EnginesView {
    freplace: EngineView,
    tailcall: EngineView,
}

#[derive(Serialize)]
struct EngineView {
    available: bool,
    reason: Option<String>,
}

impl From<&EngineProbe> for EngineView {
    fn from(probe: &EngineProbe) -> Self {
        Self {
            available: probe.available,
            reason: probe.reason.as_ref().map(ToString::to_string),
        }
    }
}

#[derive(Serialize)]
struct MemberView<'a> {
    slot: Option<u16>,
    id: u64,
    name: &'a str,
    program: &'a str,
    program_id: Option<u32>,
    priority: u32,
    requested_priority: u32,
    chain_call: Vec<&'static str>,
    allowed: Vec<&'static str>,
    engine: &'static str,
    engine_reason: Option<String>,
    state: &'static str,
    owner: OwnerView<'a>,
    lifetime: &'static str,
    source: &'static str,
    sha256: Option<String>,
    pins: Option<PinsView<'a>>,
    packets: PacketsView,
    ns_per_packet: Option<u64>,
}

impl<'a> From<&'a Member> for MemberView<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            slot: member.slot,
            id: member.id,
            name: &member.name,
            program: &member.program,
            program_id: member.program_id,
            priority: member.priority,
            requested_priority: member.requested_priority,
            chain_call: verdicts(member.chain_call),
            allowed: verdicts(member.allowed),
            engine: member.engine.name(),
            engine_reason: member.engine_reason.as_ref().map(ToString::to_string),
            state: member.state.name(),
            owner: (&member.owner).into(),
            lifetime: member.lifetime.name(),
            source: member.origin.name(),
            sha256: member.sha256.map(hex),
            pins: member.pins.as_ref().map(PinsView::from),
            packets: member.packets.into(),
            ns_per_packet: member.ns_per_packet,
        }
    }
}

#[derive(Serialize)]
struct OwnerView<'a> {
    uid: u32,
    pid: u32,
    client: &'a str,
}

impl<'a> From<&'a Owner> for OwnerView<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self {
            uid: owner.uid,
            pid: owner.pid,
            client: &owner.client,
        }
    }
}

#[derive(Serialize)]
struct PinsView<'a> {
    program: &'a str,
    maps: &'a str,
}

impl<'a> From<&'a Pins> for PinsView<'a> {
    fn from(pins: &'a Pins) -> Self {
        Self {
            program: &pins.program,
            maps: &pins.maps,
        }
    }
}

#[derive(Serialize)]
struct PacketsView {
    aborted: u64,
    drop: u64,
    pass: u64,
    tx: u64,
    redirect: u64,
    #[serde(rename = "continue")]
    no_opinion: u64,
    other: u64,
    missed: u64,
    overruled: u64,
}

impl From<SlotCounters> for PacketsView {
    fn from(packets: SlotCounters) -> Self {
        Self {
            aborted: packets.get(Count::Aborted),
            drop: packets.get(Count::Drop),
            pass: packets.get(Count::Pass),
            tx: packets.get(Count::Tx),
            redirect: packets.get(Count::Redirect),
            no_opinion: packets.get(Count::Continue),
            other: packets.get(Count::Other),
            missed: packets.get(Count::Missed),
            overruled: packets.get(Count::Overruled),
        }
    }
}

#[derive(Serialize)]
struct DetailView<'a> {
    interface: &'a str,
    ifindex: Option<u32>,
    #[serde(flatten)]
    member: MemberView<'a>,
    on_miss: &'static str,
    tail_depth: u32,
    linger_ms: u32,
    share_group: Option<&'a str>,
    maps: Vec<MapView<'a>>,
    sockets: Vec<SocketView<'a>>,
}

#[derive(Serialize)]
struct MapView<'a> {
    name: &'a str,
    id: u32,
    #[serde(rename = "type")]
    type_name: &'static str,
    type_id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl<'a> From<&'a MapShape> for MapView<'a> {
    fn from(shape: &'a MapShape) -> Self {
        Self {
            name: &shape.name,
            id: shape.id,
            type_name: map_type::name(shape.map_type),
            type_id: shape.map_type,
            key_size: shape.key_size,
            value_size: shape.value_size,
            max_entries: shape.max_entries,
        }
    }
}

/// What the daemon says as data, in words.
fn texts<T: ToString>(said: &[T]) -> Vec<String> {
    said.iter().map(ToString::to_string).collect()
}

fn verdicts(mask: VerdictMask) -> Vec<&'static str> {
    mask.iter().map(libdispatch::Verdict::name).collect()
}

#[cfg(test)]
mod tests;
