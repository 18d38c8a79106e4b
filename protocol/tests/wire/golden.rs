//! The wire, frozen: `tests/golden.txt` has the bytes of one example of everything that can be said.
//!
//! A line that changes breaks every client that is already built. Until version 1 is frozen that
//! is allowed, on purpose: `GOLDEN=write cargo test -p protocol --test wire` writes the file anew.
//! Lines that only come in addition, after the others of their kind, break nobody.

use std::fmt::{Debug, Write as _};

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss, SlotCounters,
    VerdictMask,
};
use protocol::{
    BusyPoll, Chain, Change, Changed, CodecError, Configuration, EngineProbe, GlobalValue, Hello,
    Hook, MapShape, Member, MemberDetail, MemberState, NetNs, OpenSocket, Operation, Owner,
    Position, RefusalCode, Refused, Registered, Registration, Reply, ReplyBody, Request,
    RequestBody, Settings, Socket, SocketCounts, SocketDetail, SocketGrant, SocketMode,
    SocketOptions, SocketState, Source, Status, TailCall, Umem, UmemLayout, Welcome,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");

#[test]
fn the_wire_has_not_changed() {
    let now = golden();
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(PATH, &now).unwrap();
    }
    let frozen = std::fs::read_to_string(PATH).unwrap();
    assert!(
        frozen == now,
        "the wire has changed:\n{}\nIf that is meant: GOLDEN=write cargo test -p protocol --test wire",
        difference(&frozen, &now)
    );
}

#[test]
fn every_variant_is_in_the_documentation() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    for line in std::fs::read_to_string(PATH).unwrap().lines() {
        let (kind, rest) = line.split_once('/').unwrap();
        let variant = rest.split(' ').next().unwrap();
        let documented =
            page.contains(&format!("`{variant}`")) || page.contains(&format!("`{variant}("));
        assert!(
            documented || variant.starts_with(char::is_lowercase),
            "{kind}/{variant}"
        );
    }
}

fn difference(frozen: &str, now: &str) -> String {
    let mut text = String::new();
    for line in frozen
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line))
    {
        writeln!(text, "- {line}").unwrap();
    }
    for line in now
        .lines()
        .filter(|line| !frozen.lines().any(|other| other == *line))
    {
        writeln!(text, "+ {line}").unwrap();
    }
    text
}

/// `name bytes`, one line for each example.
fn golden() -> String {
    let mut lines = String::new();
    let id = 0x0102_0304;
    every(&mut lines, "request", &requests(), 8, |body| Request {
        id,
        body,
    });
    every(&mut lines, "reply", &replies(), 12, |body| Reply {
        id,
        body: Ok(body),
    });
    one(
        &mut lines,
        "reply/refused",
        &Reply {
            id,
            body: Err(refused()),
        },
    );
    every(&mut lines, "operation", &operations(), 0, |operation| {
        operation
    });
    every(&mut lines, "position", &positions(), 0, |position| position);
    every(&mut lines, "global", &globals(), 0, |value| value);
    every(&mut lines, "code", CODES, 0, |code| code);
    every(&mut lines, "hook", HOOKS, 0, |hook| hook);
    every(&mut lines, "state", STATES, 0, |state| state);
    every(&mut lines, "engine", Engine::ALL, 0, |word| word);
    every(&mut lines, "engine-choice", EngineChoice::ALL, 0, |word| {
        word
    });
    every(&mut lines, "mode", Mode::ALL, 0, |word| word);
    every(&mut lines, "mode-choice", ModeChoice::ALL, 0, |word| word);
    every(&mut lines, "lifetime", Lifetime::ALL, 0, |word| word);
    every(&mut lines, "final-verdict", FinalVerdict::ALL, 0, |word| {
        word
    });
    every(&mut lines, "on-miss", OnMiss::ALL, 0, |word| word);
    every(&mut lines, "grant", &grants(), 0, |grant| grant);
    every(&mut lines, "umem", &umems(), 0, |umem| umem);
    every(&mut lines, "socket-mode", SOCKET_MODES, 0, |mode| mode);
    every(&mut lines, "socket-state", SOCKET_STATES, 0, |state| state);
    one(&mut lines, "mask/pass", &VerdictMask::PASS);
    one(&mut lines, "mask/all", &VerdictMask::ALL);
    lines
}

/// One line for each variant of an enum, whose number stands at `offset` in the message.
fn every<Variant, Message>(
    lines: &mut String,
    kind: &str,
    examples: &[Variant],
    offset: usize,
    message: impl Fn(Variant) -> Message,
) where
    Variant: Clone + Debug,
    Message: Serialize + DeserializeOwned + Debug + PartialEq,
{
    for (index, example) in examples.iter().enumerate() {
        let debug = format!("{example:?}");
        let variant = debug.split([' ', '(']).next().unwrap();
        let bytes = one(
            lines,
            &format!("{kind}/{variant}"),
            &message(example.clone()),
        );
        assert_eq!(
            usize::from(bytes[offset]),
            index,
            "{kind}/{variant} is out of order"
        );
    }
    // Nobody forgets the variant that comes next.
    let mut next = vec![0; 256];
    next[offset] = u8::try_from(examples.len()).unwrap();
    let CodecError::Undecodable { reason } = protocol::decode::<Message>(&next).unwrap_err() else {
        panic!("{kind} has a variant without an example");
    };
    let end = format!("expected variant index 0 <= i < {}", examples.len());
    assert!(
        reason.ends_with(&end),
        "{kind} has a variant without an example: {reason}"
    );
}

fn one<Message>(lines: &mut String, name: &str, message: &Message) -> Vec<u8>
where
    Message: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let bytes = protocol::encode(message).unwrap();
    assert_eq!(&protocol::decode::<Message>(&bytes).unwrap(), message);
    write!(lines, "{name} ").unwrap();
    for byte in &bytes {
        write!(lines, "{byte:02x}").unwrap();
    }
    lines.push('\n');
    bytes
}

fn requests() -> [RequestBody; 12] {
    [
        RequestBody::Hello(Hello {
            lowest: 0,
            highest: 1,
            client: "stats 0.1".into(),
        }),
        RequestBody::PutObject,
        RequestBody::Change(Change {
            interface: "eth0".into(),
            expected_generation: Some(4),
            dry_run: true,
            mode: Some(ModeChoice::Native),
            operations: vec![Operation::UnregisterAll],
        }),
        RequestBody::List {
            interface: Some("eth0".into()),
        },
        RequestBody::Show {
            interface: "eth0".into(),
            name: "stats".into(),
        },
        RequestBody::Status,
        RequestBody::MapDescriptor {
            interface: "eth0".into(),
            name: "stats".into(),
            map: "COUNTS".into(),
        },
        RequestBody::Reclaim {
            interface: "eth0".into(),
            name: "stats".into(),
            token: [0xa5; 16],
        },
        RequestBody::OpenSocket(OpenSocket {
            interface: "eth0".into(),
            queue: 3,
            grant: SocketGrant::Bare,
            redirect: true,
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
    ]
}

fn grants() -> [SocketGrant; 2] {
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

fn umems() -> [Umem; 2] {
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

fn operations() -> [Operation; 8] {
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
        })),
        Operation::Unregister {
            name: "stats".into(),
        },
        Operation::UnregisterAll,
        Operation::Move {
            name: "stats".into(),
            to: Position::First,
        },
        Operation::Order {
            names: vec!["firewall".into(), "stats".into()],
        },
        Operation::Set {
            name: "stats".into(),
            settings: Settings {
                chain_call: Some(VerdictMask::NONE),
                allowed: Some(VerdictMask::ALL),
                on_miss: Some(OnMiss::Abort),
                lifetime: Some(Lifetime::Kept),
            },
        },
        Operation::Replace {
            name: "stats".into(),
            source: source(),
        },
        Operation::Configure(Configuration {
            final_verdict: Some(FinalVerdict::Last),
            counters: Some(true),
            engine: Some(EngineChoice::Tailcall),
            mode: Some(ModeChoice::Generic),
        }),
    ]
}

fn source() -> Source {
    Source {
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
    }
}

fn globals() -> [GlobalValue; 2] {
    [GlobalValue::Integer(-2), GlobalValue::Bytes(vec![1, 2, 3])]
}

fn positions() -> [Position; 5] {
    [
        Position::Priority(10),
        Position::First,
        Position::Last,
        Position::Before("stats".into()),
        Position::After("stats".into()),
    ]
}

fn replies() -> [ReplyBody; 12] {
    [
        ReplyBody::Welcome(Welcome {
            version: 0,
            daemon: "0.1.0".into(),
            features: vec!["freplace".into()],
        }),
        ReplyBody::Object { digest: [0xd1; 32] },
        ReplyBody::Changed(Changed {
            generation: 5,
            mode: Some(Mode::Native),
            notes: vec!["note".into()],
            members: vec![Registered {
                name: "stats".into(),
                id: 9,
                slot: 1,
                program_id: 77,
                engine: Engine::Tailcall,
                token: [0xa5; 16],
            }],
            plan: vec!["swap".into()],
            reloads: vec!["firewall".into()],
        }),
        ReplyBody::Chains(vec![Chain {
            interface: "eth0".into(),
            ifindex: 2,
            netns: NetNs {
                cookie: 1,
                name: Some("blue".into()),
            },
            mode: Mode::Generic,
            hook: Hook::Netlink,
            generation: 5,
            final_verdict: FinalVerdict::Pass,
            counters: true,
            frags: false,
            members: vec![member()],
        }]),
        ReplyBody::Member(Box::new(MemberDetail {
            member: member(),
            on_miss: OnMiss::Abort,
            tail_depth: 1,
            linger_ms: 30_000,
            share_group: Some("web".into()),
            maps: vec![map()],
            sockets: vec![socket()],
        })),
        ReplyBody::Status(Status {
            version: "0.1.0".into(),
            protocol: 0,
            uptime_s: 3600,
            freplace: EngineProbe {
                available: false,
                reason: Some("EINVAL".into()),
            },
            tailcall: EngineProbe {
                available: true,
                reason: None,
            },
            chains: 1,
            members: 2,
        }),
        ReplyBody::Map(map()),
        ReplyBody::Reclaimed,
        ReplyBody::Socket(Socket {
            ifindex: 2,
            queue: 3,
            token: [0xa5; 16],
            zero_copy: true,
        }),
        ReplyBody::SocketActivated {
            notes: vec!["note".into()],
        },
        ReplyBody::SocketClosed,
        ReplyBody::SocketReclaimed,
    ]
}

fn socket() -> SocketDetail {
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
    }
}

fn owner() -> Owner {
    Owner {
        uid: 1000,
        pid: 4321,
        client: "stats 0.1".into(),
    }
}

fn member() -> Member {
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
        engine: Engine::Freplace,
        engine_reason: Some("why".into()),
        state: MemberState::Lingering,
        owner: owner(),
        lifetime: Lifetime::Attached,
        sha256: Some([0xd1; 32]),
        packets: SlotCounters {
            counts: [1, 2, 3, 4, 5, 6, 7, 8, 9],
        },
    }
}

fn map() -> MapShape {
    MapShape {
        name: "COUNTS".into(),
        id: 12,
        map_type: 6,
        key_size: 4,
        value_size: 8,
        max_entries: 1024,
    }
}

fn refused() -> Refused {
    Refused {
        code: RefusalCode::Verifier,
        message: "refused by the verifier".into(),
        log: Some("R1 invalid mem access".into()),
    }
}

const HOOKS: &[Hook] = &[Hook::Link, Hook::Netlink];

const STATES: &[MemberState] = &[
    MemberState::Running,
    MemberState::Waiting,
    MemberState::Lingering,
    MemberState::Adopted,
];

const SOCKET_MODES: &[SocketMode] = &[SocketMode::Auto, SocketMode::Copy, SocketMode::ZeroCopy];

const SOCKET_STATES: &[SocketState] = &[
    SocketState::Opened,
    SocketState::Active,
    SocketState::Lingering,
];

/// Every code there is.
pub(crate) const CODES: &[RefusalCode] = &[
    RefusalCode::Version,
    RefusalCode::Malformed,
    RefusalCode::Descriptor,
    RefusalCode::TooLarge,
    RefusalCode::NotAllowed,
    RefusalCode::NotOwner,
    RefusalCode::Quota,
    RefusalCode::NoSuchInterface,
    RefusalCode::InterfaceBusy,
    RefusalCode::InterfaceGone,
    RefusalCode::Mode,
    RefusalCode::Generation,
    RefusalCode::NoSuchMember,
    RefusalCode::BadName,
    RefusalCode::NameTaken,
    RefusalCode::ChainFull,
    RefusalCode::TailCallBudget,
    RefusalCode::Conflict,
    RefusalCode::NoSuchObject,
    RefusalCode::NotAnObject,
    RefusalCode::NoSuchProgram,
    RefusalCode::AmbiguousProgram,
    RefusalCode::WrongProgramType,
    RefusalCode::Unsupported,
    RefusalCode::Helper,
    RefusalCode::Map,
    RefusalCode::Global,
    RefusalCode::Verifier,
    RefusalCode::Engine,
    RefusalCode::Claim,
    RefusalCode::Kernel,
    RefusalCode::Daemon,
    RefusalCode::QueueTaken,
    RefusalCode::NoSuchQueue,
    RefusalCode::NoSuchSocket,
];
