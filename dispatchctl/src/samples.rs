//! What a daemon might say: the same for text and JSON.

use libdispatch::{
    Chain, Changed, Count, Engine, EngineProbe, EngineReason, FinalVerdict, Hook, HookProgram,
    Lifetime, MapShape, Member, MemberDetail, MemberState, Mode, Namespace, Note, OnMiss, Owner,
    Pending, Pins, ProbeReason, Registered, RegistryFault, SlotCounters, SocketCounts,
    SocketDetail, SocketState, Status, Step, Unreadable, Verdict, VerdictMask, Warning,
};

use crate::changing::ChangedOn;

/// Two ordinary members, and an observer whose client is gone.
pub(crate) fn chain() -> Chain {
    Chain {
        id: Some(4_294_967_298),
        interface: "eth0".to_owned(),
        ifindex: 2,
        netns: Namespace {
            cookie: 1,
            name: None,
        },
        mode: Some(Mode::Native),
        hook: Some(Hook::Link),
        attached: true,
        looked_ms_ago: None,
        hook_program: None,
        parked: false,
        revision: 7,
        build: 9,
        pending: None,
        pins: "/sys/fs/bpf/dispatchd/1-2".to_owned(),
        unreadable: None,
        final_verdict: Some(FinalVerdict::Pass),
        counters: true,
        frags: false,
        members: vec![stats(), firewall(), observer()],
    }
}

/// Hostile words, a member that doesn't run, everything unusual about the hook.
pub(crate) fn odd_chain() -> Chain {
    let mut waiting = stats();
    waiting.slot = None;
    waiting.program_id = None;
    waiting.sha256 = None;
    waiting.state = MemberState::Waiting;
    waiting.owner.client = "\u{1b}[2Jroot\n".to_owned();
    waiting.packets = SlotCounters::default();
    Chain {
        interface: "veth\u{7}1".to_owned(),
        netns: Namespace {
            cookie: 4711,
            name: Some("blue".to_owned()),
        },
        mode: Some(Mode::Generic),
        hook: Some(Hook::Netlink),
        attached: false,
        looked_ms_ago: Some(40),
        hook_program: Some(HookProgram {
            id: 4711,
            name: "ri\u{7}val".to_owned(),
        }),
        parked: true,
        pending: Some(Pending {
            deadline_s: 58,
            reverts_to: 6,
        }),
        final_verdict: Some(FinalVerdict::Last),
        counters: false,
        frags: true,
        members: vec![waiting],
        ..chain()
    }
}

/// A chain that a later daemon wrote.
pub(crate) fn unreadable_chain() -> Chain {
    Chain {
        id: None,
        mode: None,
        hook: None,
        revision: 0,
        build: 0,
        unreadable: Some(Unreadable::Registry {
            build: 9,
            fault: RegistryFault::TooNew {
                version: 9,
                reader: 4,
            },
        }),
        final_verdict: None,
        members: Vec::new(),
        ..chain()
    }
}

/// A chain that waits for its interface.
pub(crate) fn waiting_chain() -> Chain {
    let mut chain = chain();
    chain.members.truncate(1);
    Chain {
        ifindex: 0,
        hook: None,
        attached: false,
        ..chain
    }
}

pub(crate) fn detail() -> MemberDetail {
    let mut detail = MemberDetail::new(observer());
    detail.on_miss = OnMiss::Continue;
    detail.tail_depth = 1;
    detail.linger_ms = 30_000;
    detail.share_group = Some("taps".to_owned());
    detail.maps = vec![
        map("EVENTS", 40, 27, [0, 0, 4096]),
        map("NEXT", 41, 3, [4, 4, 8]),
    ];
    detail
}

/// The redirect program with the sockets of two queues.
pub(crate) fn redirect() -> MemberDetail {
    let socket = |queue, state, counts| SocketDetail {
        queue,
        owner: Owner {
            uid: 65_534,
            pid: 77,
            client: "xsk\u{7}echo".to_owned(),
        },
        state,
        zero_copy: queue == 0,
        bytes: 16 << 20,
        counts,
    };
    let counts = SocketCounts {
        rx_dropped: 1,
        rx_invalid_descs: 2,
        tx_invalid_descs: 3,
        rx_ring_full: 4,
        rx_fill_ring_empty_descs: 5,
        tx_ring_empty_descs: 6,
    };
    let mut detail = detail();
    detail.sockets = vec![
        socket(0, SocketState::Active, Some(counts)),
        socket(3, SocketState::Lingering, None),
    ];
    detail
}

pub(crate) fn daemon() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        protocol: 1,
        uptime_s: 2 * 86_400 + 3 * 3600 + 4 * 60 + 5,
        freplace: EngineProbe {
            available: false,
            reason: Some(ProbeReason::Failed {
                error: "no BTF in the kernel".to_owned(),
            }),
        },
        tailcall: EngineProbe {
            available: true,
            reason: None,
        },
        chains: 2,
        members: 5,
        warnings: vec![
            Warning::NotAttached {
                chain: 4_294_967_298,
                interface: "eth0".to_owned(),
            },
            Warning::HookTaken {
                chain: 4,
                interface: "eth1".to_owned(),
                program_id: 4711,
                program: "ri\u{7}val".to_owned(),
            },
            Warning::ChainUnreadable {
                chain: None,
                interface: "eth2".to_owned(),
                pins: "/sys/fs/bpf/dispatchd/1-4".to_owned(),
                why: Unreadable::Missing {
                    pin: "link".to_owned(),
                },
            },
        ],
    }
}

/// Two programs loaded with one swap.
pub(crate) fn loaded(interface: &str) -> ChangedOn {
    let member = |name: &str, id, slot| Registered {
        name: name.to_owned(),
        id,
        slot,
        program_id: u32::try_from(id).ok().map(|id| 200 + id),
        engine: Engine::Tailcall,
        taken_up: false,
    };
    ChangedOn {
        interface: interface.to_owned(),
        changed: Changed {
            chain: 4_294_967_298,
            revision: 8,
            build: 10,
            mode: Some(Mode::Generic),
            notes: vec![Note::NoNativeMode {
                interface: interface.to_owned(),
                error: "Operation not supported (os error 95)".to_owned(),
            }],
            members: vec![member("stats", 1, 0), member("firewall", 2, 1)],
            plan: vec![
                Step::BuildRoot {
                    build: 10,
                    root: "dispatcher".to_owned(),
                    slots: 2,
                    final_verdict: FinalVerdict::Pass,
                    counters: true,
                    frags: false,
                },
                Step::Swap {
                    interface: interface.to_owned(),
                    from: 9,
                    to: 10,
                },
                Step::Grace,
            ],
            reloads: vec!["balancer".to_owned()],
        },
    }
}

/// The last member went.
pub(crate) fn emptied() -> ChangedOn {
    ChangedOn {
        interface: "eth0".to_owned(),
        changed: Changed {
            chain: 0,
            revision: 0,
            build: 0,
            mode: None,
            notes: Vec::new(),
            members: Vec::new(),
            plan: vec![Step::Detach {
                build: 9,
                interface: "eth0".to_owned(),
            }],
            reloads: Vec::new(),
        },
    }
}

fn stats() -> Member {
    let mut member = Member::new(1, "stats");
    member.slot = Some(0);
    member.program = "count_packets".to_owned();
    member.program_id = Some(215);
    member.priority = 10;
    member.requested_priority = 10;
    member.owner = Owner {
        uid: 0,
        pid: 1234,
        client: "stats".to_owned(),
    };
    member.sha256 = Some([0xab; 32]);
    member.packets = packets(&[(Count::Pass, 123_456)]);
    member
}

fn firewall() -> Member {
    let mut member = Member::new(2, "firewall");
    member.slot = Some(1);
    member.program_id = Some(1216);
    member.priority = 10;
    member.requested_priority = 20;
    member.chain_call = VerdictMask::of(&[Verdict::Pass, Verdict::Tx]);
    member.engine_reason = Some(EngineReason::NoTypes);
    member.owner = Owner {
        uid: 1000,
        pid: 99,
        client: "dispatchctl".to_owned(),
    };
    member.lifetime = Lifetime::Kept;
    member.sha256 = Some([0xab; 32]);
    member.packets = packets(&[(Count::Drop, 3), (Count::Pass, 120), (Count::Missed, 1)]);
    member
}

fn observer() -> Member {
    let mut member = Member::new(3, "tap");
    member.slot = Some(2);
    member.program_id = Some(217);
    member.chain_call = VerdictMask::NONE;
    member.allowed = VerdictMask::PASS;
    member.engine = Engine::Freplace;
    member.state = MemberState::Lingering;
    member.owner = stats().owner;
    member.sha256 = Some([0xab; 32]);
    member.pins = Some(Pins {
        program: "/sys/fs/bpf/dispatchd/1-2/member-3/code-1/program".to_owned(),
        maps: "/sys/fs/bpf/dispatchd/1-2/member-3/code-1/maps".to_owned(),
    });
    member.ns_per_packet = Some(31);
    member.packets = packets(&[(Count::Pass, 117), (Count::Overruled, 3)]);
    member
}

fn packets(kinds: &[(Count, u64)]) -> SlotCounters {
    let mut counters = SlotCounters::default();
    for (kind, packets) in kinds {
        counters.counts[*kind as usize] = *packets;
    }
    counters
}

fn map(name: &str, id: u32, map_type: u32, [key, value, entries]: [u32; 3]) -> MapShape {
    MapShape {
        name: name.to_owned(),
        id,
        map_type,
        key_size: key,
        value_size: value,
        max_entries: entries,
    }
}
