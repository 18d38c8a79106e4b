//! The record that is written now.

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, Priority, VerdictMask,
};
use planner::{
    Abilities, AttachType, Build, BuiltIn, Chain, ChainDir, ChainId, ChainKey, CodeId, Form,
    GlobalValue, HandOver, Hook, Interface, LoadedSource, Member, MemberId, MemberState,
    ObjectSource, Obstacle, Owner, RegistryFault, Revision, Source, Standing, TailCall,
};
use serde::{Deserialize, Serialize};

use super::Kept;
use super::options::Options;

/// `BPF_XDP` of `enum bpf_attach_type`.
pub(super) const ATTACH_XDP: u32 = 37;
/// The redirect program's number among the daemon's own.
pub(super) const XSK_REDIRECT: u32 = 0;
/// The number of the program that returns PASS.
const PASS: u32 = 1;
/// More counts than a slot can have: a build's counters of one slot fill 4 KiB.
const COUNTS_MAX: u32 = 512;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChainRecord {
    pub(super) id: u64,
    pub(super) netns: u64,
    pub(super) ifindex: u32,
    pub(super) interface: String,
    pub(super) netns_name: Option<String>,
    pub(super) hook: HookRecord,
    pub(super) revision: u64,
    pub(super) build: u64,
    pub(super) last_build: u64,
    pub(super) mode: Mode,
    pub(super) final_verdict: FinalVerdict,
    pub(super) counters: bool,
    pub(super) engine: EngineChoice,
    pub(super) attach: u32,
    pub(super) parked: bool,
    /// How many counts the build keeps for each slot.
    pub(super) counts: u32,
    pub(super) members: Vec<MemberRecord>,
    pub(super) options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HookRecord {
    Link,
    Netlink,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    pub(super) id: u64,
    pub(super) code: u32,
    pub(super) name: String,
    pub(super) source: SourceRecord,
    pub(super) program_id: u32,
    pub(super) priority: Priority,
    pub(super) requested_priority: Priority,
    pub(super) tie: i64,
    pub(super) chain_call: VerdictMask,
    pub(super) allowed: VerdictMask,
    pub(super) on_miss: OnMiss,
    pub(super) requested_engine: EngineChoice,
    /// A number, so that a later version can have another: it decides nothing here but the form of
    /// code that is loaded later.
    pub(super) obstacle: Option<u32>,
    pub(super) can_frags: bool,
    pub(super) engine: Engine,
    pub(super) frags: bool,
    pub(super) attach: u32,
    pub(super) tail_depth: u32,
    pub(super) lifetime: Lifetime,
    pub(super) linger_ms: u32,
    pub(super) uid: u32,
    pub(super) pid: u32,
    pub(super) client: String,
    pub(super) share_group: Option<String>,
    pub(super) token: [u8; 16],
    pub(super) options: Options,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SourceRecord {
    Object(ObjectRecord),
    Loaded(LoadedRecord),
    BuiltIn(u32),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub(super) sha256: [u8; 32],
    pub(super) program: String,
    pub(super) map_sizes: Vec<(String, u32)>,
    pub(super) globals: Vec<(String, GlobalRecord)>,
    pub(super) tail_calls: Vec<(String, u32, String)>,
    pub(super) trusted: bool,
    pub(super) options: Options,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GlobalRecord {
    Integer(i128),
    Bytes(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoadedRecord {
    pub(super) program: String,
    pub(super) how: HandOverRecord,
    pub(super) options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HandOverRecord {
    Given,
    Adopted,
}

impl ChainRecord {
    /// What is kept of a chain. Whether it stands is looked up, and its directory is known.
    pub(super) fn new(chain: &Chain, counts: u32) -> Self {
        Self {
            id: chain.id.0,
            netns: chain.interface.key.netns,
            ifindex: chain.interface.key.ifindex,
            interface: chain.interface.name.clone(),
            netns_name: chain.interface.netns_name.clone(),
            hook: match chain.hook {
                Hook::Link => HookRecord::Link,
                Hook::Netlink => HookRecord::Netlink,
            },
            revision: chain.revision.0,
            build: chain.build.0,
            last_build: chain.last_build.0,
            mode: chain.mode,
            final_verdict: chain.final_verdict,
            counters: chain.counters,
            engine: chain.engine,
            attach: attach_number(chain.attach),
            parked: chain.parked,
            counts,
            members: chain.members.iter().map(MemberRecord::from).collect(),
            options: Options::default(),
        }
    }
}

impl TryFrom<ChainRecord> for Kept {
    type Error = RegistryFault;

    fn try_from(record: ChainRecord) -> Result<Self, RegistryFault> {
        record.options.skip()?;
        if !(1..=COUNTS_MAX).contains(&record.counts) {
            return Err(RegistryFault::Impossible);
        }
        let key = ChainKey {
            netns: record.netns,
            ifindex: record.ifindex,
        };
        let members = record.members.into_iter().map(Member::try_from);
        let chain = Chain {
            id: ChainId(record.id),
            dir: ChainDir { key, again: 0 },
            interface: Interface {
                key,
                name: record.interface,
                netns_name: record.netns_name,
            },
            standing: Standing::InForce,
            hook: match record.hook {
                HookRecord::Link => Hook::Link,
                HookRecord::Netlink => Hook::Netlink,
            },
            revision: Revision(record.revision),
            build: Build(record.build),
            last_build: Build(record.last_build),
            mode: record.mode,
            final_verdict: record.final_verdict,
            counters: record.counters,
            engine: record.engine,
            attach: attach_type(record.attach)?,
            parked: record.parked,
            members: members.collect::<Result<_, _>>()?,
        };
        Ok(Self {
            chain,
            counts: record.counts as usize,
        })
    }
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id.0,
            code: member.code.0,
            name: member.name.clone(),
            source: SourceRecord::from(&member.source),
            program_id: member.program_id,
            priority: member.priority,
            requested_priority: member.requested_priority,
            tie: member.tie,
            chain_call: member.chain_call,
            allowed: member.allowed,
            on_miss: member.on_miss,
            requested_engine: member.requested_engine,
            obstacle: member.abilities.obstacle.map(obstacle_number),
            can_frags: member.abilities.frags,
            engine: member.form.engine,
            frags: member.form.frags,
            attach: attach_number(member.form.attach),
            tail_depth: member.tail_depth,
            lifetime: member.lifetime,
            linger_ms: member.linger_ms,
            uid: member.owner.uid,
            pid: member.owner.pid,
            client: member.owner.client.clone(),
            share_group: member.share_group.clone(),
            token: member.token,
            options: Options::default(),
        }
    }
}

impl TryFrom<MemberRecord> for Member {
    type Error = RegistryFault;

    fn try_from(record: MemberRecord) -> Result<Self, RegistryFault> {
        record.options.skip()?;
        Ok(Self {
            id: MemberId(record.id),
            code: CodeId(record.code),
            name: record.name,
            source: Source::try_from(record.source)?,
            program_id: record.program_id,
            priority: record.priority,
            requested_priority: record.requested_priority,
            tie: record.tie,
            chain_call: record.chain_call,
            allowed: record.allowed,
            on_miss: record.on_miss,
            requested_engine: record.requested_engine,
            abilities: Abilities {
                obstacle: record.obstacle.map(obstacle),
                frags: record.can_frags,
            },
            form: Form {
                engine: record.engine,
                frags: record.frags,
                attach: attach_type(record.attach)?,
            },
            tail_depth: record.tail_depth,
            lifetime: record.lifetime,
            linger_ms: record.linger_ms,
            owner: Owner {
                uid: record.uid,
                pid: record.pid,
                client: record.client,
                connection: None,
            },
            state: MemberState::Running,
            share_group: record.share_group,
            token: record.token,
        })
    }
}

impl From<&Source> for SourceRecord {
    fn from(source: &Source) -> Self {
        match source {
            Source::Object(object) => Self::Object(ObjectRecord::from(object)),
            Source::Loaded(loaded) => Self::Loaded(LoadedRecord {
                program: loaded.program.clone(),
                how: match loaded.how {
                    HandOver::Given => HandOverRecord::Given,
                    HandOver::Adopted => HandOverRecord::Adopted,
                },
                options: Options::default(),
            }),
            Source::BuiltIn(BuiltIn::XskRedirect) => Self::BuiltIn(XSK_REDIRECT),
            Source::BuiltIn(BuiltIn::Pass) => Self::BuiltIn(PASS),
        }
    }
}

impl TryFrom<SourceRecord> for Source {
    type Error = RegistryFault;

    fn try_from(record: SourceRecord) -> Result<Self, RegistryFault> {
        match record {
            SourceRecord::Object(object) => Ok(Self::Object(ObjectSource::try_from(object)?)),
            SourceRecord::Loaded(loaded) => {
                loaded.options.skip()?;
                Ok(Self::Loaded(LoadedSource {
                    program: loaded.program,
                    how: match loaded.how {
                        HandOverRecord::Given => HandOver::Given,
                        HandOverRecord::Adopted => HandOver::Adopted,
                    },
                }))
            }
            SourceRecord::BuiltIn(XSK_REDIRECT) => Ok(Self::BuiltIn(BuiltIn::XskRedirect)),
            SourceRecord::BuiltIn(PASS) => Ok(Self::BuiltIn(BuiltIn::Pass)),
            SourceRecord::BuiltIn(_) => Err(RegistryFault::Garbled),
        }
    }
}

impl From<&ObjectSource> for ObjectRecord {
    fn from(object: &ObjectSource) -> Self {
        let globals = object.globals.iter().map(|(name, value)| {
            let value = match value {
                GlobalValue::Integer(value) => GlobalRecord::Integer(*value),
                GlobalValue::Bytes(bytes) => GlobalRecord::Bytes(bytes.clone()),
            };
            (name.clone(), value)
        });
        let calls = object.tail_calls.iter();
        Self {
            sha256: object.sha256,
            program: object.program.clone(),
            map_sizes: object.map_sizes.clone(),
            globals: globals.collect(),
            tail_calls: calls
                .map(|call| (call.map.clone(), call.index, call.program.clone()))
                .collect(),
            trusted: object.trusted,
            options: Options::default(),
        }
    }
}

impl TryFrom<ObjectRecord> for ObjectSource {
    type Error = RegistryFault;

    fn try_from(record: ObjectRecord) -> Result<Self, RegistryFault> {
        record.options.skip()?;
        let globals = record.globals.into_iter().map(|(name, value)| {
            let value = match value {
                GlobalRecord::Integer(value) => GlobalValue::Integer(value),
                GlobalRecord::Bytes(bytes) => GlobalValue::Bytes(bytes),
            };
            (name, value)
        });
        let calls = record.tail_calls.into_iter();
        Ok(Self {
            sha256: record.sha256,
            program: record.program,
            map_sizes: record.map_sizes,
            globals: globals.collect(),
            tail_calls: calls
                .map(|(map, index, program)| TailCall {
                    map,
                    index,
                    program,
                })
                .collect(),
            trusted: record.trusted,
        })
    }
}

fn attach_number(attach: AttachType) -> u32 {
    match attach {
        AttachType::Unset => 0,
        AttachType::Xdp => ATTACH_XDP,
    }
}

fn attach_type(number: u32) -> Result<AttachType, RegistryFault> {
    match number {
        0 => Ok(AttachType::Unset),
        ATTACH_XDP => Ok(AttachType::Xdp),
        _ => Err(RegistryFault::Garbled),
    }
}

/// [`Obstacle::Untrusted`].
pub(super) const UNTRUSTED: u32 = 3;

fn obstacle_number(obstacle: Obstacle) -> u32 {
    match obstacle {
        Obstacle::NoTypes => 0,
        Obstacle::Prototype => 1,
        Obstacle::Refused => 2,
        Obstacle::Untrusted => UNTRUSTED,
        Obstacle::Unknown(number) => number,
    }
}

fn obstacle(number: u32) -> Obstacle {
    match number {
        0 => Obstacle::NoTypes,
        1 => Obstacle::Prototype,
        2 => Obstacle::Refused,
        UNTRUSTED => Obstacle::Untrusted,
        number => Obstacle::Unknown(number),
    }
}
