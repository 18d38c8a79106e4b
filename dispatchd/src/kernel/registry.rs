//! A chain's metadata as it is kept in the kernel: a frozen array map with one element.
//!
//! The element is a header (magic, version, length) and the chain in bincode. The structs here are
//! the format: they change only together with [`VERSION`], whatever the planner's do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, Priority, VerdictMask,
};
use planner::{
    Abilities, Chain, ChainKey, CodeId, ConnectionId, Form, Generation, Interface, Member,
    MemberId, MemberState, Obstacle, Owner, Registry, Source, TailCall,
};
use serde::{Deserialize, Serialize};

use crate::bpf::{self, MapExtras, Shape};

/// "XDPD".
const MAGIC: u32 = 0x5844_5044;
/// The version that this daemon writes. 1 had nothing of what members can be loaded as.
const VERSION: u32 = 2;
/// Magic, version, length.
const HEADER_BYTES: usize = 12;
/// The largest registry: 128 members with the longest names take a tenth of it.
const BYTES_MAX: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
struct ChainRecord {
    netns: u64,
    ifindex: u32,
    interface: String,
    netns_name: Option<String>,
    generation: u64,
    mode: Mode,
    final_verdict: FinalVerdict,
    counters: bool,
    engine: EngineChoice,
    members: Vec<MemberRecord>,
}

#[derive(Serialize, Deserialize)]
struct MemberRecord {
    id: u64,
    code: u32,
    name: String,
    program: String,
    program_id: u32,
    priority: Priority,
    requested_priority: Priority,
    tie: i64,
    chain_call: VerdictMask,
    allowed: VerdictMask,
    on_miss: OnMiss,
    requested_engine: EngineChoice,
    obstacle: Option<ObstacleRecord>,
    can_frags: bool,
    engine: Engine,
    frags: bool,
    tail_depth: u32,
    lifetime: Lifetime,
    linger_ms: u32,
    uid: u32,
    pid: u32,
    client: String,
    share_group: Option<String>,
    sha256: [u8; 32],
    tail_calls: Vec<(String, u32, String)>,
    trusted: bool,
    token: [u8; 16],
}

#[derive(Serialize, Deserialize)]
enum ObstacleRecord {
    NoTypes,
    Prototype,
    Refused,
    Untrusted,
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<BYTES_MAX>()
}

/// Writes a chain into a new, frozen map.
pub(super) fn write(chain: &Chain) -> io::Result<OwnedFd> {
    let bytes = encode(chain)?;
    let shape = Shape {
        map_type: libbpf_sys::BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(bytes.len()).map_err(io::Error::other)?,
        max_entries: 1,
        flags: 0,
    };
    let map = bpf::map_create(c"registry", &shape, MapExtras::default())?;
    bpf::map_update(map.as_fd(), 0, &bytes)?;
    bpf::map_freeze(map.as_fd())?;
    Ok(map)
}

/// Reads what [`write`] or another daemon's wrote.
pub(super) fn read(map: BorrowedFd<'_>) -> io::Result<Registry> {
    let mut bytes = vec![0; bpf::map_info(map)?.shape.value_size as usize];
    bpf::map_lookup(map, 0, &mut bytes)?;
    Ok(decode(&bytes))
}

fn encode(chain: &Chain) -> io::Result<Vec<u8>> {
    let body = bincode::serde::encode_to_vec(ChainRecord::from(chain), codec())
        .map_err(io::Error::other)?;
    if body.len() > BYTES_MAX {
        // What can't be read back must not be written.
        return Err(io::Error::other("the chain's names are too long to keep"));
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    for word in [MAGIC, VERSION, len] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Registry {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Registry::Missing;
    };
    let word = |index: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&header[4 * index..4 * index + 4]);
        u32::from_le_bytes(word)
    };
    if word(0) != MAGIC {
        return Registry::Missing;
    }
    if word(1) != VERSION {
        return Registry::Newer { version: word(1) };
    }
    body.get(..word(2) as usize)
        .and_then(|body| bincode::serde::decode_from_slice(body, codec()).ok())
        .map_or(Registry::Missing, |(record, _): (ChainRecord, usize)| {
            Registry::Chain(Box::new(record.into()))
        })
}

impl From<&Chain> for ChainRecord {
    fn from(chain: &Chain) -> Self {
        Self {
            netns: chain.interface.key.netns,
            ifindex: chain.interface.key.ifindex,
            interface: chain.interface.name.clone(),
            netns_name: chain.interface.netns_name.clone(),
            generation: chain.generation.0,
            mode: chain.mode,
            final_verdict: chain.final_verdict,
            counters: chain.counters,
            engine: chain.engine,
            members: chain.members.iter().map(MemberRecord::from).collect(),
        }
    }
}

impl From<ChainRecord> for Chain {
    fn from(record: ChainRecord) -> Self {
        Self {
            interface: Interface {
                key: ChainKey {
                    netns: record.netns,
                    ifindex: record.ifindex,
                },
                name: record.interface,
                netns_name: record.netns_name,
            },
            generation: Generation(record.generation),
            mode: record.mode,
            final_verdict: record.final_verdict,
            counters: record.counters,
            engine: record.engine,
            members: record.members.into_iter().map(Member::from).collect(),
        }
    }
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.0,
            code: member.code.0,
            name: member.name.clone(),
            program: member.source.program.clone(),
            program_id: member.program_id,
            priority: member.priority,
            requested_priority: member.requested_priority,
            tie: member.tie,
            chain_call: member.chain_call,
            allowed: member.allowed,
            on_miss: member.on_miss,
            requested_engine: member.requested_engine,
            obstacle: member.abilities.obstacle.map(ObstacleRecord::from),
            can_frags: member.abilities.frags,
            engine: member.form.engine,
            frags: member.form.frags,
            tail_depth: member.tail_depth,
            lifetime: member.lifetime,
            linger_ms: member.linger_ms,
            uid: member.owner.uid,
            pid: member.owner.pid,
            client: member.owner.client.clone(),
            share_group: member.share_group.clone(),
            sha256: member.source.sha256,
            tail_calls: member
                .source
                .tail_calls
                .iter()
                .map(|call| (call.map.clone(), call.index, call.program.clone()))
                .collect(),
            trusted: member.source.trusted,
            token: member.token,
        }
    }
}

impl From<MemberRecord> for Member {
    fn from(record: MemberRecord) -> Self {
        Self {
            id: MemberId(record.id),
            code: CodeId(record.code),
            name: record.name,
            source: Source {
                sha256: record.sha256,
                program: record.program,
                tail_calls: record
                    .tail_calls
                    .into_iter()
                    .map(|(map, index, program)| TailCall {
                        map,
                        index,
                        program,
                    })
                    .collect(),
                trusted: record.trusted,
            },
            program_id: record.program_id,
            priority: record.priority,
            requested_priority: record.requested_priority,
            tie: record.tie,
            chain_call: record.chain_call,
            allowed: record.allowed,
            on_miss: record.on_miss,
            requested_engine: record.requested_engine,
            abilities: Abilities {
                obstacle: record.obstacle.map(Obstacle::from),
                frags: record.can_frags,
            },
            form: Form {
                engine: record.engine,
                frags: record.frags,
            },
            tail_depth: record.tail_depth,
            lifetime: record.lifetime,
            linger_ms: record.linger_ms,
            owner: Owner {
                uid: record.uid,
                pid: record.pid,
                client: record.client,
                connection: ConnectionId(0),
            },
            state: MemberState::Running,
            share_group: record.share_group,
            token: record.token,
        }
    }
}

impl From<Obstacle> for ObstacleRecord {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::NoTypes => Self::NoTypes,
            Obstacle::Prototype => Self::Prototype,
            Obstacle::Refused => Self::Refused,
            Obstacle::Untrusted => Self::Untrusted,
        }
    }
}

impl From<ObstacleRecord> for Obstacle {
    fn from(record: ObstacleRecord) -> Self {
        match record {
            ObstacleRecord::NoTypes => Self::NoTypes,
            ObstacleRecord::Prototype => Self::Prototype,
            ObstacleRecord::Refused => Self::Refused,
            ObstacleRecord::Untrusted => Self::Untrusted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        Chain {
            interface: Interface {
                key: ChainKey {
                    netns: 9,
                    ifindex: 2,
                },
                name: "eth0".to_owned(),
                netns_name: Some("blue".to_owned()),
            },
            generation: Generation(7),
            mode: Mode::Generic,
            final_verdict: FinalVerdict::Last,
            counters: true,
            engine: EngineChoice::Auto,
            members: vec![Member {
                id: MemberId(3),
                code: CodeId(2),
                name: "stats".to_owned(),
                source: Source {
                    sha256: [5; 32],
                    program: "xdp_stats".to_owned(),
                    tail_calls: vec![TailCall {
                        map: "jumps".to_owned(),
                        index: 3,
                        program: "xdp_more".to_owned(),
                    }],
                    trusted: true,
                },
                program_id: 41,
                priority: 10,
                requested_priority: 12,
                tie: -4,
                chain_call: VerdictMask::PASS,
                allowed: VerdictMask::ALL,
                on_miss: OnMiss::Continue,
                requested_engine: EngineChoice::Auto,
                abilities: Abilities {
                    obstacle: Some(Obstacle::Prototype),
                    frags: true,
                },
                form: Form {
                    engine: Engine::Tailcall,
                    frags: false,
                },
                tail_depth: 1,
                lifetime: Lifetime::Attached,
                linger_ms: 500,
                owner: Owner {
                    uid: 1000,
                    pid: 4,
                    client: "app".to_owned(),
                    connection: ConnectionId(0),
                },
                state: MemberState::Running,
                share_group: Some("g".to_owned()),
                token: [6; 16],
            }],
        }
    }

    #[test]
    fn a_chain_survives_its_registry() {
        let bytes = encode(&chain()).expect("a small chain");
        assert_eq!(decode(&bytes), Registry::Chain(Box::new(chain())));
    }

    #[test]
    fn the_format_is_frozen() {
        let bytes = encode(&chain()).expect("a small chain");
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
        let hex: String = digest
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(
            hex, "f0b3ea2f93c59e44604e135ff03a64b6c1ef0da4aaf276fba306971a53b85b3b",
            "the registry's bytes changed: running chains would not be read back; raise VERSION"
        );
    }

    #[test]
    fn what_is_cut_short_or_newer_is_not_taken_for_a_chain() {
        let mut bytes = encode(&chain()).expect("a small chain");
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Registry::Missing, "{len} bytes");
        }
        bytes[4] = 3;
        assert_eq!(decode(&bytes), Registry::Newer { version: 3 });
    }
}
