//! An example of everything that is asked.

use dispatcher_abi::{EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, VerdictMask};
use protocol::{
    BuiltInSource, BusyPoll, Change, Configuration, GlobalValue, Hello, LoadedSource, MemberRef,
    ObjectSource, OpenSocket, Operation, Options, Position, Registration, RequestBody, Settings,
    SocketGrant, SocketMode, SocketOptions, Source, TailCall, Umem, UmemLayout,
};

use crate::golden::options;

pub(crate) fn requests() -> [RequestBody; 14] {
    [
        RequestBody::Hello(Hello {
            lowest: 0,
            highest: 1,
            client: "stats 0.1".into(),
            options: Options::new(),
        }),
        RequestBody::PutObject,
        RequestBody::Change(Change {
            interface: Some("eth0".into()),
            expected_revision: Some(4),
            dry_run: true,
            mode: Some(ModeChoice::Native),
            operations: vec![Operation::UnregisterAll],
            options: options(),
        }),
        RequestBody::List {
            interface: Some("eth0".into()),
        },
        RequestBody::Show {
            interface: Some("eth0".into()),
            member: "stats".into(),
        },
        RequestBody::Status,
        RequestBody::MapDescriptor {
            member: 9,
            map: "COUNTS".into(),
        },
        RequestBody::Reclaim {
            member: 9,
            token: [0xa5; 16],
        },
        RequestBody::OpenSocket(OpenSocket {
            interface: "eth0".into(),
            queue: 3,
            grant: SocketGrant::Bare,
            redirect: true,
            token: [0xa5; 16],
            options: Options::new(),
        }),
        RequestBody::ActivateSocket {
            interface: "eth0".into(),
            queue: 3,
            token: [0xa5; 16],
        },
        RequestBody::CloseSocket {
            interface: "eth0".into(),
            queue: 3,
            token: [0xa5; 16],
        },
        RequestBody::ReclaimSocket {
            interface: "eth0".into(),
            queue: 3,
            token: [0xa5; 16],
        },
        RequestBody::Subscribe {
            interface: Some("eth0".into()),
        },
        RequestBody::Unsubscribe,
    ]
}

pub(crate) fn grants() -> [SocketGrant; 2] {
    let [umem, _] = umems();
    [
        SocketGrant::Bound(SocketOptions {
            umem,
            fill: 2048,
            completion: 1024,
            rx: 512,
            tx: 256,
            mode: SocketMode::Copy,
            need_wakeup: true,
            multi_buffer: false,
            busy_poll: Some(BusyPoll {
                timeout_us: 20,
                budget: 64,
            }),
        }),
        SocketGrant::Bare,
    ]
}

pub(crate) fn umems() -> [Umem; 2] {
    [
        Umem::Own(UmemLayout {
            frame_size: 2048,
            headroom: 128,
            unaligned: true,
            tx_metadata_len: 16,
            software_checksum: true,
        }),
        Umem::Shared { token: [0xa5; 16] },
    ]
}

pub(crate) fn operations() -> [Operation; 8] {
    [
        Operation::Register(Box::new(Registration {
            name: Some("stats".into()),
            source: source(),
            priority: Some(50),
            chain_call: Some(VerdictMask::PASS),
            allowed: None,
            on_miss: OnMiss::Continue,
            lifetime: Lifetime::Kept,
            linger_ms: 30_000,
            engine: EngineChoice::Auto,
            tail_depth: Some(1),
            share_group: Some("web".into()),
            token: [0xa5; 16],
            options: Options::new(),
        })),
        Operation::Unregister {
            member: "stats".into(),
        },
        Operation::UnregisterAll,
        Operation::Move {
            member: MemberRef::Id(9).into(),
            to: Position::First,
        },
        Operation::Order {
            names: vec!["firewall".into(), "stats".into()],
        },
        Operation::Set {
            member: "stats".into(),
            settings: Settings {
                chain_call: Some(VerdictMask::NONE),
                allowed: Some(VerdictMask::ALL),
                on_miss: Some(OnMiss::Abort),
                lifetime: Some(Lifetime::Kept),
                options: Options::new(),
            },
        },
        Operation::Replace {
            member: "stats".into(),
            source: source(),
        },
        Operation::Configure(Configuration {
            final_verdict: Some(FinalVerdict::Last),
            counters: Some(true),
            engine: Some(EngineChoice::Tailcall),
            mode: Some(ModeChoice::Generic),
            options: Options::new(),
        }),
    ]
}

pub(crate) fn source() -> Source {
    let [object, ..] = sources();
    object
}

pub(crate) fn sources() -> [Source; 3] {
    let object = Source::Object(ObjectSource {
        object: [0xd1; 32],
        program: Some("count".into()),
        map_sizes: vec![("COUNTS".into(), 1024)],
        globals: globals().map(|value| ("LIMIT".into(), value)).into(),
        tail_calls: vec![TailCall {
            map: "NEXT".into(),
            index: 3,
            program: "parse".into(),
        }],
        frags: true,
        options: Options::new(),
    });
    let loaded = Source::Loaded(LoadedSource {
        program_id: 77,
        options: Options::new(),
    });
    let built_in = Source::BuiltIn(BuiltInSource {
        name: "pass".into(),
        options: Options::new(),
    });
    [object, loaded, built_in]
}

pub(crate) fn globals() -> [GlobalValue; 2] {
    [GlobalValue::Integer(-2), GlobalValue::Bytes(vec![1, 2, 3])]
}

pub(crate) fn members() -> [MemberRef; 2] {
    [MemberRef::Name("stats".into()), MemberRef::Id(9)]
}

pub(crate) fn positions() -> [Position; 5] {
    [
        Position::Priority(10),
        Position::First,
        Position::Last,
        Position::Before("stats".into()),
        Position::After("stats".into()),
    ]
}
