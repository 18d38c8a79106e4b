//! Arbitrary messages.

use dispatcher_abi::{
    COUNTS, Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss, SlotCounters,
    VerdictMask,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::{
    BusyPoll, Chain, Change, Changed, Configuration, EngineProbe, GlobalValue, Hello, Hook,
    MapShape, Member, MemberDetail, MemberState, NetNs, OpenSocket, Operation, Owner, Position,
    RefusalCode, Refused, Registered, Registration, Reply, ReplyBody, Request, RequestBody,
    Settings, Socket, SocketCounts, SocketDetail, SocketGrant, SocketMode, SocketOptions,
    SocketState, Source, Status, TailCall, Umem, UmemLayout, Welcome,
};

pub(crate) fn request() -> impl Strategy<Value = Request> {
    (any::<u64>(), request_body()).prop_map(|(id, body)| Request { id, body })
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    (
        any::<u64>(),
        prop_oneof![reply_body().prop_map(Ok), refused().prop_map(Err)],
    )
        .prop_map(|(id, body)| Reply { id, body })
}

fn request_body() -> impl Strategy<Value = RequestBody> {
    prop_oneof![
        (any::<u16>(), any::<u16>(), text()).prop_map(|(lowest, highest, client)| {
            RequestBody::Hello(Hello {
                lowest,
                highest,
                client,
            })
        }),
        Just(RequestBody::PutObject),
        change().prop_map(RequestBody::Change),
        option::of(text()).prop_map(|interface| RequestBody::List { interface }),
        (text(), text()).prop_map(|(interface, name)| RequestBody::Show { interface, name }),
        Just(RequestBody::Status),
        (text(), text(), text()).prop_map(|(interface, name, map)| {
            RequestBody::MapDescriptor {
                interface,
                name,
                map,
            }
        }),
        (text(), text(), any::<[u8; 16]>()).prop_map(|(interface, name, token)| {
            RequestBody::Reclaim {
                interface,
                name,
                token,
            }
        }),
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
    (text(), any::<u32>(), grant, any::<bool>()).prop_map(|(interface, queue, grant, redirect)| {
        OpenSocket {
            interface,
            queue,
            grant,
            redirect,
        }
    })
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
        text(),
        any::<Option<u64>>(),
        any::<bool>(),
        option::of(select(ModeChoice::ALL)),
        vec(operation(), 0..5),
    )
        .prop_map(
            |(interface, expected_generation, dry_run, mode, operations)| Change {
                interface,
                expected_generation,
                dry_run,
                mode,
                operations,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        registration().prop_map(|member| Operation::Register(Box::new(member))),
        text().prop_map(|name| Operation::Unregister { name }),
        Just(Operation::UnregisterAll),
        (text(), position()).prop_map(|(name, to)| Operation::Move { name, to }),
        vec(text(), 0..5).prop_map(|names| Operation::Order { names }),
        (text(), settings()).prop_map(|(name, settings)| Operation::Set { name, settings }),
        (text(), source()).prop_map(|(name, source)| Operation::Replace { name, source }),
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
    let rest = (any::<Option<u32>>(), option::of(text()));
    (asked, verdicts, stay, rest).prop_map(
        |(
            (name, source, priority),
            (chain_call, allowed, on_miss),
            (lifetime, linger_ms, engine),
            (tail_depth, share_group),
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
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    (
        any::<[u8; 32]>(),
        option::of(text()),
        vec((text(), any::<u32>()), 0..3),
        vec((text(), global()), 0..3),
        vec(tail_call(), 0..3),
        any::<bool>(),
    )
        .prop_map(
            |(object, program, map_sizes, globals, tail_calls, frags)| Source {
                object,
                program,
                map_sizes,
                globals,
                tail_calls,
                frags,
            },
        )
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
    )
        .prop_map(|(chain_call, allowed, on_miss, lifetime)| Settings {
            chain_call,
            allowed,
            on_miss,
            lifetime,
        })
}

fn configuration() -> impl Strategy<Value = Configuration> {
    (
        option::of(select(FinalVerdict::ALL)),
        any::<Option<bool>>(),
        option::of(select(EngineChoice::ALL)),
        option::of(select(ModeChoice::ALL)),
    )
        .prop_map(|(final_verdict, counters, engine, mode)| Configuration {
            final_verdict,
            counters,
            engine,
            mode,
        })
}

fn reply_body() -> impl Strategy<Value = ReplyBody> {
    prop_oneof![
        (any::<u16>(), text(), vec(text(), 0..4)).prop_map(|(version, daemon, features)| {
            ReplyBody::Welcome(Welcome {
                version,
                daemon,
                features,
            })
        }),
        any::<[u8; 32]>().prop_map(|digest| ReplyBody::Object { digest }),
        changed().prop_map(ReplyBody::Changed),
        vec(chain(), 0..3).prop_map(ReplyBody::Chains),
        detail().prop_map(|member| ReplyBody::Member(Box::new(member))),
        status().prop_map(ReplyBody::Status),
        map().prop_map(ReplyBody::Map),
        Just(ReplyBody::Reclaimed),
        (any::<u32>(), any::<u32>(), any::<[u8; 16]>(), any::<bool>()).prop_map(
            |(ifindex, queue, token, zero_copy)| ReplyBody::Socket(Socket {
                ifindex,
                queue,
                token,
                zero_copy,
            })
        ),
        vec(text(), 0..3).prop_map(|notes| ReplyBody::SocketActivated { notes }),
        Just(ReplyBody::SocketClosed),
        Just(ReplyBody::SocketReclaimed),
    ]
}

fn changed() -> impl Strategy<Value = Changed> {
    (
        any::<u64>(),
        option::of(select(Mode::ALL)),
        vec(text(), 0..3),
        vec(registered(), 0..3),
        vec(text(), 0..3),
        vec(text(), 0..3),
    )
        .prop_map(
            |(generation, mode, notes, members, plan, reloads)| Changed {
                generation,
                mode,
                notes,
                members,
                plan,
                reloads,
            },
        )
}

fn registered() -> impl Strategy<Value = Registered> {
    let kernel = (any::<u32>(), select(Engine::ALL), any::<[u8; 16]>());
    (text(), any::<u64>(), any::<u16>(), kernel).prop_map(
        |(name, id, slot, (program_id, engine, token))| Registered {
            name,
            id,
            slot,
            program_id,
            engine,
            token,
        },
    )
}

fn chain() -> impl Strategy<Value = Chain> {
    let interface = (text(), any::<u32>(), netns());
    let hook = (select(Mode::ALL), select(vec![Hook::Link, Hook::Netlink]));
    let rest = (
        any::<u64>(),
        select(FinalVerdict::ALL),
        (any::<bool>(), any::<bool>()),
        vec(member(), 0..3),
    );
    (interface, hook, rest).prop_map(
        |(
            (interface, ifindex, netns),
            (mode, hook),
            (generation, final_verdict, (counters, frags), members),
        )| Chain {
            interface,
            ifindex,
            netns,
            mode,
            hook,
            generation,
            final_verdict,
            counters,
            frags,
            members,
        },
    )
}

fn netns() -> impl Strategy<Value = NetNs> {
    (any::<u64>(), option::of(text())).prop_map(|(cookie, name)| NetNs { cookie, name })
}

fn member() -> impl Strategy<Value = Member> {
    let names = (
        any::<Option<u16>>(),
        any::<u64>(),
        text(),
        text(),
        any::<Option<u32>>(),
    );
    let order = (
        any::<u32>(),
        any::<u32>(),
        mask(),
        mask(),
        (select(Engine::ALL), option::of(text())),
    );
    let rest = (
        select(vec![
            MemberState::Running,
            MemberState::Waiting,
            MemberState::Lingering,
            MemberState::Adopted,
        ]),
        (any::<u32>(), any::<u32>(), text()),
        select(Lifetime::ALL),
        any::<Option<[u8; 32]>>(),
        any::<[u64; COUNTS]>(),
    );
    (names, order, rest).prop_map(
        |(
            (slot, id, name, program, program_id),
            (priority, requested_priority, chain_call, allowed, (engine, engine_reason)),
            (state, (uid, pid, client), lifetime, sha256, counts),
        )| Member {
            slot,
            id,
            name,
            program,
            program_id,
            priority,
            requested_priority,
            chain_call,
            allowed,
            engine,
            engine_reason,
            state,
            owner: Owner { uid, pid, client },
            lifetime,
            sha256,
            packets: SlotCounters { counts },
        },
    )
}

fn detail() -> impl Strategy<Value = MemberDetail> {
    (
        member(),
        select(OnMiss::ALL),
        any::<u32>(),
        any::<u32>(),
        option::of(text()),
        vec(map(), 0..3),
        vec(socket(), 0..3),
    )
        .prop_map(
            |(member, on_miss, tail_depth, linger_ms, share_group, maps, sockets)| MemberDetail {
                member,
                on_miss,
                tail_depth,
                linger_ms,
                share_group,
                maps,
                sockets,
            },
        )
}

fn socket() -> impl Strategy<Value = SocketDetail> {
    let state = select(vec![
        SocketState::Opened,
        SocketState::Active,
        SocketState::Lingering,
    ]);
    let owner = (any::<u32>(), any::<u32>(), text());
    let counts = any::<Option<[u64; 6]>>();
    (
        any::<u32>(),
        owner,
        state,
        any::<bool>(),
        any::<u64>(),
        counts,
    )
        .prop_map(
            |(queue, (uid, pid, client), state, zero_copy, bytes, counts)| SocketDetail {
                queue,
                owner: Owner { uid, pid, client },
                state,
                zero_copy,
                bytes,
                counts: counts.map(|counts| SocketCounts {
                    rx_dropped: counts[0],
                    rx_invalid_descs: counts[1],
                    tx_invalid_descs: counts[2],
                    rx_ring_full: counts[3],
                    rx_fill_ring_empty_descs: counts[4],
                    tx_ring_empty_descs: counts[5],
                }),
            },
        )
}

fn map() -> impl Strategy<Value = MapShape> {
    (text(), any::<[u32; 5]>()).prop_map(|(name, shape)| MapShape {
        name,
        id: shape[0],
        map_type: shape[1],
        key_size: shape[2],
        value_size: shape[3],
        max_entries: shape[4],
    })
}

fn status() -> impl Strategy<Value = Status> {
    (
        text(),
        any::<u16>(),
        any::<u64>(),
        probe(),
        probe(),
        any::<[u32; 2]>(),
    )
        .prop_map(
            |(version, protocol, uptime_s, freplace, tailcall, counts)| Status {
                version,
                protocol,
                uptime_s,
                freplace,
                tailcall,
                chains: counts[0],
                members: counts[1],
            },
        )
}

fn probe() -> impl Strategy<Value = EngineProbe> {
    (any::<bool>(), option::of(text()))
        .prop_map(|(available, reason)| EngineProbe { available, reason })
}

fn refused() -> impl Strategy<Value = Refused> {
    (select(crate::golden::CODES), text(), option::of(text()))
        .prop_map(|(code, message, log): (RefusalCode, _, _)| Refused { code, message, log })
}

fn mask() -> impl Strategy<Value = VerdictMask> {
    any::<u8>().prop_map(VerdictMask::from_bits)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{0,15}", any::<String>()]
}
