//! Chains that can't be read, in the wire's words.

use planner::{Kind, RegistryFault, Unreadable, Why};
use protocol::{Options, RefusalCode, Refused, Remedy};

use crate::kernel::Pins;

/// Why nothing is changed of an interface whose chain can't be read.
pub(crate) fn unreadable(interface: &str, chain: &Unreadable, pins: &Pins) -> Refused {
    let message = crate::unreadable::refusal(interface, chain, pins);
    let interface = interface.to_owned();
    super::refused(RefusalCode::InterfaceBusy, message).with_remedy(Remedy::Flush { interface })
}

/// A chain that can't be read, for a listing: what is known of it.
pub(crate) fn unreadable_view(chain: &Unreadable, pins: &Pins) -> protocol::Chain {
    let interface = chain.interface.as_ref();
    protocol::Chain {
        id: chain.id.map(|id| id.0),
        interface: name(chain),
        ifindex: chain.site.ifindex,
        netns: protocol::NetNs {
            cookie: chain.site.netns,
            name: interface.and_then(|found| found.netns_name.clone()),
        },
        mode: None,
        hook: None,
        attached: chain.is_attached,
        looked_ms_ago: None,
        hook_program: None,
        parked: false,
        revision: 0,
        build: 0,
        pending: None,
        pins: pins.chain(chain.dir).display().to_string(),
        unreadable: Some(why(&chain.why).into()),
        final_verdict: None,
        counters: false,
        frags: false,
        members: Vec::new(),
        options: Options::new(),
    }
}

/// What such a chain's interface is called: as its directory, if no name is known.
pub(super) fn name(chain: &Unreadable) -> String {
    let interface = chain.interface.as_ref();
    interface.map_or_else(|| chain.dir.to_string(), |found| found.name.clone())
}

/// Why a chain can't be read. Its `Display` has the words.
pub(crate) fn why(why: &Why) -> protocol::Unreadable {
    match why {
        Why::WrongKind { pin, found } => protocol::Unreadable::WrongKind {
            pin: pin.to_string(),
            found: kind(found).into(),
        },
        Why::Missing { pin } => protocol::Unreadable::Missing {
            pin: pin.to_string(),
        },
        Why::Failed { pin, call, errno } => protocol::Unreadable::Failed {
            pin: pin.to_string(),
            call: call.to_string(),
            errno: *errno,
        },
        Why::Registry { build, fault } => protocol::Unreadable::Registry {
            build: build.0,
            fault: registry_fault(fault).into(),
        },
        Why::Held { pin, program_id } => protocol::Unreadable::Held {
            pin: pin.to_string(),
            program_id: *program_id,
        },
        Why::TwoLinks => protocol::Unreadable::TwoLinks,
        Why::Replaced { pin } => protocol::Unreadable::Replaced {
            pin: pin.to_string(),
        },
    }
}

fn kind(kind: &Kind) -> protocol::PinKind {
    match *kind {
        Kind::Directory => protocol::PinKind::Directory,
        Kind::Pin => protocol::PinKind::Pin,
        Kind::Other => protocol::PinKind::Neither,
        Kind::Map {
            map_type,
            key_size,
            value_size,
            max_entries,
        } => protocol::PinKind::Map {
            map_type,
            key_size,
            value_size,
            max_entries,
        },
        Kind::Program { program_type } => protocol::PinKind::Program { program_type },
        Kind::Link { link_type } => protocol::PinKind::Link { link_type },
    }
}

fn registry_fault(fault: &RegistryFault) -> protocol::RegistryFault {
    match *fault {
        RegistryFault::NoRegistry => protocol::RegistryFault::NoRegistry,
        RegistryFault::TooNew { version, reader } => {
            protocol::RegistryFault::TooNew { version, reader }
        }
        RegistryFault::TooOld { version } => protocol::RegistryFault::TooOld { version },
        RegistryFault::Truncated => protocol::RegistryFault::Truncated,
        RegistryFault::Garbled => protocol::RegistryFault::Garbled,
        RegistryFault::Unknown { option } => protocol::RegistryFault::NotUnderstood { option },
        RegistryFault::Impossible => protocol::RegistryFault::Impossible,
        RegistryFault::OtherBuild { says } => protocol::RegistryFault::OtherBuild { says: says.0 },
    }
}
