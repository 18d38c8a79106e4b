use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, REDIRECT_MEMBER, REDIRECT_PROGRAM,
    VerdictMask,
};
use planner::testing::requests;
use planner::{
    Abilities, AttachType, Build, BuiltIn, ChainDir, ChainId, ChainKey, CodeId, Form, GlobalValue,
    HandOver, Hook, Interface, LoadedSource, Member, MemberId, MemberState, ObjectSource, Obstacle,
    Owner, Revision, Source, Standing, State, TailCall,
};
use proptest::prelude::*;

use super::options::Options;
use super::*;

/// What the first version wrote of [`v2_record`], and what this version writes of [`chain`].
const GOLDEN_V2: &[u8] = include_bytes!("golden/v2.bin");
const GOLDEN_V3: &[u8] = include_bytes!("golden/v3.bin");

/// Everything that a registry keeps, in one chain.
fn chain() -> Chain {
    let key = ChainKey {
        netns: 9,
        ifindex: 2,
    };
    let objects = Source::Object(ObjectSource {
        sha256: [5; 32],
        program: "xdp_stats".to_owned(),
        map_sizes: vec![("COUNTS".to_owned(), 4096)],
        globals: vec![
            ("limit".to_owned(), GlobalValue::Integer(-7)),
            ("key".to_owned(), GlobalValue::Bytes(vec![1, 2, 3])),
        ],
        tail_calls: vec![tail_call()],
        trusted: true,
    });
    let loaded = Source::Loaded(LoadedSource {
        program: "xdp_filter".to_owned(),
        how: HandOver::Adopted,
    });
    Chain {
        id: ChainId(4),
        dir: ChainDir { key, again: 0 },
        interface: Interface {
            key,
            name: "eth0".to_owned(),
            netns_name: Some("blue".to_owned()),
        },
        standing: Standing::InForce,
        hook: Hook::Netlink,
        revision: Revision(8),
        build: Build(7),
        last_build: Build(11),
        mode: Mode::Generic,
        final_verdict: FinalVerdict::Last,
        counters: true,
        engine: EngineChoice::Auto,
        attach: AttachType::Unset,
        parked: true,
        members: vec![
            member(3, "stats", objects, Some(Obstacle::Unknown(77))),
            member(4, "filter", loaded, None),
            member(
                5,
                REDIRECT_MEMBER,
                Source::BuiltIn(BuiltIn::XskRedirect),
                None,
            ),
            member(
                6,
                "pass",
                Source::BuiltIn(BuiltIn::Pass),
                Some(Obstacle::NoTypes),
            ),
        ],
    }
}

fn tail_call() -> TailCall {
    TailCall {
        map: "jumps".to_owned(),
        index: 3,
        program: "xdp_more".to_owned(),
    }
}

fn member(id: u64, name: &str, source: Source, obstacle: Option<Obstacle>) -> Member {
    Member {
        id: MemberId(id),
        code: CodeId(2),
        name: name.to_owned(),
        source,
        program_id: 41,
        priority: 10,
        requested_priority: 12,
        tie: i64::try_from(id).unwrap() - 7,
        chain_call: VerdictMask::PASS,
        allowed: VerdictMask::ALL,
        on_miss: OnMiss::Continue,
        requested_engine: EngineChoice::Auto,
        abilities: Abilities {
            obstacle,
            frags: true,
        },
        form: Form {
            engine: Engine::Tailcall,
            frags: false,
            attach: AttachType::Xdp,
        },
        tail_depth: 1,
        lifetime: Lifetime::Attached,
        linger_ms: 500,
        owner: Owner {
            uid: 1000,
            pid: 4,
            client: "app".to_owned(),
            connection: None,
        },
        state: MemberState::Running,
        share_group: Some("g".to_owned()),
        token: [6; 16],
    }
}

/// A chain as the first version had it.
fn v2_record() -> v2::ChainRecord {
    v2::ChainRecord {
        netns: 9,
        ifindex: 2,
        interface: "eth0".to_owned(),
        netns_name: Some("blue".to_owned()),
        build: 7,
        mode: Mode::Generic,
        final_verdict: FinalVerdict::Last,
        counters: true,
        engine: EngineChoice::Auto,
        members: vec![v2::MemberRecord {
            id: 3,
            code: 2,
            name: "stats".to_owned(),
            program: "xdp_stats".to_owned(),
            program_id: 41,
            priority: 10,
            requested_priority: 12,
            tie: -4,
            chain_call: VerdictMask::PASS,
            allowed: VerdictMask::ALL,
            on_miss: OnMiss::Continue,
            requested_engine: EngineChoice::Auto,
            obstacle: Some(v2::ObstacleRecord::Prototype),
            can_frags: true,
            engine: Engine::Tailcall,
            frags: false,
            tail_depth: 1,
            lifetime: Lifetime::Attached,
            linger_ms: 500,
            uid: 1000,
            pid: 4,
            client: "app".to_owned(),
            share_group: Some("g".to_owned()),
            sha256: [5; 32],
            tail_calls: vec![("jumps".to_owned(), 3, "xdp_more".to_owned())],
            trusted: true,
            token: [6; 16],
        }],
    }
}

fn v2_bytes(record: &v2::ChainRecord) -> Vec<u8> {
    let body = bincode::serde::encode_to_vec(record, codec()).unwrap();
    let len = u32::try_from(body.len()).unwrap();
    let header = [0x5844_5044, 2, len].into_iter().flat_map(u32::to_le_bytes);
    header.chain(body).collect()
}

/// The newest version's bytes of a record, with a header that a later version may have written.
fn bytes_by(version: u32, reader: u32, record: &v3::ChainRecord) -> Vec<u8> {
    let body = bincode::serde::encode_to_vec(record, codec()).unwrap();
    let words = [
        0x5844_5044,
        version,
        reader,
        u32::try_from(body.len()).unwrap(),
    ];
    words
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(body)
        .collect()
}

fn newest() -> v3::ChainRecord {
    v3::ChainRecord::new(&chain(), 9)
}

#[test]
fn a_chain_survives_its_registry() {
    let bytes = encode(&chain(), 12).unwrap();
    let kept = Kept {
        chain: chain(),
        counts: 12,
    };
    assert_eq!(decode(&bytes), Ok(kept));
}

proptest! {
    #[test]
    fn every_chain_that_can_be_planned_survives_its_registry(history in requests(1..=12)) {
        let mut state = State::new(planner::testing::ENGINES);
        for request in &history {
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
        }
        for (id, chain) in state.chains.clone() {
            state.chains.get_mut(&id).unwrap().members.iter_mut().for_each(|member| {
                member.owner.connection = None;
                member.state = MemberState::Running;
            });
            // The directory says itself which one it is.
            let dir = ChainDir { again: 0, ..chain.dir };
            let chain = Chain { members: state.chains[&id].members.clone(), dir, ..chain };
            let kept = decode(&encode(&chain, 9).unwrap());
            prop_assert_eq!(kept, Ok(Kept { chain, counts: 9 }));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_a_chain_that_can_be(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        version in prop_oneof![Just(2_u32), Just(3)],
    ) {
        let len = u32::try_from(bytes.len()).unwrap();
        let header = match version {
            2 => vec![0x5844_5044, 2, len],
            _ => vec![0x5844_5044, 3, 3, len],
        };
        let all: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).chain(bytes).collect();
        if let Ok(kept) = decode(&all) {
            prop_assert!(is_possible(&kept.chain));
        }
    }

    #[test]
    fn a_changed_byte_gives_a_fault_or_a_chain_that_can_be(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        is_old in any::<bool>(),
    ) {
        let mut bytes = if is_old { GOLDEN_V2 } else { GOLDEN_V3 }.to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(kept) = decode(&bytes) {
            prop_assert!(is_possible(&kept.chain));
            // What can be read can be written.
            encode(&kept.chain, kept.counts).unwrap();
        }
    }
}

#[test]
fn a_length_in_hostile_bytes_makes_nobody_allocate_it() {
    // The interface's name says that it has 2^60 bytes; then that there are 2^40 members.
    let mut bytes = GOLDEN_V3.to_vec();
    bytes[16 + 20..16 + 28].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    assert_eq!(decode(&bytes), Err(RegistryFault::Garbled));
    let mut record = newest();
    record.members.clear();
    let mut bytes = bytes_by(3, 3, &record);
    let end = bytes.len();
    bytes[end - 16..end - 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert_eq!(decode(&bytes), Err(RegistryFault::Garbled));
}

#[test]
fn the_formats_are_frozen() {
    assert!(
        encode(&chain(), 9).unwrap() == GOLDEN_V3,
        "the registry's bytes changed: running chains would not be read back; make a new version"
    );
    assert_eq!(v2_bytes(&v2_record()), GOLDEN_V2);
}

#[test]
fn what_every_version_wrote_is_read() {
    let v3 = decode(GOLDEN_V3).unwrap();
    assert_eq!((v3.chain, v3.counts), (chain(), 9));
    let v2 = decode(GOLDEN_V2).unwrap();
    assert_eq!(v2.counts, 9);
    let first = Member {
        source: Source::Object(ObjectSource {
            sha256: [5; 32],
            program: "xdp_stats".to_owned(),
            map_sizes: Vec::new(),
            globals: Vec::new(),
            tail_calls: vec![tail_call()],
            trusted: true,
        }),
        ..member(
            3,
            "stats",
            Source::BuiltIn(BuiltIn::Pass),
            Some(Obstacle::Prototype),
        )
    };
    let expected = Chain {
        id: ChainId(0),
        hook: Hook::Link,
        revision: Revision(7),
        last_build: Build(7),
        attach: AttachType::Xdp,
        parked: false,
        members: vec![first],
        ..chain()
    };
    assert_eq!(v2.chain, expected);
}

#[test]
fn the_first_versions_redirect_member_is_the_daemons_own() {
    let mut record = v2_record();
    record.members[0].name = REDIRECT_MEMBER.to_owned();
    record.members[0].program = REDIRECT_PROGRAM.to_owned();
    let kept = decode(&v2_bytes(&record)).unwrap();
    assert!(kept.chain.members[0].source.is_redirect());
}

#[test]
fn what_a_later_version_only_adds_is_skipped() {
    let mut record = newest();
    record.options = Options::one(5, false);
    record.members[1].options = Options::one(1 << 30, false);
    for version in [3, 4, 900] {
        let kept = decode(&bytes_by(version, 3, &record));
        assert_eq!(kept.unwrap().chain, chain());
    }
}

#[test]
fn what_has_to_be_understood_makes_the_registry_unreadable() {
    let fault = Err(RegistryFault::Unknown { option: 5 });
    let mut of_chain = newest();
    of_chain.options = Options::one(5, true);
    let mut of_member = newest();
    of_member.members[2].options = Options::one(5, true);
    let mut of_source = newest();
    let v3::SourceRecord::Object(object) = &mut of_source.members[0].source else {
        panic!("it is an object");
    };
    object.options = Options::one(5, true);
    for record in [of_chain, of_member, of_source] {
        assert_eq!(decode(&bytes_by(4, 3, &record)), fault);
    }
}

#[test]
fn a_version_that_can_not_be_read_is_named() {
    let by = |version, reader| decode(&bytes_by(version, reader, &newest()));
    let too_new = |version, reader| Err(RegistryFault::TooNew { version, reader });
    assert_eq!(by(4, 4), too_new(4, 4));
    assert_eq!(by(9, 5), too_new(9, 5));
    let mut first = GOLDEN_V2.to_vec();
    first[4] = 1;
    assert_eq!(decode(&first), Err(RegistryFault::TooOld { version: 1 }));
    first[4] = 0;
    assert_eq!(decode(&first), Err(RegistryFault::TooOld { version: 0 }));
    assert_eq!(by(3, 2), Err(RegistryFault::Garbled));
    assert_eq!(by(3, 0), Err(RegistryFault::Garbled));
}

#[test]
fn what_is_cut_short_is_no_chain() {
    for golden in [GOLDEN_V2, GOLDEN_V3] {
        for len in 0..golden.len() {
            let fault = if len < 4 {
                RegistryFault::NoRegistry
            } else {
                RegistryFault::Truncated
            };
            assert_eq!(decode(&golden[..len]), Err(fault), "{len} bytes");
        }
        let mut longer = golden.to_vec();
        longer.extend([9; 40]);
        assert!(decode(&longer).is_ok(), "what comes after it is nobody's");
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let spoilt: [fn(&mut Chain); 11] = [
        |chain| chain.build = Build(0),
        |chain| chain.last_build = Build(6),
        |chain| chain.last_build = Build(u64::MAX),
        |chain| chain.id = ChainId(u64::MAX),
        |chain| chain.members[1].id = MemberId(3),
        |chain| chain.members[1].id = MemberId(u64::MAX),
        |chain| chain.members[1].name = "stats".to_owned(),
        |chain| chain.members[1].name = "../../etc".to_owned(),
        |chain| chain.members.swap(0, 1),
        |chain| chain.members[0].tie = i64::MIN,
        |chain| chain.members[0].tail_depth = u32::MAX,
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut chain = chain();
        spoil(&mut chain);
        let decoded = decode(&encode(&chain, 9).unwrap());
        assert_eq!(decoded, Err(RegistryFault::Impossible), "{number}");
    }
    for counts in [0, 513] {
        let decoded = decode(&encode(&chain(), counts).unwrap());
        assert_eq!(decoded, Err(RegistryFault::Impossible));
    }
}

/// What the first version really pinned: a chain of three members, one of them the redirect program.
#[test]
fn the_first_versions_own_registry_is_read() {
    let bytes = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/first-version/registry.bin"
    ));
    let kept = decode(bytes).unwrap();
    let chain = kept.chain;
    assert_eq!((chain.build, chain.revision), (Build(3), Revision(3)));
    assert_eq!(chain.interface.name, "xd0");
    assert_eq!(chain.interface.netns_name.as_deref(), Some("gna"));
    assert_eq!((chain.hook, chain.mode), (Hook::Link, Mode::Native));
    let members: Vec<_> = chain
        .members
        .iter()
        .map(|member| {
            (
                &*member.name,
                member.id.0,
                member.priority,
                member.source.program(),
                member.share_group.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        members,
        [
            ("stats", 1, 10, "stats", Some("lab")),
            (REDIRECT_MEMBER, 3, 20, REDIRECT_PROGRAM, None),
            ("guard", 2, 30, "verdict_prog", None),
        ]
    );
    assert!(chain.redirect().is_some());
    // What is written of it says the same.
    let written = encode(&chain, kept.counts).unwrap();
    assert_eq!(decode(&written).unwrap().chain, chain);
}
