//! What the daemon shows: chains, their members, its own state.

use std::fmt;

use dispatcher_abi::{FinalVerdict, Mode};

use crate::{ProbeReason, Unreadable, Warning, words};

mod member;

pub use member::{MapShape, Member, MemberDetail, MemberState, Origin, Pins};

/// One interface's chain.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a field in JSON"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its own id, which stays when its interface is moved or renamed; `None` if it can't be read.
    pub id: Option<u64>,
    /// The interface's name; its last one if it is gone, and what the directory of its pins is called
    /// if no name is known.
    pub interface: String,
    /// Its index in its namespace; 0 if the interface is not there.
    pub ifindex: u32,
    /// Its namespace.
    pub netns: Namespace,
    /// Where the hook is; `None` if that can't be read.
    pub mode: Option<Mode>,
    /// What holds the hook; `None` if nothing does, or it can't be read.
    pub hook: Option<Hook>,
    /// False if the daemon saw that the interface's hook doesn't run this chain.
    pub attached: bool,
    /// How long ago the daemon saw what the hook runs, in milliseconds; `None`: it never did.
    pub looked_ms_ago: Option<u64>,
    /// What the hook ran at the last look, if it was something else.
    pub hook_program: Option<HookProgram>,
    /// It stays on its hook without members.
    pub parked: bool,
    /// Changes of its users, counted; 0 if that can't be read.
    pub revision: u64,
    /// The root that runs: several may be built for one revision.
    pub build: u64,
    /// A change that goes back by itself unless it is confirmed.
    pub pending: Option<Pending>,
    /// The directory of its pins, a path in the BPF file system.
    pub pins: String,
    /// Why it can't be read; then it runs, and is not changed.
    pub unreadable: Option<Unreadable>,
    /// What it returns when every slot chained on; `None` if that can't be read.
    pub final_verdict: Option<FinalVerdict>,
    /// Whether verdicts are counted.
    pub counters: bool,
    /// Whether it takes packets of several buffers: if all members do.
    pub frags: bool,
    /// The members, in run order.
    pub members: Vec<Member>,
}

/// A network namespace, as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `SO_NETNS_COOKIE`: never used twice.
    pub cookie: u64,
    /// Its name under `/run/netns`, if it has one.
    pub name: Option<String>,
}

/// What holds an interface's XDP hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// A pinned `bpf_link` (kernel 5.9 and newer).
    Link,
    /// A netlink attachment.
    Netlink,
}

impl Hook {
    /// The word in listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Netlink => "netlink",
        }
    }
}

/// A program on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookProgram {
    /// The kernel's id of it.
    pub id: u32,
    /// Its name in the kernel. Not trustworthy: [`escape`](crate::escape) it before printing.
    pub name: String,
}

impl fmt::Display for HookProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name } = self;
        if name.is_empty() {
            return write!(f, "a program without a name (id {id})");
        }
        write!(f, "{name} (id {id})")
    }
}

/// A change that waits for its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Seconds until it goes back.
    pub deadline_s: u64,
    /// The revision that it goes back to.
    pub reverts_to: u64,
}

/// The client that something belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user, from the socket's peer credentials.
    pub uid: u32,
    /// The process, at the time of registration.
    pub pid: u32,
    /// What it called itself. Not trustworthy: [`escape`](crate::escape) it before printing.
    pub client: String,
}

/// The daemon's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub warnings: Vec<Warning>,
}

/// What the daemon found when it tried an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProbe {
    /// It works.
    pub available: bool,
    /// Why not.
    pub reason: Option<ProbeReason>,
}

impl From<protocol::Chain> for Chain {
    fn from(chain: protocol::Chain) -> Self {
        Self {
            id: chain.id,
            interface: chain.interface,
            ifindex: chain.ifindex,
            netns: Namespace {
                cookie: chain.netns.cookie,
                name: chain.netns.name,
            },
            mode: chain.mode,
            hook: chain.hook.map(|hook| match hook {
                protocol::Hook::Link => Hook::Link,
                protocol::Hook::Netlink => Hook::Netlink,
            }),
            attached: chain.attached,
            looked_ms_ago: chain.looked_ms_ago,
            hook_program: chain.hook_program.map(|program| HookProgram {
                id: program.id,
                name: program.name,
            }),
            parked: chain.parked,
            revision: chain.revision,
            build: chain.build,
            pending: chain.pending.map(|pending| Pending {
                deadline_s: pending.deadline_s,
                reverts_to: pending.reverts_to,
            }),
            pins: chain.pins,
            unreadable: chain.unreadable.map(Unreadable::from),
            final_verdict: chain.final_verdict,
            counters: chain.counters,
            frags: chain.frags,
            members: words::all(chain.members),
        }
    }
}

impl From<protocol::Owner> for Owner {
    fn from(owner: protocol::Owner) -> Self {
        Self {
            uid: owner.uid,
            pid: owner.pid,
            client: owner.client,
        }
    }
}

impl From<protocol::Status> for Status {
    fn from(status: protocol::Status) -> Self {
        Self {
            version: status.version,
            protocol: status.protocol,
            uptime_s: status.uptime_s,
            freplace: status.freplace.into(),
            tailcall: status.tailcall.into(),
            chains: status.chains,
            members: status.members,
            warnings: words::all(status.warnings),
        }
    }
}

impl From<protocol::EngineProbe> for EngineProbe {
    fn from(probe: protocol::EngineProbe) -> Self {
        Self {
            available: probe.available,
            reason: probe.reason.map(ProbeReason::from),
        }
    }
}
