//! The wire's words and the planner's: each knows nothing of the other, and every match here is
//! exhaustive, so that a new refusal without a wire code does not compile.

mod listing;
mod plan;
mod socket;

use std::error::Error;

use planner::{NoEngine, Refusal};
use protocol::{RefusalCode, Refused, Remedy};

use crate::engine::ChangeError;
use crate::kernel::{KernelError, KernelErrorKind};
use crate::loader::LoadError;
use crate::object::{self, MapFault, ObjectError};

pub(crate) use self::listing::{
    chain_id, chain_view, engine_reason, form, map_shape, member_detail, probe,
};
pub(crate) use self::plan::outcome;
pub(crate) use self::socket::{not_made, socket_error, socket_view};

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
    Refused::new(code, message)
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
        Refusal::Generation { .. } => RefusalCode::Generation,
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
        Refusal::RootOnly { .. }
        | Refusal::NotOwner { .. }
        | Refusal::NothingToDo { .. }
        | Refusal::NoChain { .. }
        | Refusal::Generation { .. }
        | Refusal::NoOffload { .. }
        | Refusal::Engine {
            reason: NoEngine::Program(_),
            ..
        }
        | Refusal::NoSuchMember { .. }
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
        | Refusal::HasReceiver { .. }
        | Refusal::SocketMismatch { .. }
        | Refusal::NotLingering { .. } => None,
    }
}

/// Why a change was not made.
pub(crate) fn change_error(interface: &str, error: &ChangeError) -> Refused {
    match error {
        ChangeError::Refused(reason) => refusal(reason),
        ChangeError::Kernel(error) => kernel_error(interface, error),
        ChangeError::Foreign => refused(
            RefusalCode::InterfaceBusy,
            format!(
                "interface {interface} runs a chain that another version of dispatchd wrote; it \
                 runs on and is not changed"
            ),
        ),
    }
}

fn kernel_error(interface: &str, error: &KernelError) -> Refused {
    let code = match error.kind {
        KernelErrorKind::Mode => RefusalCode::Mode,
        KernelErrorKind::Busy => RefusalCode::InterfaceBusy,
        KernelErrorKind::Gone => RefusalCode::InterfaceGone,
        KernelErrorKind::Failed => RefusalCode::Kernel,
    };
    refused(code, format!("interface {interface}: {}", chain(error)))
}

/// Why a program for this interface was not loaded.
pub(crate) fn load_error(interface: &str, error: LoadError) -> Refused {
    let message = format!("interface {interface}: {}", chain(&error));
    let remedy = match &error {
        LoadError::NoTemplate => Some(Remedy::SeeStatus),
        LoadError::Object(ObjectError::Map {
            fault: MapFault::Unsized { map },
            ..
        }) => Some(Remedy::GiveMapSize { map: map.clone() }),
        LoadError::Object(_) | LoadError::Panicked(_) | LoadError::Io { .. } => None,
    };
    let (code, log) = match error {
        LoadError::Object(error) => match error {
            ObjectError::NotAnObject(_) => (RefusalCode::NotAnObject, None),
            ObjectError::NoSuchProgram { .. } | ObjectError::NoProgram => {
                (RefusalCode::NoSuchProgram, None)
            }
            ObjectError::AmbiguousProgram { .. } => (RefusalCode::AmbiguousProgram, None),
            ObjectError::WrongProgramType { .. } => (RefusalCode::WrongProgramType, None),
            ObjectError::Unsupported { .. } => (RefusalCode::Unsupported, None),
            ObjectError::Helper { .. } => (RefusalCode::Helper, None),
            ObjectError::Map { .. } => (RefusalCode::Map, None),
            ObjectError::Global { .. } => (RefusalCode::Global, None),
            ObjectError::Verifier { log, .. } => (RefusalCode::Verifier, Some(log)),
            ObjectError::Kernel { .. } => (RefusalCode::Kernel, None),
        },
        LoadError::Panicked(_) => (RefusalCode::Unsupported, None),
        LoadError::NoTemplate => (RefusalCode::Engine, None),
        LoadError::Io { .. } => (RefusalCode::Daemon, None),
    };
    let refused = Refused::new(code, message).with_log(log);
    match remedy {
        Some(remedy) => refused.with_remedy(remedy),
        None => refused,
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

/// An operation, for the planner.
pub(crate) fn operation(operation: protocol::Operation) -> planner::Operation {
    match operation {
        protocol::Operation::Register(registration) => {
            planner::Operation::Register(planner::Registration {
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
