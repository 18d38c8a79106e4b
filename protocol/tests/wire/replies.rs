//! Arbitrary replies.

use std::fmt::Debug;

use dispatcher_abi::{COUNTS, Engine, FinalVerdict, Lifetime, Mode, OnMiss, SlotCounters};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::{
    Chain, Changed, EngineProbe, EngineReason, Form, Hook, HookProgram, MapShape, Member,
    MemberDetail, MemberState, NetNs, Open, Origin, Owner, Pending, Pins, RefusalCode, Refused,
    Registered, Reply, ReplyBody, Socket, SocketCounts, SocketDetail, SocketState, Status, Welcome,
};

use crate::examples::{notes, probe_reasons, pushes, remedies, steps, unreadables, warnings};
use crate::messages::{mask, text};
use crate::options::any_options;

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    (
        any::<u64>(),
        prop_oneof![reply_body().prop_map(Ok), refused().prop_map(Err)],
    )
        .prop_map(|(id, body)| Reply { id, body })
}

fn reply_body() -> impl Strategy<Value = ReplyBody> {
    prop_oneof![
        (any::<u16>(), text(), vec(text(), 0..4), any_options()).prop_map(
            |(version, daemon, features, options)| {
                ReplyBody::Welcome(Welcome {
                    version,
                    daemon,
                    features,
                    options,
                })
            }
        ),
        any::<[u8; 32]>().prop_map(|digest| ReplyBody::Object { digest }),
        changed().prop_map(ReplyBody::Changed),
        vec(chain(), 0..3).prop_map(ReplyBody::Chains),
        detail().prop_map(|member| ReplyBody::Member(Box::new(member))),
        status().prop_map(ReplyBody::Status),
        map().prop_map(ReplyBody::Map),
        Just(ReplyBody::Reclaimed),
        (any::<u32>(), any::<u32>(), any::<bool>()).prop_map(|(ifindex, queue, zero_copy)| {
            ReplyBody::Socket(Socket {
                ifindex,
                queue,
                zero_copy,
            })
        }),
        some(notes()).prop_map(|notes| ReplyBody::SocketActivated { notes }),
        Just(ReplyBody::SocketClosed),
        Just(ReplyBody::SocketReclaimed),
        Just(ReplyBody::Subscribed),
        Just(ReplyBody::Unsubscribed),
        select(pushes().to_vec()).prop_map(|push| ReplyBody::Push(push.into())),
    ]
}

fn changed() -> impl Strategy<Value = Changed> {
    (
        any::<[u64; 3]>(),
        option::of(select(Mode::ALL)),
        some(notes()),
        vec(registered(), 0..3),
        some(steps()),
        vec(text(), 0..3),
        any_options(),
    )
        .prop_map(
            |([chain, revision, build], mode, notes, members, plan, reloads, options)| Changed {
                chain,
                revision,
                build,
                mode,
                notes,
                members,
                plan,
                reloads,
                options,
            },
        )
}

fn registered() -> impl Strategy<Value = Registered> {
    let kernel = (any::<u32>(), form(), any::<bool>());
    (text(), any::<u64>(), any::<u16>(), kernel).prop_map(
        |(name, id, slot, (program_id, form, taken_up))| Registered {
            name,
            id,
            slot,
            program_id,
            form,
            taken_up,
        },
    )
}

fn form() -> impl Strategy<Value = Form> {
    (select(Engine::ALL), any::<u32>(), any::<bool>()).prop_map(|(engine, attach_type, frags)| {
        Form {
            engine,
            attach_type,
            frags,
        }
    })
}

/// Some of these, as they travel.
fn some<T: Clone + Debug + 'static, const N: usize>(
    examples: [T; N],
) -> impl Strategy<Value = Vec<Open<T>>> {
    vec(select(examples.map(Open::Known).to_vec()), 0..3)
}

fn chain() -> impl Strategy<Value = Chain> {
    let interface = (any::<Option<u64>>(), text(), any::<u32>(), netns());
    let hook = (
        option::of(select(Mode::ALL)),
        option::of(select(vec![Hook::Link, Hook::Netlink])),
        any::<Option<u64>>(),
        option::of((any::<u32>(), text())),
    );
    let numbers = (any::<[u64; 2]>(), any::<Option<(u64, u64)>>());
    let rest = (
        (text(), option::of(select(unreadables().to_vec()))),
        option::of(select(FinalVerdict::ALL)),
        any::<[bool; 4]>(),
        vec(member(), 0..3),
        any_options(),
    );
    (interface, hook, numbers, rest).prop_map(
        |(
            (id, interface, ifindex, netns),
            (mode, hook, looked_ms_ago, hook_program),
            ([revision, build], pending),
            (
                (pins, unreadable),
                final_verdict,
                [attached, parked, counters, frags],
                members,
                options,
            ),
        )| Chain {
            id,
            interface,
            ifindex,
            netns,
            mode,
            hook,
            attached,
            looked_ms_ago,
            hook_program: hook_program.map(|(id, name)| HookProgram { id, name }),
            parked,
            revision,
            build,
            pending: pending.map(|(deadline_s, reverts_to)| Pending {
                deadline_s,
                reverts_to,
            }),
            pins,
            unreadable: unreadable.map(Open::Known),
            final_verdict,
            counters,
            frags,
            members,
            options,
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
        (
            form(),
            option::of(select(vec![
                EngineReason::NoTypes,
                EngineReason::Prototype,
                EngineReason::Refused,
                EngineReason::Untrusted,
                EngineReason::Other,
            ])),
        ),
    );
    let rest = (
        select(vec![
            MemberState::Running,
            MemberState::Waiting,
            MemberState::Lingering,
        ]),
        (any::<u32>(), any::<u32>(), text()),
        (
            select(Lifetime::ALL),
            select(vec![
                Origin::Object,
                Origin::Loaded,
                Origin::Adopted,
                Origin::BuiltIn,
            ]),
        ),
        (any::<Option<[u8; 32]>>(), option::of((text(), text()))),
        (any::<[u64; COUNTS]>(), any::<Option<u64>>()),
        any_options(),
    );
    (names, order, rest).prop_map(
        |(
            (slot, id, name, program, program_id),
            (priority, requested_priority, chain_call, allowed, (form, engine_reason)),
            (
                state,
                (uid, pid, client),
                (lifetime, origin),
                (sha256, pins),
                (counts, ns_per_packet),
                options,
            ),
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
            form,
            engine_reason: engine_reason.map(Open::Known),
            state,
            owner: Owner { uid, pid, client },
            lifetime,
            origin,
            sha256,
            pins: pins.map(|(program, maps)| Pins { program, maps }),
            packets: SlotCounters { counts },
            ns_per_packet,
            options,
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
        any_options(),
    )
        .prop_map(
            |(member, on_miss, tail_depth, linger_ms, share_group, maps, sockets, options)| {
                MemberDetail {
                    member,
                    on_miss,
                    tail_depth,
                    linger_ms,
                    share_group,
                    maps,
                    sockets,
                    options,
                }
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
        any_options(),
    )
        .prop_map(
            |(queue, (uid, pid, client), state, zero_copy, bytes, counts, options)| SocketDetail {
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
                options,
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
        some(warnings()),
        any_options(),
    )
        .prop_map(
            |(version, protocol, uptime_s, freplace, tailcall, counts, warnings, options)| Status {
                version,
                protocol,
                uptime_s,
                freplace,
                tailcall,
                chains: counts[0],
                members: counts[1],
                warnings,
                options,
            },
        )
}

fn probe() -> impl Strategy<Value = EngineProbe> {
    let reason = option::of(select(probe_reasons().to_vec()));
    (any::<bool>(), reason).prop_map(|(available, reason)| EngineProbe {
        available,
        reason: reason.map(Open::Known),
    })
}

fn refused() -> impl Strategy<Value = Refused> {
    let code = prop_oneof![
        select(RefusalCode::ALL),
        (1000..u32::MAX).prop_map(RefusalCode::Unknown)
    ];
    let remedy = option::of(select(remedies().to_vec()));
    (code, text(), option::of(text()), remedy).prop_map(|(code, message, log, remedy)| {
        let refused = Refused::new(code, message).with_log(log);
        match remedy {
            Some(remedy) => refused.with_remedy(remedy),
            None => refused,
        }
    })
}
