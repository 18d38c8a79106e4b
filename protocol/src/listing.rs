//! What the daemon shows: chains, members, its own state.

use dispatcher_abi::{
    Engine, FinalVerdict, Lifetime, Mode, OnMiss, Priority, SlotCounters, VerdictMask,
};
use serde::{Deserialize, Serialize};

use crate::{Digest, EngineReason, Open, Options, ProbeReason, SocketDetail, Unreadable, Warning};

/// `BPF_XDP`, of `enum bpf_attach_type`.
pub const ATTACH_TYPE_XDP: u32 = 37;

/// One interface's chain.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a field in JSON"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its own id, which stays when its interface is moved or renamed; `None` if it can't be read.
    pub id: Option<u64>,
    /// The interface's name; its last one if it is gone, and what the directory of its pins is called
    /// if no name is known.
    pub interface: String,
    /// Its index in its namespace; 0 if the interface is not there.
    pub ifindex: u32,
    /// Its namespace.
    pub netns: NetNs,
    /// Where the hook is; `None` if that can't be read.
    pub mode: Option<Mode>,
    /// What holds the hook; `None` if nothing does, or it can't be read.
    pub hook: Option<Hook>,
    /// False if it was seen that the interface's hook doesn't run this chain.
    pub attached: bool,
    /// How long ago it was seen what the hook runs, in milliseconds; `None`: it never was.
    pub looked_ms_ago: Option<u64>,
    /// What the hook ran at the last look, if it was something else.
    pub hook_program: Option<HookProgram>,
    /// It stays on its hook without members.
    pub parked: bool,
    /// Changes of its users, counted.
    pub revision: u64,
    /// The root that runs: several may be built for one revision.
    pub build: u64,
    /// A change that goes back by itself unless it is confirmed.
    pub pending: Option<Pending>,
    /// The directory of its pins, a path in the BPF file system.
    pub pins: String,
    /// Why it can't be read; then it runs, and is not changed.
    pub unreadable: Option<Open<Unreadable>>,
    /// What it returns when every slot chained on; `None` if that can't be read.
    pub final_verdict: Option<FinalVerdict>,
    /// Whether verdicts are counted.
    pub counters: bool,
    /// Whether it takes packets of several buffers: if all members do.
    pub frags: bool,
    /// The members, in run order.
    pub members: Vec<Member>,
    /// Room for later versions.
    pub options: Options,
}

impl Chain {
    pub(crate) fn not_understood(&self) -> Option<(&'static str, u32)> {
        let unknown = self.options.not_understood(&[]);
        let unknown = unknown.map(|number| ("Chain", number));
        unknown.or_else(|| self.members.iter().find_map(Member::not_understood))
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetNs {
    /// `SO_NETNS_COOKIE`: never used twice.
    pub cookie: u64,
    /// Its name under `/run/netns`, if it has one.
    pub name: Option<String>,
}

/// What holds an interface's XDP hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// A pinned `bpf_link`.
    Link,
    /// A netlink attachment.
    Netlink,
}

/// A program on a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookProgram {
    /// The kernel's id of it.
    pub id: u32,
    /// Its name in the kernel.
    pub name: String,
}

/// A change that waits for its confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Seconds until it goes back.
    pub deadline_s: u64,
    /// The revision that it goes back to.
    pub reverts_to: u64,
}

/// One member of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What its program was loaded as.
    pub form: Form,
    /// Why that is for a tail call where the kernel has freplace; `None` if it isn't.
    pub engine_reason: Option<Open<EngineReason>>,
    /// What it is doing.
    pub state: MemberState,
    /// The client that registered it.
    pub owner: Owner,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// Where its code comes from.
    pub origin: Origin,
    /// Its object's digest; `None` if there is no object.
    pub sha256: Option<Digest>,
    /// Where its program and maps are pinned; `None` if the daemon doesn't say.
    pub pins: Option<Pins>,
    /// Packets by what became of them.
    pub packets: SlotCounters,
    /// Nanoseconds that it takes for a packet, on average; `None` while nobody measures.
    pub ns_per_packet: Option<u64>,
    /// Room for later versions.
    pub options: Options,
}

impl Member {
    fn not_understood(&self) -> Option<(&'static str, u32)> {
        Some(("Member", self.options.not_understood(&[])?))
    }
}

/// What a program was loaded as. It is chosen before the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// How its slot calls it.
    pub engine: Engine,
    /// `enum bpf_attach_type` that it was loaded with: [`ATTACH_TYPE_XDP`] or 0. A chain has one.
    pub attach_type: u32,
    /// It takes packets of several buffers.
    pub frags: bool,
}

/// Where a member's code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It runs, and its client is there (or it needs none).
    Running,
    /// It is registered and does not run.
    Waiting,
    /// It runs, its client is gone, and it will be removed.
    Lingering,
}

/// The client that something belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user, from the socket's peer credentials.
    pub uid: u32,
    /// The process, at the time of registration.
    pub pid: u32,
    /// What it called itself.
    pub client: String,
}

/// Everything about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDetail {
    /// What the listing shows.
    pub member: Member,
    /// What happens when it did not run.
    pub on_miss: OnMiss,
    /// Tail calls it may make itself.
    pub tail_depth: u32,
    /// How long it outlives its connection, in milliseconds.
    pub linger_ms: u32,
    /// The group it shares maps in.
    pub share_group: Option<String>,
    /// Its maps.
    pub maps: Vec<MapShape>,
    /// The `AF_XDP` sockets that it gives packets to, by queue; of the redirect program only.
    pub sockets: Vec<SocketDetail>,
    /// Room for later versions.
    pub options: Options,
}

impl MemberDetail {
    pub(crate) fn not_understood(&self) -> Option<(&'static str, u32)> {
        let unknown = |of, options: &Options| Some((of, options.not_understood(&[])?));
        let mut sockets = self.sockets.iter();
        unknown("MemberDetail", &self.options)
            .or_else(|| self.member.not_understood())
            .or_else(|| sockets.find_map(|socket| unknown("SocketDetail", &socket.options)))
    }
}

/// Paths in the BPF file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// The program's.
    pub program: String,
    /// The directory that has a pin for each map.
    pub maps: String,
}

/// A map's name and shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapShape {
    /// Its name in the object.
    pub name: String,
    /// The kernel's id.
    pub id: u32,
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Key, in bytes.
    pub key_size: u32,
    /// Value, in bytes.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
}

/// The daemon's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The highest protocol version it speaks.
    pub protocol: u16,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether members can be called by freplace.
    pub freplace: EngineProbe,
    /// Whether members can be tail-called.
    pub tailcall: EngineProbe,
    /// Chains it runs.
    pub chains: u32,
    /// Members in them.
    pub members: u32,
    /// What is wrong now.
    pub warnings: Vec<Open<Warning>>,
    /// Room for later versions.
    pub options: Options,
}

/// What the daemon found when it tried an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineProbe {
    /// It works.
    pub available: bool,
    /// Why not.
    pub reason: Option<Open<ProbeReason>>,
}
