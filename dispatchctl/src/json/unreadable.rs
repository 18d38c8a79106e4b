//! Why a chain can't be read: in words, and as data for programs.

use libdispatch::{PinKind, RegistryFault, Unreadable};
use serde::Serialize;

/// All fields are always there; what a reason doesn't have is null.
#[derive(Default, Serialize)]
pub(super) struct UnreadableView<'a> {
    why: String,
    reason: &'static str,
    pin: Option<&'a str>,
    call: Option<&'a str>,
    errno: Option<i32>,
    program_id: Option<u32>,
    build: Option<u64>,
    found: Option<FoundView>,
    registry: Option<RegistryView>,
}

/// What is there instead.
#[derive(Default, Serialize)]
struct FoundView {
    kind: &'static str,
    /// `enum bpf_map_type`, `bpf_prog_type` or `bpf_link_type`.
    type_id: Option<u32>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
}

/// Why a registry doesn't say what the chain is.
#[derive(Default, Serialize)]
struct RegistryView {
    fault: &'static str,
    version: Option<u32>,
    reader: Option<u32>,
    option: Option<u32>,
    says_build: Option<u64>,
}

impl<'a> From<&'a Unreadable> for UnreadableView<'a> {
    fn from(unreadable: &'a Unreadable) -> Self {
        let view = Self {
            why: unreadable.to_string(),
            ..Self::default()
        };
        match unreadable {
            Unreadable::WrongKind { pin, found } => Self {
                reason: "wrong_kind",
                pin: Some(pin),
                found: Some(found.into()),
                ..view
            },
            Unreadable::Missing { pin } => Self {
                reason: "missing",
                pin: Some(pin),
                ..view
            },
            Unreadable::Failed { pin, call, errno } => Self {
                reason: "failed",
                pin: Some(pin),
                call: Some(call),
                errno: (*errno != 0).then_some(*errno),
                ..view
            },
            Unreadable::Registry { build, fault } => Self {
                reason: "registry",
                build: Some(*build),
                registry: Some(fault.into()),
                ..view
            },
            Unreadable::Held { pin, program_id } => Self {
                reason: "held",
                pin: Some(pin),
                program_id: Some(*program_id),
                ..view
            },
            Unreadable::TwoLinks => Self {
                reason: "two_links",
                ..view
            },
            Unreadable::Replaced { pin } => Self {
                reason: "replaced",
                pin: Some(pin),
                ..view
            },
            Unreadable::Unknown(_) | _ => Self {
                reason: "unknown",
                ..view
            },
        }
    }
}

impl From<&PinKind> for FoundView {
    fn from(found: &PinKind) -> Self {
        let of = |kind, type_id| Self {
            kind,
            type_id,
            ..Self::default()
        };
        match found {
            PinKind::Directory => of("directory", None),
            PinKind::Pin => of("pin", None),
            PinKind::Neither => of("neither", None),
            PinKind::Map {
                map_type,
                key_size,
                value_size,
                max_entries,
            } => Self {
                key_size: Some(*key_size),
                value_size: Some(*value_size),
                max_entries: Some(*max_entries),
                ..of("map", Some(*map_type))
            },
            PinKind::Program { program_type } => of("program", Some(*program_type)),
            PinKind::Link { link_type } => of("link", Some(*link_type)),
            PinKind::Unknown(_) | _ => of("unknown", None),
        }
    }
}

impl From<&RegistryFault> for RegistryView {
    fn from(fault: &RegistryFault) -> Self {
        let of = |fault| Self {
            fault,
            ..Self::default()
        };
        match fault {
            RegistryFault::NoRegistry => of("no_registry"),
            RegistryFault::TooNew { version, reader } => Self {
                version: Some(*version),
                reader: Some(*reader),
                ..of("too_new")
            },
            RegistryFault::TooOld { version } => Self {
                version: Some(*version),
                ..of("too_old")
            },
            RegistryFault::Truncated => of("truncated"),
            RegistryFault::Garbled => of("garbled"),
            RegistryFault::NotUnderstood { option } => Self {
                option: Some(*option),
                ..of("not_understood")
            },
            RegistryFault::Impossible => of("impossible"),
            RegistryFault::OtherBuild { says } => Self {
                says_build: Some(*says),
                ..of("other_build")
            },
            RegistryFault::Unknown(_) | _ => of("unknown"),
        }
    }
}
