//! The wire's words and the planner's: each knows nothing of the other, and every match here is
//! exhaustive, so that a new refusal without a wire code does not compile.

mod listing;
mod plan;
mod socket;
mod unreadable;

use controller::Answer;
use planner::{FailureKind, NoEngine, Note, Refusal};
use protocol::{RefusalCode, Refused, Remedy, with_causes};

use crate::control::Trouble;
use crate::kernel::{KernelError, Pins};
use crate::loader::{LoadError, RefusedKind};
use crate::object;

pub(crate) use self::listing::{Listing, engine_reason, form, map_shape, probe, warnings};
pub(crate) use self::plan::{outcome, taken_up};
pub(crate) use self::socket::{not_made, socket_view};
pub(crate) use self::unreadable::{unreadable, unreadable_view, why};

/// A refusal of this code.
pub(crate) fn refused(code: RefusalCode, message: impl Into<String>) -> Refused {
    Refused::new(code, message)
}

/// What the planner turned down.
pub(crate) fn refusal(refusal: &Refusal) -> Refused {
    let code = match refusal {
        Refusal::NoRights { .. }
        | Refusal::NotGranted { .. }
        | Refusal::RedirectOnly { .. }
        | Refusal::RootOnly { .. }
        | Refusal::BareNotAllowed { .. } => RefusalCode::NotAllowed,
        Refusal::HookTaken { .. } => RefusalCode::InterfaceBusy,
        Refusal::InterfaceGone { .. } => RefusalCode::InterfaceGone,
        Refusal::NotOwner { .. } => RefusalCode::NotOwner,
        Refusal::NoChain { .. } | Refusal::NoSuchMember { .. } | Refusal::NoMemberOfId { .. } => {
            RefusalCode::NoSuchMember
        }
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
        | Refusal::TokenTaken { .. }
        | Refusal::NotLingering { .. }
        | Refusal::SocketMismatch { .. } => RefusalCode::Claim,
        Refusal::QueueTaken { .. } | Refusal::QueueLeftOpen { .. } => RefusalCode::QueueTaken,
        Refusal::SocketQuota { .. } | Refusal::MemoryQuota { .. } => RefusalCode::Quota,
        Refusal::NoSuchSocket { .. } => RefusalCode::NoSuchSocket,
    };
    let refused = refused(code, refusal.to_string());
    match remedy(refusal) {
        Some(remedy) => refused.with_remedy(remedy),
        None => refused,
    }
}

/// What would mend it.
fn remedy(refusal: &Refusal) -> Option<Remedy> {
    match refusal {
        Refusal::NoRights { uid } | Refusal::RedirectOnly { uid } => {
            Some(Remedy::AllowLoad { uid: *uid })
        }
        Refusal::BareNotAllowed { uid, .. } => Some(Remedy::AllowBare { uid: *uid }),
        Refusal::ModeDiffers {
            interface, asked, ..
        } => Some(Remedy::ChangeMode {
            interface: interface.clone(),
            mode: *asked,
        }),
        Refusal::Engine {
            reason: NoEngine::Unavailable(_),
            ..
        } => Some(Remedy::SeeStatus),
        Refusal::ChangedMeanwhile { .. } => Some(Remedy::TryAgain),
        Refusal::SocketQuota { .. } => Some(Remedy::MoreSockets),
        Refusal::MemoryQuota { .. } => Some(Remedy::MoreMemory),
        Refusal::NotGranted { .. }
        | Refusal::RootOnly { .. }
        | Refusal::HookTaken { .. }
        | Refusal::InterfaceGone { .. }
        | Refusal::NotOwner { .. }
        | Refusal::NothingToDo { .. }
        | Refusal::NoChain { .. }
        | Refusal::Revision { .. }
        | Refusal::NoOffload { .. }
        | Refusal::Engine {
            reason: NoEngine::Program(_),
            ..
        }
        | Refusal::NoSuchMember { .. }
        | Refusal::NoMemberOfId { .. }
        | Refusal::BadName { .. }
        | Refusal::NameTaken { .. }
        | Refusal::ChainFull { .. }
        | Refusal::TailCallBudget { .. }
        | Refusal::ChainsOnOther { .. }
        | Refusal::BesideItself { .. }
        | Refusal::OrderIncomplete { .. }
        | Refusal::OrderRepeats { .. }
        | Refusal::ReplacesNewCode { .. }
        | Refusal::KeptStays { .. }
        | Refusal::EmptyChain { .. }
        | Refusal::ClaimMismatch { .. }
        | Refusal::NameReserved { .. }
        | Refusal::QueueTaken { .. }
        | Refusal::QueueLeftOpen { .. }
        | Refusal::TokenTaken { .. }
        | Refusal::NoSuchSocket { .. }
        | Refusal::NotRedirected { .. }
        | Refusal::NoRxRing { .. }
        | Refusal::NoFrames { .. }
        | Refusal::HasReceiver { .. }
        | Refusal::SocketMismatch { .. }
        | Refusal::NotLingering { .. } => None,
    }
}

/// Why something was not done, by the controller's answer; `None` if it was.
pub(crate) fn denial(interface: &str, answer: &Answer<Trouble>, pins: &Pins) -> Option<Refused> {
    Some(match answer {
        Answer::Refused(reason) => refusal(reason),
        Answer::Failed { error, in_the_way } => trouble(interface, error, in_the_way),
        Answer::Unreadable(chain) => unreadable(interface, chain, pins),
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
        with_causes(error)
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
pub(crate) fn notes(notes: &[Note]) -> Vec<protocol::Open<protocol::Note>> {
    notes.iter().map(|it| note(it).into()).collect()
}

fn note(note: &Note) -> protocol::Note {
    match note {
        Note::ByTailCall { member, obstacle } => protocol::Note::RunsByTailCall {
            member: member.clone(),
            reason: engine_reason(*obstacle).into(),
        },
        Note::Generic {
            interface,
            errno,
            in_the_way,
        } if in_the_way.is_empty() => protocol::Note::NoNativeMode {
            interface: interface.clone(),
            error: said_by(*errno),
        },
        Note::Generic {
            interface,
            in_the_way,
            ..
        } => protocol::Note::NoNativeFrags {
            interface: interface.clone(),
            members: in_the_way.clone(),
        },
        Note::NotKept { errno } => protocol::Note::ObjectNotKept {
            error: said_by(*errno),
        },
    }
}

/// The kernel's own words for an errno.
fn said_by(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

/// Why a program for this interface was not loaded.
pub(crate) fn load_error(interface: &str, error: LoadError) -> Refused {
    let message = format!("interface {interface}: {}", with_causes(&error));
    let remedy = match &error {
        LoadError::NoTemplate => Some(Remedy::SeeStatus),
        LoadError::Object(refused) => refused
            .unsized_map
            .clone()
            .map(|map| Remedy::GiveMapSize { map }),
        LoadError::Failed(_)
        | LoadError::Ended(_)
        | LoadError::Hostile(_)
        | LoadError::TooManyMaps(_)
        | LoadError::Late(_)
        | LoadError::ClientGone
        | LoadError::Untrusted
        | LoadError::Gone
        | LoadError::Io { .. } => None,
    };
    let code = match &error {
        LoadError::Object(refused) => object_code(refused.kind),
        LoadError::Failed(_)
        | LoadError::Ended(_)
        | LoadError::Hostile(_)
        | LoadError::TooManyMaps(_)
        | LoadError::Late(_) => RefusalCode::Unsupported,
        LoadError::NoTemplate | LoadError::Untrusted => RefusalCode::Engine,
        LoadError::ClientGone | LoadError::Gone | LoadError::Io { .. } => RefusalCode::Daemon,
    };
    let log = if let LoadError::Object(refused) = error {
        refused.log
    } else {
        None
    };
    let refused = Refused::new(code, message).with_log(log);
    match remedy {
        Some(remedy) => refused.with_remedy(remedy),
        None => refused,
    }
}

fn object_code(kind: RefusedKind) -> RefusalCode {
    match kind {
        RefusedKind::NotAnObject => RefusalCode::NotAnObject,
        RefusedKind::NoSuchProgram | RefusedKind::NoProgram => RefusalCode::NoSuchProgram,
        RefusedKind::AmbiguousProgram => RefusalCode::AmbiguousProgram,
        RefusedKind::WrongProgramType => RefusalCode::WrongProgramType,
        RefusedKind::Unsupported => RefusalCode::Unsupported,
        RefusedKind::Helper => RefusalCode::Helper,
        RefusedKind::Map => RefusalCode::Map,
        RefusedKind::Global => RefusalCode::Global,
        RefusedKind::Verifier => RefusalCode::Verifier,
        RefusedKind::Kernel => RefusalCode::Kernel,
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

/// An operation, for the planner. `name` is the name of the member that it is about, if it is about
/// one that is there.
pub(crate) fn operation(operation: protocol::Operation, name: String) -> planner::Operation {
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
                token: registration.token,
            })
        }
        protocol::Operation::Unregister { member: _ } => planner::Operation::Unregister { name },
        protocol::Operation::UnregisterAll => planner::Operation::UnregisterAll,
        protocol::Operation::Move { member: _, to } => planner::Operation::Move {
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
        protocol::Operation::Set {
            member: _,
            settings,
        } => planner::Operation::Set {
            name,
            settings: planner::Settings {
                chain_call: settings.chain_call,
                allowed: settings.allowed,
                on_miss: settings.on_miss,
                lifetime: settings.lifetime,
            },
        },
        protocol::Operation::Replace {
            member: _,
            source: _,
        } => planner::Operation::Replace { name },
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
