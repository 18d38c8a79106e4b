//! What `--json` prints: `docs/json.md` describes every document.
//!
//! Fields are never removed or renamed, and mean the same for ever; new ones may come.

mod socket;

use libdispatch::{
    Chain, Count, EngineProbe, MapShape, Member, MemberDetail, Owner, Registered, SlotCounters,
    Status, VerdictMask,
};
use serde::Serialize;

use self::socket::SocketView;
use crate::{changing::Outcome, digest::hex, map_type};

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
    })
}

pub(crate) fn list(chains: &[Chain]) -> String {
    document(&ListView {
        chains: chains.iter().map(ChainView::from).collect(),
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

/// One interface's change is the document; several are a list in it.
pub(crate) fn changes(outcomes: &[Outcome], dry_run: bool) -> String {
    let view = |outcome| ChangedView::new(outcome, dry_run);
    match outcomes {
        [outcome] => document(&view(outcome)),
        several => document(&ChangesView {
            changes: several.iter().map(view).collect(),
        }),
    }
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
    engines: EnginesView<'a>,
    chains: u32,
    members: u32,
}

#[derive(Serialize)]
struct EnginesView<'a> {
    freplace: EngineView<'a>,
    tailcall: EngineView<'a>,
}

#[derive(Serialize)]
struct EngineView<'a> {
    available: bool,
    reason: Option<&'a str>,
}

impl<'a> From<&'a EngineProbe> for EngineView<'a> {
    fn from(probe: &'a EngineProbe) -> Self {
        Self {
            available: probe.available,
            reason: probe.reason.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ListView<'a> {
    chains: Vec<ChainView<'a>>,
}

#[derive(Serialize)]
struct ChainView<'a> {
    interface: &'a str,
    ifindex: u32,
    netns: NetNsView<'a>,
    mode: &'static str,
    hook: &'static str,
    generation: u64,
    final_verdict: &'static str,
    counters: bool,
    frags: bool,
    members: Vec<MemberView<'a>>,
}

impl<'a> From<&'a Chain> for ChainView<'a> {
    fn from(chain: &'a Chain) -> Self {
        Self {
            interface: &chain.interface,
            ifindex: chain.ifindex,
            netns: NetNsView {
                cookie: chain.netns.cookie,
                name: chain.netns.name.as_deref(),
            },
            mode: chain.mode.name(),
            hook: chain.hook.name(),
            generation: chain.generation,
            final_verdict: chain.final_verdict.name(),
            counters: chain.counters,
            frags: chain.frags,
            members: chain.members.iter().map(MemberView::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct NetNsView<'a> {
    cookie: u64,
    name: Option<&'a str>,
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
    engine_reason: Option<&'a str>,
    state: &'static str,
    owner: OwnerView<'a>,
    lifetime: &'static str,
    sha256: Option<String>,
    packets: PacketsView,
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
            engine_reason: member.engine_reason.as_deref(),
            state: member.state.name(),
            owner: (&member.owner).into(),
            lifetime: member.lifetime.name(),
            sha256: member.sha256.map(hex),
            packets: member.packets.into(),
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

#[derive(Serialize)]
struct ChangesView<'a> {
    changes: Vec<ChangedView<'a>>,
}

#[derive(Serialize)]
struct ChangedView<'a> {
    interface: &'a str,
    dry_run: bool,
    generation: u64,
    mode: Option<&'static str>,
    notes: &'a [String],
    members: Vec<RegisteredView<'a>>,
    plan: &'a [String],
    reloads: &'a [String],
}

impl<'a> ChangedView<'a> {
    fn new(outcome: &'a Outcome, dry_run: bool) -> Self {
        let changed = &outcome.changed;
        Self {
            interface: &outcome.interface,
            dry_run,
            generation: changed.generation,
            mode: changed.mode.map(libdispatch::Mode::name),
            notes: &changed.notes,
            members: changed.members.iter().map(RegisteredView::from).collect(),
            plan: &changed.plan,
            reloads: &changed.reloads,
        }
    }
}

#[derive(Serialize)]
struct RegisteredView<'a> {
    name: &'a str,
    id: u64,
    slot: u16,
    program_id: Option<u32>,
    engine: &'static str,
}

impl<'a> From<&'a Registered> for RegisteredView<'a> {
    fn from(member: &'a Registered) -> Self {
        Self {
            name: &member.name,
            id: member.id,
            slot: member.slot,
            program_id: member.program_id,
            engine: member.engine.name(),
        }
    }
}

fn verdicts(mask: VerdictMask) -> Vec<&'static str> {
    mask.iter().map(libdispatch::Verdict::name).collect()
}

#[cfg(test)]
mod tests;
