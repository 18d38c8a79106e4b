//! The record that the first version wrote.

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, Priority, REDIRECT_MEMBER,
    REDIRECT_PROGRAM, VerdictMask,
};
use serde::Deserialize;

use super::options::Options;
use super::v3;

/// How many counts its roots kept for each slot.
const COUNTS: u32 = 9;

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct ChainRecord {
    pub(super) netns: u64,
    pub(super) ifindex: u32,
    pub(super) interface: String,
    pub(super) netns_name: Option<String>,
    pub(super) build: u64,
    pub(super) mode: Mode,
    pub(super) final_verdict: FinalVerdict,
    pub(super) counters: bool,
    pub(super) engine: EngineChoice,
    pub(super) members: Vec<MemberRecord>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) struct MemberRecord {
    pub(super) id: u64,
    pub(super) code: u32,
    pub(super) name: String,
    pub(super) program: String,
    pub(super) program_id: u32,
    pub(super) priority: Priority,
    pub(super) requested_priority: Priority,
    pub(super) tie: i64,
    pub(super) chain_call: VerdictMask,
    pub(super) allowed: VerdictMask,
    pub(super) on_miss: OnMiss,
    pub(super) requested_engine: EngineChoice,
    pub(super) obstacle: Option<ObstacleRecord>,
    pub(super) can_frags: bool,
    pub(super) engine: Engine,
    pub(super) frags: bool,
    pub(super) tail_depth: u32,
    pub(super) lifetime: Lifetime,
    pub(super) linger_ms: u32,
    pub(super) uid: u32,
    pub(super) pid: u32,
    pub(super) client: String,
    pub(super) share_group: Option<String>,
    pub(super) sha256: [u8; 32],
    pub(super) tail_calls: Vec<(String, u32, String)>,
    pub(super) trusted: bool,
    pub(super) token: [u8; 16],
}

/// As a number: the next version's.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(super) enum ObstacleRecord {
    NoTypes,
    Prototype,
    Refused,
}

impl From<ChainRecord> for v3::ChainRecord {
    fn from(record: ChainRecord) -> Self {
        Self {
            id: 0,
            netns: record.netns,
            ifindex: record.ifindex,
            interface: record.interface,
            netns_name: record.netns_name,
            hook: v3::HookRecord::Link,
            // A build was a change.
            revision: record.build,
            build: record.build,
            last_build: record.build,
            mode: record.mode,
            final_verdict: record.final_verdict,
            counters: record.counters,
            engine: record.engine,
            attach: v3::ATTACH_XDP,
            parked: false,
            counts: COUNTS,
            members: record.members.into_iter().map(Into::into).collect(),
            options: Options::default(),
        }
    }
}

impl From<MemberRecord> for v3::MemberRecord {
    fn from(record: MemberRecord) -> Self {
        // Nobody but the daemon could register a member of that name.
        let is_redirect = record.name == REDIRECT_MEMBER && record.program == REDIRECT_PROGRAM;
        let source = if is_redirect {
            v3::SourceRecord::BuiltIn(v3::XSK_REDIRECT)
        } else {
            v3::SourceRecord::Object(v3::ObjectRecord {
                sha256: record.sha256,
                program: record.program,
                map_sizes: Vec::new(),
                globals: Vec::new(),
                tail_calls: record.tail_calls,
                trusted: record.trusted,
                options: Options::default(),
            })
        };
        Self {
            id: record.id,
            code: record.code,
            name: record.name,
            source,
            program_id: record.program_id,
            priority: record.priority,
            requested_priority: record.requested_priority,
            tie: record.tie,
            chain_call: record.chain_call,
            allowed: record.allowed,
            on_miss: record.on_miss,
            requested_engine: record.requested_engine,
            // The first version loaded for everybody with its own rights. What runs goes on as it is;
            // a program that is loaded again is loaded as its user may.
            obstacle: match (record.obstacle, record.trusted) {
                (Some(obstacle), _) => Some(obstacle as u32),
                (None, true) => None,
                (None, false) => Some(v3::UNTRUSTED),
            },
            can_frags: record.can_frags,
            engine: record.engine,
            frags: record.frags,
            attach: v3::ATTACH_XDP,
            tail_depth: record.tail_depth,
            lifetime: record.lifetime,
            linger_ms: record.linger_ms,
            uid: record.uid,
            pid: record.pid,
            client: record.client,
            share_group: record.share_group,
            token: record.token,
            options: Options::default(),
        }
    }
}
