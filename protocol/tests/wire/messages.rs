//! Arbitrary requests.

use dispatcher_abi::{EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, VerdictMask};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::{
    BuiltInSource, BusyPoll, Change, Configuration, GlobalValue, Hello, LoadedSource, MemberRef,
    NAME_BYTES_MAX, ObjectSource, Open, OpenSocket, Operation, Position, Registration, Request,
    RequestBody, Settings, SocketGrant, SocketMode, SocketOptions, Source, TailCall, Umem,
    UmemLayout,
};

use crate::options::any_options;

pub(crate) fn request() -> impl Strategy<Value = Request> {
    (any::<u64>(), request_body()).prop_map(|(id, body)| Request { id, body })
}

fn request_body() -> impl Strategy<Value = RequestBody> {
    prop_oneof![
        (any::<u16>(), any::<u16>(), text(), any_options()).prop_map(
            |(lowest, highest, client, options)| {
                RequestBody::Hello(Hello {
                    lowest,
                    highest,
                    client,
                    options,
                })
            }
        ),
        Just(RequestBody::PutObject),
        change().prop_map(RequestBody::Change),
        option::of(text()).prop_map(|interface| RequestBody::List { interface }),
        (option::of(text()), member())
            .prop_map(|(interface, member)| RequestBody::Show { interface, member }),
        Just(RequestBody::Status),
        (any::<u64>(), text()).prop_map(|(member, map)| RequestBody::MapDescriptor { member, map }),
        (any::<u64>(), any::<[u8; 16]>())
            .prop_map(|(member, token)| RequestBody::Reclaim { member, token }),
        option::of(text()).prop_map(|interface| RequestBody::Subscribe { interface }),
        Just(RequestBody::Unsubscribe),
        open_socket().prop_map(RequestBody::OpenSocket),
        (text(), any::<u32>(), any::<[u8; 16]>(), 0..3_u8).prop_map(
            |(interface, queue, token, which)| match which {
                0 => RequestBody::ActivateSocket {
                    interface,
                    queue,
                    token,
                },
                1 => RequestBody::CloseSocket {
                    interface,
                    queue,
                    token,
                },
                _ => RequestBody::ReclaimSocket {
                    interface,
                    queue,
                    token,
                },
            }
        ),
    ]
}

fn open_socket() -> impl Strategy<Value = OpenSocket> {
    let grant = prop_oneof![
        Just(SocketGrant::Bare),
        socket_options().prop_map(SocketGrant::Bound)
    ];
    let named = (any::<[u8; 16]>(), any_options());
    (text(), any::<u32>(), grant, any::<bool>(), named).prop_map(
        |(interface, queue, grant, redirect, (token, options))| OpenSocket {
            interface,
            queue,
            grant,
            redirect,
            token,
            options,
        },
    )
}

fn socket_options() -> impl Strategy<Value = SocketOptions> {
    let mode = select(vec![
        SocketMode::Auto,
        SocketMode::Copy,
        SocketMode::ZeroCopy,
    ]);
    let busy_poll = any::<Option<(u32, u16)>>();
    (
        umem(),
        any::<[u32; 4]>(),
        mode,
        any::<[bool; 2]>(),
        busy_poll,
    )
        .prop_map(
            |(umem, rings, mode, [need_wakeup, multi_buffer], busy_poll)| SocketOptions {
                umem,
                fill: rings[0],
                completion: rings[1],
                rx: rings[2],
                tx: rings[3],
                mode,
                need_wakeup,
                multi_buffer,
                busy_poll: busy_poll.map(|(timeout_us, budget)| BusyPoll { timeout_us, budget }),
            },
        )
}

fn umem() -> impl Strategy<Value = Umem> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|token| Umem::Shared { token }),
        (any::<[u32; 3]>(), any::<[bool; 2]>()).prop_map(
            |(sizes, [unaligned, software_checksum])| Umem::Own(UmemLayout {
                frame_size: sizes[0],
                headroom: sizes[1],
                unaligned,
                tx_metadata_len: sizes[2],
                software_checksum,
            })
        ),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    (
        option::of(text()),
        any::<Option<u64>>(),
        any::<bool>(),
        option::of(select(ModeChoice::ALL)),
        vec(operation(), 0..5),
        any_options(),
    )
        .prop_map(
            |(interface, expected_revision, dry_run, mode, operations, options)| Change {
                interface,
                expected_revision,
                dry_run,
                mode,
                operations,
                options,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        registration().prop_map(|member| Operation::Register(Box::new(member))),
        member().prop_map(|member| Operation::Unregister { member }),
        Just(Operation::UnregisterAll),
        (member(), position()).prop_map(|(member, to)| Operation::Move { member, to }),
        vec(text(), 0..5).prop_map(|names| Operation::Order { names }),
        (member(), settings()).prop_map(|(member, settings)| Operation::Set { member, settings }),
        (member(), source()).prop_map(|(member, source)| Operation::Replace { member, source }),
        configuration().prop_map(Operation::Configure),
    ]
}

fn registration() -> impl Strategy<Value = Registration> {
    let asked = (option::of(text()), source(), any::<Option<u32>>());
    let verdicts = (option::of(mask()), option::of(mask()), select(OnMiss::ALL));
    let stay = (
        select(Lifetime::ALL),
        any::<u32>(),
        select(EngineChoice::ALL),
    );
    let rest = (
        any::<Option<u32>>(),
        option::of(text()),
        any::<[u8; 16]>(),
        any_options(),
    );
    (asked, verdicts, stay, rest).prop_map(
        |(
            (name, source, priority),
            (chain_call, allowed, on_miss),
            (lifetime, linger_ms, engine),
            (tail_depth, share_group, token, options),
        )| Registration {
            name,
            source,
            priority,
            chain_call,
            allowed,
            on_miss,
            lifetime,
            linger_ms,
            engine,
            tail_depth,
            share_group,
            token,
            options,
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    let object = (
        (any::<[u8; 32]>(), option::of(text())),
        vec((text(), any::<u32>()), 0..3),
        vec((text(), global()), 0..3),
        vec(tail_call(), 0..3),
        any::<bool>(),
        any_options(),
    );
    let object = object.prop_map(
        |((object, program), map_sizes, globals, tail_calls, frags, options)| {
            Source::Object(ObjectSource {
                object,
                program,
                map_sizes,
                globals,
                tail_calls,
                frags,
                options,
            })
        },
    );
    let loaded = (any::<u32>(), any_options()).prop_map(|(program_id, options)| {
        Source::Loaded(LoadedSource {
            program_id,
            options,
        })
    });
    let built_in = (text(), any_options())
        .prop_map(|(name, options)| Source::BuiltIn(BuiltInSource { name, options }));
    prop_oneof![4 => object, 1 => loaded, 1 => built_in]
}

fn global() -> impl Strategy<Value = GlobalValue> {
    prop_oneof![
        any::<i128>().prop_map(GlobalValue::Integer),
        vec(any::<u8>(), 0..20).prop_map(GlobalValue::Bytes),
    ]
}

fn tail_call() -> impl Strategy<Value = TailCall> {
    (text(), any::<u32>(), text()).prop_map(|(map, index, program)| TailCall {
        map,
        index,
        program,
    })
}

fn member() -> impl Strategy<Value = Open<MemberRef>> {
    prop_oneof![
        text().prop_map(MemberRef::Name),
        any::<u64>().prop_map(MemberRef::Id)
    ]
    .prop_map(Open::Known)
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        any::<u32>().prop_map(Position::Priority),
        Just(Position::First),
        Just(Position::Last),
        text().prop_map(Position::Before),
        text().prop_map(Position::After),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        option::of(mask()),
        option::of(mask()),
        option::of(select(OnMiss::ALL)),
        option::of(select(Lifetime::ALL)),
        any_options(),
    )
        .prop_map(
            |(chain_call, allowed, on_miss, lifetime, options)| Settings {
                chain_call,
                allowed,
                on_miss,
                lifetime,
                options,
            },
        )
}

fn configuration() -> impl Strategy<Value = Configuration> {
    (
        option::of(select(FinalVerdict::ALL)),
        any::<Option<bool>>(),
        option::of(select(EngineChoice::ALL)),
        option::of(select(ModeChoice::ALL)),
        any_options(),
    )
        .prop_map(
            |(final_verdict, counters, engine, mode, options)| Configuration {
                final_verdict,
                counters,
                engine,
                mode,
                options,
            },
        )
}

pub(crate) fn mask() -> impl Strategy<Value = VerdictMask> {
    any::<u8>().prop_map(VerdictMask::from_bits)
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{0,15}",
        any::<String>().prop_filter("names are bounded", |text| text.len() <= NAME_BYTES_MAX)
    ]
}
