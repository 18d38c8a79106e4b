//! Sequences of requests, for tests here, in the daemon and under a fuzzer.
//!
//! They are drawn from small pools, so that requests meet: few names, two interfaces, clients of
//! every kind of rights. Many are refused, and none is impossible on the wire.

use std::ops::RangeInclusive;

use dispatcher_abi::{EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, VerdictMask};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{
    ChainKey, Change, Client, Configuration, ConnectionId, Engines, Facts, Generation, Grant,
    Interface, LoadId, MemberState, Operation, Plan, Policy, Position, Refusal, Registration,
    Settings, State, decide, expire,
};

/// An engine probe that found everything.
pub const ENGINES: Engines = Engines {
    freplace: true,
    tailcall: true,
};

/// Something that happens to the daemon.
#[derive(Clone, Debug)]
pub enum Request {
    /// A client asks for a change, and its objects were loaded.
    Change {
        /// Who asks.
        client: Client,
        /// What.
        change: Change,
        /// What the loader learned.
        facts: Vec<Facts>,
    },
    /// A connection ends.
    Gone(ConnectionId),
    /// The linger time of every member that lingers in this chain is over.
    Expire(ChainKey),
    /// A client wants its member back.
    Reclaim {
        /// Who asks.
        client: Client,
        /// In which chain.
        chain: ChainKey,
        /// Which member.
        name: String,
        /// With which token.
        token: [u8; 16],
    },
}

impl Request {
    /// Plays the request to a state. A plan is not committed yet: it has to be carried out first.
    pub fn play(&self, state: &mut State) -> Result<Option<Plan>, Refusal> {
        match self {
            Self::Change {
                client,
                change,
                facts,
            } => decide(state, client, change, facts).map(Some),
            Self::Gone(connection) => {
                state.connection_gone(*connection);
                Ok(None)
            }
            Self::Expire(chain) => {
                let members = state.chains.get(chain).into_iter().flat_map(|c| &c.members);
                let lingering = members.filter(|m| m.state == MemberState::Lingering);
                let ids: Vec<_> = lingering.map(|member| member.id).collect();
                Ok(expire(state, *chain, &ids))
            }
            Self::Reclaim {
                client,
                chain,
                name,
                token,
            } => state.reclaim(client, *chain, name, token).map(|()| None),
        }
    }
}

/// What happens to a daemon: a chain that is filled to some degree, then all kinds of things.
pub fn requests(length: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Request>> {
    (
        prop_oneof![3 => 0..6_usize, 1 => 0..=34_usize],
        vec(request(), length),
    )
        .prop_map(|(filled, rest)| {
            let mut requests: Vec<_> = (filled > 0).then(|| fill(filled)).into_iter().collect();
            requests.extend(rest);
            number(&mut requests);
            requests
        })
}

/// Root registers this many plain members, `m0` first, on the first interface.
pub fn fill(members: usize) -> Request {
    let registrations = (0..members).map(|index| {
        Operation::Register(Registration {
            name: Some(format!("m{index}")),
            ..registration()
        })
    });
    Request::Change {
        client: root(),
        change: change(registrations.collect()),
        facts: vec![facts(); members],
    }
}

/// Gives each load and program its own number, and each change as many facts as it takes.
fn number(requests: &mut [Request]) {
    let mut next = 1;
    for request in requests {
        if let Request::Change { change, facts, .. } = request {
            facts.truncate(change.loads());
            for facts in facts {
                facts.load = LoadId(u64::from(next));
                facts.program_id = 1000 + next;
                next += 1;
            }
        }
    }
}

/// A change of the first interface.
pub fn change(operations: Vec<Operation>) -> Change {
    Change {
        interface: interface(0),
        expected_generation: None,
        mode: None,
        operations,
    }
}

/// An interface: `eth0`, `eth1`, ...
pub fn interface(number: u32) -> Interface {
    Interface {
        key: ChainKey {
            netns: 1,
            ifindex: 2 + number,
        },
        name: format!("eth{number}"),
        netns_name: None,
    }
}

/// A registration that leaves everything to the defaults; kept.
pub fn registration() -> Registration {
    Registration {
        name: None,
        priority: None,
        chain_call: None,
        allowed: None,
        on_miss: OnMiss::Abort,
        lifetime: Lifetime::Kept,
        linger_ms: 0,
        engine: EngineChoice::Auto,
        tail_depth: None,
        share_group: None,
        token: [0; 16],
    }
}

/// Facts of an object without any wishes.
pub fn facts() -> Facts {
    Facts {
        load: LoadId(1),
        program: "xdp_program".into(),
        program_id: 1001,
        sha256: [1; 32],
        has_program_array: false,
        priority: None,
        chain_call: None,
    }
}

/// A client of uid 0.
pub fn root() -> Client {
    client(0, 1)
}

/// A client: uid 0 is root, 1000 and 1001 may load, 1002 may use the redirect program, others have
/// no rights.
pub fn client(uid: u32, connection: u64) -> Client {
    let grants = [
        (1000, Grant::Load),
        (1001, Grant::Load),
        (1002, Grant::Redirect),
    ];
    let policy = Policy {
        grants: grants.into(),
    };
    Client {
        uid,
        pid: 100 + uid,
        name: format!("client-{uid}"),
        connection: ConnectionId(connection),
        rights: policy.rights(uid),
    }
}

fn request() -> impl Strategy<Value = Request> {
    let reclaim =
        (any_client(), chain_key(), name(), token()).prop_map(|(client, chain, name, token)| {
            Request::Reclaim {
                client,
                chain,
                name,
                token,
            }
        });
    prop_oneof![
        20 => (any_client(), any_change(), vec(any_facts(), 4)).prop_map(
            |(client, change, facts)| Request::Change { client, change, facts }
        ),
        2 => (1..5_u64).prop_map(|connection| Request::Gone(ConnectionId(connection))),
        2 => chain_key().prop_map(Request::Expire),
        2 => reclaim,
    ]
}

fn any_client() -> impl Strategy<Value = Client> {
    let uid = prop_oneof![8 => Just(0), 4 => Just(1000), 2 => Just(1001), 1 => 1002..1004_u32];
    (uid, 1..5_u64).prop_map(|(uid, connection)| client(uid, connection))
}

fn chain_key() -> impl Strategy<Value = ChainKey> {
    any_interface().prop_map(|interface| interface.key)
}

fn any_interface() -> impl Strategy<Value = Interface> {
    prop_oneof![3 => Just(0), 1 => Just(1)].prop_map(interface)
}

fn any_change() -> impl Strategy<Value = Change> {
    let expected = prop_oneof![9 => Just(None), 1 => (0..9_u64).prop_map(Some)];
    let mode = prop_oneof![9 => Just(None), 1 => any_mode().prop_map(Some)];
    let operations = prop_oneof![3 => vec(operation(), 1), 2 => vec(operation(), 0..=4)];
    (any_interface(), expected, mode, operations).prop_map(
        |(interface, expected, mode, operations)| Change {
            interface,
            expected_generation: expected.map(Generation),
            mode,
            operations,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => any_registration().prop_map(Operation::Register),
        4 => name().prop_map(|name| Operation::Unregister { name }),
        1 => Just(Operation::UnregisterAll),
        6 => (name(), position()).prop_map(|(name, to)| Operation::Move { name, to }),
        1 => whole_order().prop_map(|names| Operation::Order { names }),
        3 => (name(), settings()).prop_map(|(name, settings)| Operation::Set { name, settings }),
        3 => name().prop_map(|name| Operation::Replace { name }),
        2 => configuration().prop_map(Operation::Configure),
    ]
}

/// Often `m0`..`m5`, so that the same members are met again.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (0..6_u32).prop_map(|number| format!("m{number}")),
        4 => (6..40_u32).prop_map(|number| format!("m{number}")),
        1 => prop::sample::select(vec!["", "a b", "-m0", "m/0", "\u{1b}[2J"]).prop_map(String::from),
    ]
}

/// The first few of the usual names, in any order: now and then the whole chain.
fn whole_order() -> impl Strategy<Value = Vec<String>> {
    (1..6_u32).prop_flat_map(|count| {
        let names: Vec<_> = (0..count).map(|number| format!("m{number}")).collect();
        Just(names).prop_shuffle()
    })
}

fn any_registration() -> impl Strategy<Value = Registration> {
    let who = (
        option::weighted(0.9, name()),
        option::of(priority()),
        token(),
    );
    let masks = (option::of(mask()), option::of(mask()), on_miss());
    let stays = (lifetime(), 0..3_u32);
    let how = (engine(), option::weighted(0.1, 0..5_u32));
    (who, masks, stays, how).prop_map(
        |(
            (name, priority, token),
            (chain_call, allowed, on_miss),
            (lifetime, linger),
            (engine, tail_depth),
        )| Registration {
            name,
            priority,
            chain_call,
            allowed,
            on_miss,
            lifetime,
            linger_ms: linger * 500,
            engine,
            tail_depth,
            share_group: None,
            token,
        },
    )
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (
        name(),
        any::<u8>(),
        prop::bool::weighted(0.1),
        option::weighted(0.2, priority()),
        option::weighted(0.2, mask()),
    )
        .prop_map(
            |(program, digest, has_program_array, priority, chain_call)| Facts {
                program,
                sha256: [digest; 32],
                has_program_array,
                priority,
                chain_call,
                ..facts()
            },
        )
}

/// Few, so that there are equals; the ends of the range too.
fn priority() -> impl Strategy<Value = u32> {
    prop_oneof![8 => (0..5_u32).prop_map(|tens| tens * 10 + 30), 1 => Just(0), 1 => Just(u32::MAX)]
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        3 => priority().prop_map(Position::Priority),
        1 => Just(Position::First),
        1 => Just(Position::Last),
        2 => name().prop_map(Position::Before),
        2 => name().prop_map(Position::After),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        option::of(mask()),
        option::of(mask()),
        option::of(on_miss()),
        option::weighted(0.3, lifetime()),
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
        option::of(prop::sample::select(FinalVerdict::ALL)),
        option::of(any::<bool>()),
        option::weighted(0.2, engine()),
        option::weighted(0.4, any_mode()),
    )
        .prop_map(|(final_verdict, counters, engine, mode)| Configuration {
            final_verdict,
            counters,
            engine,
            mode,
        })
}

fn any_mode() -> impl Strategy<Value = ModeChoice> {
    prop::sample::select(ModeChoice::ALL)
}

fn engine() -> impl Strategy<Value = EngineChoice> {
    prop_oneof![
        8 => Just(EngineChoice::Auto),
        2 => Just(EngineChoice::Tailcall),
        1 => Just(EngineChoice::Freplace),
    ]
}

/// One in eight chains on after `other`, which is refused.
fn mask() -> impl Strategy<Value = VerdictMask> {
    prop_oneof![7 => 0..0x40_u8, 1 => any::<u8>()].prop_map(VerdictMask::from_bits)
}

fn on_miss() -> impl Strategy<Value = OnMiss> {
    prop::sample::select(OnMiss::ALL)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    prop::sample::select(Lifetime::ALL)
}

fn token() -> impl Strategy<Value = [u8; 16]> {
    prop_oneof![9 => Just([7; 16]), 1 => Just([8; 16])]
}
