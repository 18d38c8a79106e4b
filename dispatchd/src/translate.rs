//! The wire's words and the planner's: each knows nothing of the other, and every match here is
//! exhaustive, so that a new refusal without a wire code does not compile.

mod socket;

use std::collections::BTreeMap;
use std::error::Error;

use controller::{Answer, Changed};
use dispatcher_abi::SlotCounters;
use planner::{Engines, FailureKind, MemberId, Note, Refusal, TakenUp, Unreadable};
use protocol::{RefusalCode, Refused};

use crate::control::Trouble;
use crate::kernel::{KernelError, MemberMap};
use crate::loader::{Kind, LoadError};
use crate::object;
use crate::unreadable;

pub(crate) use self::socket::{not_made, socket_view};

/// An error with its causes, in one line. A cause that its error has repeated already, as those of
/// other crates do, is not said twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// A refusal of this code.
pub(crate) fn refused(code: RefusalCode, message: impl Into<String>) -> Refused {
    Refused {
        code,
        message: message.into(),
        log: None,
    }
}

/// What the planner turned down.
pub(crate) fn refusal(refusal: &Refusal) -> Refused {
    let code = match refusal {
        Refusal::NoRights { .. }
        | Refusal::RedirectOnly { .. }
        | Refusal::RootOnly { .. }
        | Refusal::BareNotAllowed { .. } => RefusalCode::NotAllowed,
        Refusal::NotOwner { .. } => RefusalCode::NotOwner,
        Refusal::NoChain { .. } | Refusal::NoSuchMember { .. } => RefusalCode::NoSuchMember,
        Refusal::Revision { .. } => RefusalCode::Generation,
        Refusal::ModeDiffers { .. } | Refusal::NoOffload { .. } => RefusalCode::Mode,
        Refusal::Engine { .. } => RefusalCode::Engine,
        Refusal::BadName { .. } | Refusal::NameReserved { .. } => RefusalCode::BadName,
        Refusal::NameTaken { .. } => RefusalCode::NameTaken,
        Refusal::ChainFull { .. } => RefusalCode::ChainFull,
        Refusal::TailCallBudget { .. } => RefusalCode::TailCallBudget,
        Refusal::NothingToDo { .. }
        | Refusal::ChainsOnOther { .. }
        | Refusal::BesideItself { .. }
        | Refusal::OrderIncomplete { .. }
        | Refusal::OrderRepeats { .. }
        | Refusal::ReplacesNewCode { .. }
        | Refusal::ChangedMeanwhile { .. }
        | Refusal::KeptStays { .. }
        | Refusal::EmptyChain { .. }
        | Refusal::NotRedirected { .. }
        | Refusal::NoRxRing { .. }
        | Refusal::NoFrames { .. }
        | Refusal::HasReceiver { .. } => RefusalCode::Conflict,
        Refusal::ClaimMismatch { .. }
        | Refusal::NotLingering { .. }
        | Refusal::SocketMismatch { .. } => RefusalCode::Claim,
        Refusal::QueueTaken { .. } | Refusal::QueueLeftOpen { .. } => RefusalCode::QueueTaken,
        Refusal::SocketQuota { .. } | Refusal::MemoryQuota { .. } => RefusalCode::Quota,
        Refusal::NoSuchSocket { .. } => RefusalCode::NoSuchSocket,
    };
    refused(code, refusal.to_string())
}

/// Why something was not done, by the controller's answer; `None` if it was.
pub(crate) fn denial(interface: &str, answer: &Answer<Trouble>) -> Option<Refused> {
    Some(match answer {
        Answer::Refused(reason) => refusal(reason),
        Answer::Failed { error, in_the_way } => trouble(interface, error, in_the_way),
        Answer::Unreadable(chain) => unreadable(interface, chain),
        Answer::Stopping => refused(RefusalCode::Daemon, "the daemon is stopping"),
        Answer::Changed(_)
        | Answer::TakenUp(_)
        | Answer::Reclaimed
        | Answer::Leased
        | Answer::Made(_)
        | Answer::NotMade(_)
        | Answer::Activated { .. }
        | Answer::Closed
        | Answer::SocketReclaimed => return None,
    })
}

/// Why nothing is changed of an interface whose chain can't be read.
pub(crate) fn unreadable(interface: &str, chain: &Unreadable) -> Refused {
    refused(
        RefusalCode::InterfaceBusy,
        unreadable::refusal(interface, chain),
    )
}

fn trouble(interface: &str, trouble: &Trouble, in_the_way: &[String]) -> Refused {
    match trouble {
        Trouble::Kernel(error) => kernel_error(interface, error, in_the_way),
        Trouble::Load(refused) => Refused::clone(refused),
        Trouble::Socket(error) => refused(
            RefusalCode::Kernel,
            format!("interface {interface}: the redirect program's maps: {error}"),
        ),
    }
}

/// Names the members that are in the way of large packets: the kernel only says ERANGE.
fn kernel_error(interface: &str, error: &KernelError, in_the_way: &[String]) -> Refused {
    let code = match error.kind {
        FailureKind::Mode | FailureKind::Large => RefusalCode::Mode,
        FailureKind::Busy => RefusalCode::InterfaceBusy,
        FailureKind::Gone => RefusalCode::InterfaceGone,
        FailureKind::Failed => RefusalCode::Kernel,
    };
    let message = if in_the_way.is_empty() {
        chain(error)
    } else {
        format!(
            "{error}: its packets may have several buffers, and these members don't take such \
             packets (section xdp.frags): {}: {}",
            in_the_way.join(", "),
            error.source,
        )
    };
    refused(code, format!("interface {interface}: {message}"))
}

/// What a client should know.
pub(crate) fn notes(notes: &[Note]) -> Vec<String> {
    notes.iter().map(note).collect()
}

fn note(note: &Note) -> String {
    match note {
        Note::ByTailCall { member, obstacle } => format!("{member} runs by tail call: {obstacle}"),
        Note::Generic {
            interface,
            errno,
            in_the_way,
        } if in_the_way.is_empty() => format!(
            "{interface} has no native XDP ({}); generic mode is used",
            std::io::Error::from_raw_os_error(*errno)
        ),
        Note::Generic {
            interface,
            in_the_way,
            ..
        } => format!(
            "packets of {interface} may have several buffers, which these members don't take \
             (section xdp.frags): {}; generic mode is used",
            in_the_way.join(", ")
        ),
        Note::NotKept { errno } => format!(
            "the object can't be kept ({}): what would load its member again will be refused",
            std::io::Error::from_raw_os_error(*errno)
        ),
    }
}

/// Why a program for this interface was not loaded.
pub(crate) fn load_error(interface: &str, error: LoadError) -> Refused {
    let message = format!("interface {interface}: {}", chain(&error));
    let code = match &error {
        LoadError::Object(refused) => object_code(refused.kind),
        LoadError::Failed(_) | LoadError::Ended(_) | LoadError::Hostile(_) | LoadError::Late(_) => {
            RefusalCode::Unsupported
        }
        LoadError::NoTemplate | LoadError::Untrusted => RefusalCode::Engine,
        LoadError::ClientGone | LoadError::Gone | LoadError::Io { .. } => RefusalCode::Daemon,
    };
    let log = if let LoadError::Object(refused) = error {
        refused.log
    } else {
        None
    };
    Refused { code, message, log }
}

fn object_code(kind: Kind) -> RefusalCode {
    match kind {
        Kind::NotAnObject => RefusalCode::NotAnObject,
        Kind::NoSuchProgram | Kind::NoProgram => RefusalCode::NoSuchProgram,
        Kind::AmbiguousProgram => RefusalCode::AmbiguousProgram,
        Kind::WrongProgramType => RefusalCode::WrongProgramType,
        Kind::Unsupported => RefusalCode::Unsupported,
        Kind::Helper => RefusalCode::Helper,
        Kind::Map => RefusalCode::Map,
        Kind::Global => RefusalCode::Global,
        Kind::Verifier => RefusalCode::Verifier,
        Kind::Kernel => RefusalCode::Kernel,
    }
}

/// A registration's or replacement's values for globals, for the loader.
pub(crate) fn globals(
    globals: &[(String, protocol::GlobalValue)],
) -> Vec<(String, object::GlobalValue)> {
    globals
        .iter()
        .map(|(name, value)| {
            let value = match value {
                protocol::GlobalValue::Integer(number) => object::GlobalValue::Integer(*number),
                protocol::GlobalValue::Bytes(bytes) => object::GlobalValue::Bytes(bytes.clone()),
            };
            (name.clone(), value)
        })
        .collect()
}

/// A registration's or replacement's tail calls, for the loader.
pub(crate) fn tail_calls(calls: &[protocol::TailCall]) -> Vec<planner::TailCall> {
    calls
        .iter()
        .map(|call| planner::TailCall {
            map: call.map.clone(),
            index: call.index,
            program: call.program.clone(),
        })
        .collect()
}

/// An operation, for the planner. A registration gets its claim token here.
pub(crate) fn operation(
    operation: protocol::Operation,
    token: impl FnOnce() -> [u8; 16],
) -> planner::Operation {
    match operation {
        protocol::Operation::Register(registration) => {
            planner::Operation::Register(planner::Registration {
                built_in: None,
                name: registration.name,
                priority: registration.priority,
                chain_call: registration.chain_call,
                allowed: registration.allowed,
                on_miss: registration.on_miss,
                lifetime: registration.lifetime,
                linger_ms: registration.linger_ms,
                engine: registration.engine,
                tail_depth: registration.tail_depth,
                share_group: registration.share_group,
                token: token(),
            })
        }
        protocol::Operation::Unregister { name } => planner::Operation::Unregister { name },
        protocol::Operation::UnregisterAll => planner::Operation::UnregisterAll,
        protocol::Operation::Move { name, to } => planner::Operation::Move {
            name,
            to: match to {
                protocol::Position::Priority(priority) => planner::Position::Priority(priority),
                protocol::Position::First => planner::Position::First,
                protocol::Position::Last => planner::Position::Last,
                protocol::Position::Before(name) => planner::Position::Before(name),
                protocol::Position::After(name) => planner::Position::After(name),
            },
        },
        protocol::Operation::Order { names } => planner::Operation::Order { names },
        protocol::Operation::Set { name, settings } => planner::Operation::Set {
            name,
            settings: planner::Settings {
                chain_call: settings.chain_call,
                allowed: settings.allowed,
                on_miss: settings.on_miss,
                lifetime: settings.lifetime,
            },
        },
        protocol::Operation::Replace { name, source: _ } => planner::Operation::Replace { name },
        protocol::Operation::Configure(configuration) => {
            planner::Operation::Configure(planner::Configuration {
                final_verdict: configuration.final_verdict,
                counters: configuration.counters,
                engine: configuration.engine,
                mode: configuration.mode,
            })
        }
    }
}

/// What a change did: `changed` names the members that it gave code to.
pub(crate) fn outcome(outcome: &Changed, dry_run: bool) -> protocol::Changed {
    let plan = outcome.plan.describe();
    let next = outcome.plan.next.as_ref();
    let members = outcome
        .facts
        .iter()
        .filter_map(|facts| {
            let chain = next?;
            let member = outcome.plan.member_of(facts.load)?;
            let (slot, member) = (0..)
                .zip(&chain.members)
                .find(|(_, known)| known.id == member)?;
            Some(protocol::Registered {
                name: member.name.clone(),
                id: member.id.0,
                slot,
                program_id: if dry_run { 0 } else { member.program_id },
                engine: member.form.engine,
                token: if dry_run { [0; 16] } else { member.token },
            })
        })
        .collect();
    protocol::Changed {
        generation: next.map_or(0, |chain| chain.revision.0),
        mode: next.map(|chain| chain.mode),
        notes: notes(&outcome.notes),
        members,
        plan,
        reloads: outcome.plan.reloads.clone(),
    }
}

/// A change that had been done before, as it stands; `None` if its chain is gone again.
pub(crate) fn taken_up(state: &planner::State, taken: &TakenUp) -> Option<protocol::Changed> {
    let chain = state.chains.get(&taken.chain)?;
    let members = chain
        .slots()
        .filter(|(_, member)| taken.members.contains(&member.id));
    let members = members.map(|(slot, member)| protocol::Registered {
        name: member.name.clone(),
        id: member.id.0,
        slot: slot.0,
        program_id: member.program_id,
        engine: member.form.engine,
        token: member.token,
    });
    Some(protocol::Changed {
        generation: chain.revision.0,
        mode: Some(chain.mode),
        notes: Vec::new(),
        members: members.collect(),
        plan: Vec::new(),
        reloads: Vec::new(),
    })
}

/// A chain for a listing.
pub(crate) fn chain_view(
    chain: &planner::Chain,
    engines: Engines,
    counts: &BTreeMap<MemberId, SlotCounters>,
) -> protocol::Chain {
    protocol::Chain {
        interface: chain.interface.name.clone(),
        ifindex: chain.interface.key.ifindex,
        netns: protocol::NetNs {
            cookie: chain.interface.key.netns,
            name: chain.interface.netns_name.clone(),
        },
        mode: chain.mode,
        hook: protocol::Hook::Link,
        generation: chain.revision.0,
        final_verdict: chain.final_verdict,
        counters: chain.counters,
        frags: planner::Root::of(chain).frags,
        members: (0..)
            .zip(&chain.members)
            .map(|(slot, member)| {
                let counted = counts.get(&member.id).copied().unwrap_or_default();
                member_view(chain, member, engines, slot, counted)
            })
            .collect(),
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
        program: member.source.program().to_owned(),
        program_id: Some(member.program_id),
        priority: member.priority,
        requested_priority: member.requested_priority,
        chain_call: member.chain_call,
        allowed: member.allowed,
        engine: member.form.engine,
        engine_reason: chain
            .tail_call_reason(member, engines)
            .map(|reason| reason.to_string()),
        state: match member.state {
            planner::MemberState::Running => protocol::MemberState::Running,
            planner::MemberState::Lingering { .. } => protocol::MemberState::Lingering,
        },
        owner: protocol::Owner {
            uid: member.owner.uid,
            pid: member.owner.pid,
            client: member.owner.client.clone(),
        },
        lifetime: member.lifetime,
        sha256: member.source.sha256().copied(),
        packets,
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
