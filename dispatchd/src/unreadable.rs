//! What is said of a chain's pins, in the log and to whoever wants the chain changed.

use planner::{Kind, Mend, RegistryFault, Unreadable, Why};

/// What is wrong with a chain that is left alone.
pub(crate) fn why(why: &Why) -> String {
    match why {
        Why::WrongKind { pin, found } => format!("{pin} is {}", kind(found)),
        Why::Missing { pin } => format!("{pin} is missing"),
        Why::Failed { pin, call, errno } => {
            let error = std::io::Error::from_raw_os_error(*errno);
            format!("{pin} can't be read: {call}: {error}")
        }
        Why::Registry { build, fault } => format!("gen-{build}/registry {}", registry(fault)),
        Why::Held { pin, program_id } => {
            format!("{pin} holds program {program_id}, which is no root of this chain")
        }
        Why::TwoLinks => "link and link-next hold a hook each".to_owned(),
        Why::Replaced { pin } => format!("something else was pinned at {pin}"),
    }
}

/// Why a change of an interface is refused that runs such a chain, and the way out.
pub(crate) fn refusal(interface: &str, chain: &Unreadable) -> String {
    format!(
        "interface {interface} runs a chain that can't be read: {} (below {} of the pins' \
         directory); it runs on and is not changed. To take it off the interface, stop dispatchd and \
         run `dispatchd --flush {interface}` in the interface's network namespace",
        why(&chain.why),
        chain.dir,
    )
}

/// What is mended.
pub(crate) fn mend(mend: &Mend) -> String {
    match mend {
        Mend::PlaceLink => "its link was not in its place yet".to_owned(),
        Mend::DropNextLink => "a link that holds no hook was left beside its own".to_owned(),
        Mend::DropNextRegistry { .. } => {
            "a registry was left that never came into force".to_owned()
        }
        Mend::DropNextTotals { member } => {
            format!("totals of member {member} were left that never came into force")
        }
        Mend::NewTotals { member } => format!(
            "the totals of member {member} are gone: what it counted before the running build is \
             lost, and its counts begin anew"
        ),
        Mend::Repin => "pins of its root are gone; the kernel still has what they held".to_owned(),
        Mend::FillSlot { slot, .. } => format!("slot {slot} of its program array was emptied"),
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Directory => "a directory".to_owned(),
        Kind::Pin => "a pin, and no directory".to_owned(),
        Kind::Other => "neither a directory nor a pin of the daemon's".to_owned(),
        Kind::Map {
            map_type,
            key_size,
            value_size,
            max_entries,
        } => format!(
            "a map of another kind (type {map_type}, keys of {key_size} bytes, values of \
             {value_size}, {max_entries} entries)"
        ),
        Kind::Program { program_type } => format!("a program (type {program_type})"),
        Kind::Link { link_type } => format!("a link (type {link_type})"),
    }
}

fn registry(fault: &RegistryFault) -> String {
    match fault {
        RegistryFault::NoRegistry => "is no registry".to_owned(),
        RegistryFault::TooNew { version, reader } => format!(
            "was written by a later version of dispatchd (format {version}, which takes a reader of \
             format {reader})"
        ),
        RegistryFault::TooOld { version } => {
            format!("was written in format {version}, which no release had")
        }
        RegistryFault::Truncated => "is cut short".to_owned(),
        RegistryFault::Garbled => "can't be decoded".to_owned(),
        RegistryFault::Unknown { option } => format!(
            "was written by a later version of dispatchd: option {option} has to be understood"
        ),
        RegistryFault::Impossible => "says what can't be".to_owned(),
        RegistryFault::OtherBuild { says } => format!("is that of build {says}"),
    }
}
