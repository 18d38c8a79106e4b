//! An example of everything that is answered.

use dispatcher_abi::{Engine, FinalVerdict, Lifetime, Mode, OnMiss, SlotCounters, VerdictMask};
use protocol::{
    Chain, Changed, EngineProbe, EngineReason, Form, GoneWhy, Hook, HookProgram, MapShape, Member,
    MemberDetail, MemberState, NetNs, Options, Origin, Owner, Pending, Pins, RefusalCode, Refused,
    Registered, ReplyBody, Socket, SocketCounts, SocketDetail, SocketMode, SocketState, Status,
    Step, Unreadable, Welcome,
};

use super::told::{notes, probe_reasons, pushes, warnings};

pub(crate) fn replies() -> [ReplyBody; 15] {
    [
        ReplyBody::Welcome(Welcome {
            version: 0,
            daemon: "0.1.0".into(),
            features: vec!["freplace".into()],
            options: Options::new(),
        }),
        ReplyBody::Object { digest: [0xd1; 32] },
        ReplyBody::Changed(Changed {
            chain: 6,
            revision: 5,
            build: 7,
            mode: Some(Mode::Native),
            notes: vec![notes()[3].clone().into()],
            members: vec![Registered {
                name: "stats".into(),
                id: 9,
                slot: 1,
                program_id: 77,
                form: form(),
                taken_up: true,
            }],
            plan: vec![Step::Grace.into()],
            reloads: vec!["firewall".into()],
            options: Options::new(),
        }),
        ReplyBody::Chains(vec![Chain {
            id: Some(6),
            interface: "eth0".into(),
            ifindex: 2,
            netns: NetNs {
                cookie: 1,
                name: Some("blue".into()),
            },
            mode: Some(Mode::Generic),
            hook: Some(Hook::Netlink),
            attached: false,
            looked_ms_ago: Some(40),
            hook_program: Some(hook_program()),
            parked: true,
            revision: 5,
            build: 7,
            pending: Some(Pending {
                deadline_s: 60,
                reverts_to: 4,
            }),
            pins: "/sys/fs/bpf/dispatchd/1-2".into(),
            unreadable: Some(Unreadable::TwoLinks.into()),
            final_verdict: Some(FinalVerdict::Pass),
            counters: true,
            frags: false,
            members: vec![member()],
            options: Options::new(),
        }]),
        ReplyBody::Member(Box::new(MemberDetail {
            member: member(),
            on_miss: OnMiss::Abort,
            tail_depth: 1,
            linger_ms: 30_000,
            share_group: Some("web".into()),
            maps: vec![map()],
            sockets: vec![socket()],
            options: Options::new(),
        })),
        ReplyBody::Status(Status {
            version: "0.1.0".into(),
            protocol: 1,
            uptime_s: 3600,
            freplace: EngineProbe {
                available: false,
                reason: Some(probe_reasons()[1].clone().into()),
            },
            tailcall: EngineProbe {
                available: true,
                reason: None,
            },
            chains: 1,
            members: 2,
            warnings: vec![warnings()[0].clone().into()],
            options: Options::new(),
        }),
        ReplyBody::Map(map()),
        ReplyBody::Reclaimed,
        ReplyBody::Socket(Socket {
            ifindex: 2,
            queue: 3,
            zero_copy: true,
        }),
        ReplyBody::SocketActivated {
            notes: vec![notes()[0].clone().into()],
        },
        ReplyBody::SocketClosed,
        ReplyBody::SocketReclaimed,
        ReplyBody::Subscribed,
        ReplyBody::Unsubscribed,
        ReplyBody::Push(pushes()[0].clone().into()),
    ]
}

pub(crate) fn socket() -> SocketDetail {
    SocketDetail {
        queue: 3,
        owner: owner(),
        state: SocketState::Active,
        zero_copy: false,
        bytes: 16 << 20,
        counts: Some(SocketCounts {
            rx_dropped: 1,
            rx_invalid_descs: 2,
            tx_invalid_descs: 3,
            rx_ring_full: 4,
            rx_fill_ring_empty_descs: 5,
            tx_ring_empty_descs: 6,
        }),
        options: Options::new(),
    }
}

pub(crate) fn owner() -> Owner {
    Owner {
        uid: 1000,
        pid: 4321,
        client: "stats 0.1".into(),
    }
}

pub(crate) fn member() -> Member {
    Member {
        slot: Some(1),
        id: 9,
        name: "stats".into(),
        program: "count".into(),
        program_id: Some(77),
        priority: 50,
        requested_priority: 40,
        chain_call: VerdictMask::PASS,
        allowed: VerdictMask::ALL,
        form: form(),
        engine_reason: Some(EngineReason::Prototype.into()),
        state: MemberState::Lingering,
        owner: owner(),
        lifetime: Lifetime::Attached,
        origin: Origin::BuiltIn,
        sha256: Some([0xd1; 32]),
        pins: Some(Pins {
            program: "/sys/fs/bpf/p".into(),
            maps: "/sys/fs/bpf/m".into(),
        }),
        packets: SlotCounters {
            counts: [1, 2, 3, 4, 5, 6, 7, 8, 9],
        },
        ns_per_packet: Some(31),
        options: Options::new(),
    }
}

pub(crate) fn map() -> MapShape {
    MapShape {
        name: "COUNTS".into(),
        id: 12,
        map_type: 6,
        key_size: 4,
        value_size: 8,
        max_entries: 1024,
    }
}

pub(crate) fn refused() -> Refused {
    Refused::new(RefusalCode::Verifier, "refused by the verifier")
        .with_log(Some("R1 invalid mem access".into()))
}

pub(crate) const HOOKS: &[Hook] = &[Hook::Link, Hook::Netlink];

pub(crate) const STATES: &[MemberState] = &[
    MemberState::Running,
    MemberState::Waiting,
    MemberState::Lingering,
];

pub(crate) const ORIGINS: &[Origin] = &[
    Origin::Object,
    Origin::Loaded,
    Origin::Adopted,
    Origin::BuiltIn,
];

pub(crate) const GONE: &[GoneWhy] = &[GoneWhy::Removed, GoneWhy::Expired, GoneWhy::InterfaceGone];

pub(crate) const ENGINE_REASONS: &[EngineReason] = &[
    EngineReason::NoTypes,
    EngineReason::Prototype,
    EngineReason::Refused,
    EngineReason::Untrusted,
    EngineReason::Other,
];

pub(crate) const SOCKET_MODES: &[SocketMode] =
    &[SocketMode::Auto, SocketMode::Copy, SocketMode::ZeroCopy];

pub(crate) const SOCKET_STATES: &[SocketState] = &[
    SocketState::Opened,
    SocketState::Active,
    SocketState::Lingering,
];

pub(crate) fn form() -> Form {
    Form {
        engine: Engine::Tailcall,
        attach_type: protocol::ATTACH_TYPE_XDP,
        frags: true,
    }
}

pub(crate) fn hook_program() -> HookProgram {
    HookProgram {
        id: 4711,
        name: "rival".into(),
    }
}
