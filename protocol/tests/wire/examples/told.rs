//! An example of everything that people are told.

use dispatcher_abi::{Engine, FinalVerdict, Mode};
use protocol::{
    ChainName, EngineReason, GoneWhy, Note, PinKind, ProbeReason, Push, RegistryFault, Remedy,
    Step, Unreadable, Warning,
};

pub(crate) fn notes() -> [Note; 4] {
    [
        Note::RunsByTailCall {
            member: "stats".into(),
            reason: EngineReason::NoTypes.into(),
        },
        Note::NoNativeMode {
            interface: "eth0".into(),
            error: "Operation not supported".into(),
        },
        Note::NoNativeFrags {
            interface: "eth0".into(),
            members: vec!["stats".into()],
        },
        Note::ObjectNotKept {
            error: "No space left on device".into(),
        },
    ]
}

pub(crate) fn probe_reasons() -> [ProbeReason; 2] {
    [
        ProbeReason::TurnedOff,
        ProbeReason::Failed {
            error: "EINVAL".into(),
        },
    ]
}

pub(crate) fn steps() -> [Step; 15] {
    let interface = || "eth0".to_owned();
    let member = || "stats".to_owned();
    [
        Step::PinCode {
            member: member(),
            code: 2,
            reloaded: true,
        },
        Step::BuildRoot {
            build: 7,
            root: "dispatcher".into(),
            slots: 2,
            final_verdict: FinalVerdict::Last,
            counters: true,
            frags: false,
        },
        Step::FillSlot {
            slot: 1,
            member: member(),
            engine: Engine::Tailcall,
        },
        Step::WriteRegistry { build: 7 },
        Step::Attach {
            build: 7,
            interface: interface(),
            mode: Mode::Native,
        },
        Step::Swap {
            interface: interface(),
            from: 6,
            to: 7,
        },
        Step::Reattach {
            interface: interface(),
            from: 6,
            to: 7,
            old_mode: Mode::Native,
            mode: Mode::Generic,
        },
        Step::Detach {
            build: 6,
            interface: interface(),
        },
        Step::ReplaceRegistry {
            build: 6,
            interface: interface(),
        },
        Step::Grace,
        Step::FoldCounters {
            build: 6,
            members: vec![member()],
        },
        Step::RetireBuild { build: 6 },
        Step::RemoveCode {
            member: member(),
            code: 1,
        },
        Step::RemoveMember { member: member() },
        Step::RemoveChain {
            interface: interface(),
        },
    ]
}

pub(crate) fn unreadables() -> [Unreadable; 7] {
    let pin = || "gen-6/counters".to_owned();
    [
        Unreadable::WrongKind {
            pin: pin(),
            found: pin_kinds()[3].clone().into(),
        },
        Unreadable::Missing { pin: pin() },
        Unreadable::Failed {
            pin: pin(),
            call: "BPF_OBJ_GET".into(),
            errno: 1,
        },
        Unreadable::Registry {
            build: 6,
            fault: registry_faults()[1].clone().into(),
        },
        Unreadable::Held {
            pin: "link".into(),
            program_id: 77,
        },
        Unreadable::TwoLinks,
        Unreadable::Replaced { pin: pin() },
    ]
}

pub(crate) fn pin_kinds() -> [PinKind; 6] {
    [
        PinKind::Directory,
        PinKind::Pin,
        PinKind::Neither,
        PinKind::Map {
            map_type: 6,
            key_size: 4,
            value_size: 80,
            max_entries: 1,
        },
        PinKind::Program { program_type: 6 },
        PinKind::Link { link_type: 6 },
    ]
}

pub(crate) fn registry_faults() -> [RegistryFault; 8] {
    [
        RegistryFault::NoRegistry,
        RegistryFault::TooNew {
            version: 9,
            reader: 4,
        },
        RegistryFault::TooOld { version: 1 },
        RegistryFault::Truncated,
        RegistryFault::Garbled,
        RegistryFault::NotUnderstood { option: 77 },
        RegistryFault::Impossible,
        RegistryFault::OtherBuild { says: 5 },
    ]
}

pub(crate) fn warnings() -> [Warning; 4] {
    [
        Warning::NotAttached {
            chain: 6,
            interface: "eth0".into(),
        },
        Warning::ChainUnreadable {
            chain: Some(6),
            interface: "eth0".into(),
            pins: "/sys/fs/bpf/dispatchd/1-2".into(),
            why: Unreadable::TwoLinks.into(),
        },
        Warning::ObjectMissing {
            interface: "eth0".into(),
            member: "stats".into(),
        },
        Warning::HookTaken {
            chain: 6,
            interface: "eth0".into(),
            program_id: 4711,
            program: "rival".into(),
        },
    ]
}

pub(crate) fn remedies() -> [Remedy; 12] {
    [
        Remedy::AllowUser,
        Remedy::AllowLoad { uid: 1000 },
        Remedy::AllowBare { uid: 1000 },
        Remedy::BareSocket,
        Remedy::MoreSockets,
        Remedy::MoreMemory,
        Remedy::ChangeMode {
            interface: "eth0".into(),
            mode: Mode::Generic,
        },
        Remedy::SeeStatus,
        Remedy::TryAgain,
        Remedy::GiveMapSize {
            map: "RULES".into(),
        },
        Remedy::Flush {
            interface: "eth0".into(),
        },
        Remedy::CloseConnections,
    ]
}

pub(crate) fn pushes() -> [Push; 7] {
    let chain = || ChainName {
        id: Some(6),
        interface: "eth0".into(),
        ifindex: 2,
    };
    [
        Push::Changed {
            chain: chain(),
            revision: 5,
            build: 7,
        },
        Push::Gone { chain: chain() },
        Push::MemberGone {
            chain: chain(),
            member: 9,
            name: "stats".into(),
            why: GoneWhy::Expired,
        },
        Push::Waiting {
            chain: chain(),
            hook_program: None,
        },
        Push::Attached { chain: chain() },
        Push::Unreadable {
            chain: chain(),
            why: Unreadable::TwoLinks.into(),
        },
        Push::Lost { count: 12 },
    ]
}
