//! A member of a chain: in a list, and everything about it.

use dispatcher_abi::{
    Engine, Lifetime, OnMiss, PRIORITY_DEFAULT, Priority, SlotCounters, VerdictMask,
};

use crate::{EngineReason, Owner, SocketDetail, words};

/// One member of a chain: what a listing says of it, and what [`MemberDetail`] begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its slot; `None` if it doesn't run.
    pub slot: Option<u16>,
    /// Its id, unique in the daemon.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its function's name in the object.
    pub program: String,
    /// The kernel's id of its program.
    pub program_id: Option<u32>,
    /// The number it runs by.
    pub priority: Priority,
    /// The number it was registered with.
    pub requested_priority: Priority,
    /// Verdicts after which the next slot runs.
    pub chain_call: VerdictMask,
    /// What it may decide.
    pub allowed: VerdictMask,
    /// The engine by which its slot calls it.
    pub engine: Engine,
    /// `enum bpf_attach_type` that its program was loaded with: 37 (XDP) or 0.
    pub attach_type: u32,
    /// It takes packets of several buffers.
    pub frags: bool,
    /// Why it runs by tail call where the kernel has freplace; `None` if it doesn't.
    pub engine_reason: Option<EngineReason>,
    /// Whether it runs, and whether its client is there.
    pub state: MemberState,
    /// Who registered it.
    pub owner: Owner,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// Where its code comes from.
    pub origin: Origin,
    /// The SHA-256 of its object; `None` if there is no object.
    pub sha256: Option<[u8; 32]>,
    /// Where its program and maps are pinned; `None` if the daemon doesn't say.
    pub pins: Option<Pins>,
    /// Packets by what became of them.
    pub packets: SlotCounters,
    /// Nanoseconds that it takes for a packet, on average; `None` while nobody measures.
    pub ns_per_packet: Option<u64>,
}

/// Where a member's code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// An object.
    Object,
    /// A program that somebody else loaded and handed over.
    Loaded,
    /// A program that the hook ran before.
    Adopted,
    /// The daemon itself.
    BuiltIn,
}

impl Origin {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Loaded => "loaded",
            Self::Adopted => "adopted",
            Self::BuiltIn => "builtin",
        }
    }
}

impl Member {
    /// A running member of which nothing else is said than id and name: what a test of a display
    /// begins with. The daemon's members come from [`Client::list`](crate::Client::list).
    pub fn new(id: u64, name: &str) -> Self {
        Self {
            slot: None,
            id,
            name: name.to_owned(),
            program: name.to_owned(),
            program_id: None,
            priority: PRIORITY_DEFAULT,
            requested_priority: PRIORITY_DEFAULT,
            chain_call: VerdictMask::PASS,
            allowed: VerdictMask::ALL,
            engine: Engine::Tailcall,
            attach_type: protocol::ATTACH_TYPE_XDP,
            frags: false,
            engine_reason: None,
            state: MemberState::Running,
            owner: Owner {
                uid: 0,
                pid: 0,
                client: String::new(),
            },
            lifetime: Lifetime::Attached,
            origin: Origin::Object,
            sha256: None,
            pins: None,
            packets: SlotCounters::default(),
            ns_per_packet: None,
        }
    }
}

impl MemberDetail {
    /// A member of which a listing says everything: what a test of a display begins with. The
    /// daemon's members come from [`Client::show`](crate::Client::show).
    pub fn new(member: Member) -> Self {
        Self {
            member,
            on_miss: OnMiss::Abort,
            tail_depth: 0,
            linger_ms: 0,
            share_group: None,
            maps: Vec::new(),
            sockets: Vec::new(),
        }
    }
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberState {
    /// It runs, and its client is there (or it needs none).
    Running,
    /// It is registered and does not run.
    Waiting,
    /// It runs, its client is gone, and it will be removed.
    Lingering,
}

impl MemberState {
    /// The word in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Lingering => "lingering",
        }
    }
}

/// Everything about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDetail {
    /// What the listing shows.
    pub member: Member,
    /// What happens to a packet for which it did not run.
    pub on_miss: OnMiss,
    /// Tail calls it may make itself, for one packet.
    pub tail_depth: u32,
    /// How long it outlives its connection, in milliseconds.
    pub linger_ms: u32,
    /// The group it shares maps in.
    pub share_group: Option<String>,
    /// Its maps.
    pub maps: Vec<MapShape>,
    /// The `AF_XDP` sockets that it gives packets to, by queue; of the member `xsk-redirect` only.
    pub sockets: Vec<SocketDetail>,
}

/// Paths in the BPF file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    /// The program's.
    pub program: String,
    /// The directory that has a pin for each map.
    pub maps: String,
}

/// A map's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Its name in the object.
    pub name: String,
    /// The kernel's id.
    pub id: u32,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// How many entries it has room for.
    pub max_entries: u32,
}

/// Exhaustive: a field of the wire that is not shown doesn't compile. No option is known yet.
impl From<protocol::Member> for Member {
    fn from(member: protocol::Member) -> Self {
        let protocol::Member {
            slot,
            id,
            name,
            program,
            program_id,
            priority,
            requested_priority,
            chain_call,
            allowed,
            form:
                protocol::Form {
                    engine,
                    attach_type,
                    frags,
                },
            engine_reason,
            state,
            owner,
            lifetime,
            origin,
            sha256,
            pins,
            packets,
            ns_per_packet,
            options: _,
        } = member;
        Self {
            slot,
            id,
            name,
            program,
            program_id,
            priority,
            requested_priority,
            chain_call,
            allowed,
            engine,
            attach_type,
            frags,
            engine_reason: engine_reason.map(EngineReason::from),
            state: state.into(),
            owner: owner.into(),
            lifetime,
            origin: origin.into(),
            sha256,
            pins: pins.map(Pins::from),
            packets,
            ns_per_packet,
        }
    }
}

impl From<protocol::MemberDetail> for MemberDetail {
    fn from(detail: protocol::MemberDetail) -> Self {
        let protocol::MemberDetail {
            member,
            on_miss,
            tail_depth,
            linger_ms,
            share_group,
            maps,
            sockets,
            options: _,
        } = detail;
        Self {
            member: member.into(),
            on_miss,
            tail_depth,
            linger_ms,
            share_group,
            maps: words::all(maps),
            sockets: words::all(sockets),
        }
    }
}

impl From<protocol::MemberState> for MemberState {
    fn from(state: protocol::MemberState) -> Self {
        match state {
            protocol::MemberState::Running => Self::Running,
            protocol::MemberState::Waiting => Self::Waiting,
            protocol::MemberState::Lingering => Self::Lingering,
        }
    }
}

impl From<protocol::Origin> for Origin {
    fn from(origin: protocol::Origin) -> Self {
        match origin {
            protocol::Origin::Object => Self::Object,
            protocol::Origin::Loaded => Self::Loaded,
            protocol::Origin::Adopted => Self::Adopted,
            protocol::Origin::BuiltIn => Self::BuiltIn,
        }
    }
}

impl From<protocol::Pins> for Pins {
    fn from(pins: protocol::Pins) -> Self {
        Self {
            program: pins.program,
            maps: pins.maps,
        }
    }
}

impl From<protocol::MapShape> for MapShape {
    fn from(shape: protocol::MapShape) -> Self {
        Self {
            name: shape.name,
            id: shape.id,
            map_type: shape.map_type,
            key_size: shape.key_size,
            value_size: shape.value_size,
            max_entries: shape.max_entries,
        }
    }
}
