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
    BuiltInSource, BusyPoll, Chain, Change, Changed, CodecError, Configuration, EngineProbe,
    EngineReason, Form, GlobalValue, GoneWhy, Hello, Hook, HookProgram, LoadedSource, MapShape,
    Member, MemberDetail, MemberState, Message, NetNs, ObjectSource, OpenSocket, Operation,
    OptionKey, Options, Origin, Owner, Pending, Pins, Position, RefusalCode, Refused, Registered,
    Registration, Reply, ReplyBody, Request, RequestBody, Settings, Socket, SocketCounts,
    SocketDetail, SocketGrant, SocketMode, SocketOptions, SocketState, Source, Status, Step,
    TailCall, Umem, UmemLayout, Unreadable, Variants, Welcome,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::examples::{notes, probe_reasons, pushes, remedies, steps, unreadables, warnings};

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
    every(&mut lines, "request", &requests(), 8, |body| {
        Whole(Request { id, body })
    });
    every(&mut lines, "reply", &replies(), 12, |body| {
        Whole(Reply { id, body: Ok(body) })
    });
    for (name, body) in [
        ("reply/refused", refused()),
        (
            "reply/refused-with-remedy",
            refused().with_remedy(remedies()[6].clone()),
        ),
    ] {
        let body = Err(body);
        one(&mut lines, name, &Whole(Reply { id, body }));
    }
    greetings_with_options(&mut lines, id);
    one(&mut lines, "options/two", &options());
    every(&mut lines, "operation", &operations(), 0, |operation| {
        operation
    });
    every(&mut lines, "position", &positions(), 0, |position| position);
    every(&mut lines, "global", &globals(), 0, |value| value);
    every(&mut lines, "source", &sources(), 0, |source| source);
    codes(&mut lines);
    open(&mut lines, "note", &notes());
    open(&mut lines, "step", &steps());
    open(&mut lines, "engine-reason", ENGINE_REASONS);
    open(&mut lines, "probe-reason", &probe_reasons());
    open(&mut lines, "unreadable", &unreadables());
    open(&mut lines, "warning", &warnings());
    open(&mut lines, "remedy", &remedies());
    open(&mut lines, "push", &pushes());
    every(&mut lines, "gone", GONE, 0, |why| why);
    every(&mut lines, "origin", ORIGINS, 0, |origin| origin);
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

/// A message, or a part of one, as bytes and back.
pub(crate) trait Sent: Sized {
    fn bytes(&self) -> Vec<u8>;
    fn sent(bytes: &[u8]) -> Result<Self, CodecError>;
}

impl<T: Serialize + DeserializeOwned> Sent for T {
    fn bytes(&self) -> Vec<u8> {
        protocol::encode_part(self).unwrap()
    }

    fn sent(bytes: &[u8]) -> Result<Self, CodecError> {
        protocol::decode_part(bytes)
    }
}

/// A whole message: options may stand at its end.
#[derive(Debug, PartialEq)]
struct Whole<T>(T);

impl<T: Message> Sent for Whole<T> {
    fn bytes(&self) -> Vec<u8> {
        protocol::encode(&self.0).unwrap()
    }

    fn sent(bytes: &[u8]) -> Result<Self, CodecError> {
        protocol::decode(bytes).map(Whole)
    }
}

/// Codes, which may come from a later version.
fn codes(lines: &mut String) {
    for (index, code) in RefusalCode::ALL.iter().enumerate() {
        let bytes = one(lines, &format!("code/{code:?}"), code);
        assert_eq!(usize::from(bytes[0]), index, "{code:?} is out of order");
    }
    let next = u8::try_from(RefusalCode::ALL.len()).unwrap();
    let unknown = RefusalCode::sent(&[next, 0, 0, 0]).unwrap();
    assert_eq!(unknown, RefusalCode::Unknown(next.into()));
}

/// An enum that travels with its length: a variant that comes later is skipped.
fn open<Variant>(lines: &mut String, kind: &str, examples: &[Variant])
where
    Variant: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Variants,
{
    let count = usize::try_from(Variant::COUNT).unwrap();
    assert_eq!(count, examples.len(), "{kind}");
    every(lines, kind, examples, 8, protocol::Open::Known);
    let later = [
        &8_u64.to_le_bytes()[..],
        &Variant::COUNT.to_le_bytes(),
        &[1; 4],
    ]
    .concat();
    let protocol::Open::Unknown(unknown) = protocol::Open::<Variant>::sent(&later).unwrap() else {
        panic!("{kind} has a variant that isn't counted");
    };
    assert_eq!(unknown.number(), Variant::COUNT);
    let again = protocol::Open::<Variant>::Unknown(unknown).bytes();
    assert_eq!(
        again, later,
        "{kind}: what isn't known is passed on as it is"
    );
}

/// The greetings have their options behind everything, if they have any.
fn greetings_with_options(lines: &mut String, id: u64) {
    let hello = Hello {
        lowest: 1,
        highest: 1,
        client: "stats 0.1".into(),
        options: options(),
    };
    let body = RequestBody::Hello(hello);
    one(
        lines,
        "request/hello-with-options",
        &Whole(Request { id, body }),
    );
    let welcome = Welcome {
        version: 1,
        daemon: "0.1.0".into(),
        features: Vec::new(),
        options: options(),
    };
    let body = Ok(ReplyBody::Welcome(welcome));
    one(
        lines,
        "reply/welcome-with-options",
        &Whole(Reply { id, body }),
    );
}

pub(crate) fn options() -> Options {
    let mut options = Options::new();
    options
        .set(OptionKey::<u32>::required(7), &0x0102_0304)
        .unwrap();
    options
        .set(OptionKey::<String>::optional(3), &"tap".to_owned())
        .unwrap();
    options
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
    Message: Sent + Debug + PartialEq,
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
    if offset == 8 && !kind.starts_with("request") {
        return;
    }
    // Nobody forgets the variant that comes next.
    let mut next = vec![0; 256];
    next[offset] = u8::try_from(examples.len()).unwrap();
    let CodecError::Undecodable { reason } = Message::sent(&next).unwrap_err() else {
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
    Message: Sent + Debug + PartialEq,
{
    let bytes = message.bytes();
    assert_eq!(&Message::sent(&bytes).unwrap(), message);
    write!(lines, "{name} ").unwrap();
    for byte in &bytes {
        write!(lines, "{byte:02x}").unwrap();
    }
    lines.push('\n');
    bytes
}

fn requests() -> [RequestBody; 14] {
    [
        RequestBody::Hello(Hello {
            lowest: 0,
            highest: 1,
            client: "stats 0.1".into(),
            options: Options::new(),
        }),
        RequestBody::PutObject,
        RequestBody::Change(Change {
            interface: "eth0".into(),
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
            interface: "eth0".into(),
            name: "stats".into(),
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
            token: [0xa5; 16],
            options: Options::new(),
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
                options: Options::new(),
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
            options: Options::new(),
        }),
    ]
}

fn source() -> Source {
    let [object, ..] = sources();
    object
}

fn sources() -> [Source; 3] {
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

fn replies() -> [ReplyBody; 15] {
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
            id: 6,
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
            unreadable: Some(Unreadable::BrokenRegistry.into()),
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
        options: Options::new(),
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
    Refused::new(RefusalCode::Verifier, "refused by the verifier")
        .with_log(Some("R1 invalid mem access".into()))
}

const HOOKS: &[Hook] = &[Hook::Link, Hook::Netlink];

const STATES: &[MemberState] = &[
    MemberState::Running,
    MemberState::Waiting,
    MemberState::Lingering,
];

const ORIGINS: &[Origin] = &[
    Origin::Object,
    Origin::Loaded,
    Origin::Adopted,
    Origin::BuiltIn,
];

const GONE: &[GoneWhy] = &[GoneWhy::Removed, GoneWhy::Expired, GoneWhy::InterfaceGone];

const ENGINE_REASONS: &[EngineReason] = &[
    EngineReason::NoTypes,
    EngineReason::Prototype,
    EngineReason::Refused,
];

const SOCKET_MODES: &[SocketMode] = &[SocketMode::Auto, SocketMode::Copy, SocketMode::ZeroCopy];

const SOCKET_STATES: &[SocketState] = &[
    SocketState::Opened,
    SocketState::Active,
    SocketState::Lingering,
];

fn form() -> Form {
    Form {
        engine: Engine::Tailcall,
        attach_type: protocol::ATTACH_TYPE_XDP,
        frags: true,
    }
}

fn hook_program() -> HookProgram {
    HookProgram {
        id: 4711,
        name: "rival".into(),
    }
}
