//! How requests are drawn.

use std::ops::RangeInclusive;

use dispatcher_abi::{EngineChoice, FinalVerdict, Lifetime, ModeChoice, OnMiss, VerdictMask};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::aim::{aim, aimed};
use super::{Request, client, facts, fill, interface};
use crate::{
    Abilities, Authority, ChainKey, Change, Configuration, ConnectionId, Facts, Interface,
    ObjectSource, Obstacle, Operation, Position, Registration, Revision, Settings, Source,
};

/// What happens to a daemon: a chain that is filled to some degree, then all kinds of things.
pub fn requests(length: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Request>> {
    let filled = prop_oneof![6 => 1..6_usize, 1 => Just(0), 2 => 6..=33_usize, 1 => 60..=129_usize];
    (filled, vec(request(), length)).prop_map(|(filled, rest)| {
        let mut requests: Vec<_> = (filled > 0).then(|| fill(filled)).into_iter().collect();
        requests.extend(rest);
        aim(&mut requests);
        requests
    })
}

/// One request, blind: [`aim_at`](super::aim_at) makes it mean something.
pub fn request() -> impl Strategy<Value = Request> {
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
        2 => (1..3_u64).prop_map(|connection| Request::Gone(ConnectionId(connection))),
        2 => chain_key().prop_map(Request::Expire),
        2 => reclaim,
    ]
}

fn any_client() -> impl Strategy<Value = Authority> {
    let uid = prop_oneof![12 => Just(0), 4 => Just(1000), 2 => Just(1001), 1 => 1002..1004_u32];
    (uid, 1..3_u64).prop_map(|(uid, connection)| client(uid, connection))
}

fn chain_key() -> impl Strategy<Value = ChainKey> {
    any_interface().prop_map(|interface| interface.key)
}

fn any_interface() -> impl Strategy<Value = Interface> {
    prop_oneof![6 => Just(0), 1 => Just(1)].prop_map(interface)
}

fn any_change() -> impl Strategy<Value = Change> {
    let expected = prop_oneof![29 => Just(None), 1 => (0..9_u64).prop_map(Some)];
    let mode = prop_oneof![19 => Just(None), 1 => any_mode().prop_map(Some)];
    let operations =
        prop_oneof![20 => vec(operation(), 1), 10 => vec(operation(), 2..=4), 1 => Just(vec![])];
    (any_interface(), expected, mode, operations).prop_map(
        |(interface, expected, mode, operations)| Change {
            interface,
            expected_revision: expected.map(Revision),
            expected_members: Vec::new(),
            mode,
            operations,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        9 => any_registration().prop_map(Operation::Register),
        3 => name().prop_map(|name| Operation::Unregister { name }),
        1 => Just(Operation::UnregisterAll),
        6 => (name(), position()).prop_map(|(name, to)| Operation::Move { name, to }),
        2 => whole_order().prop_map(|names| Operation::Order { names }),
        3 => (name(), settings()).prop_map(|(name, settings)| Operation::Set { name, settings }),
        3 => name().prop_map(|name| Operation::Replace { name }),
        2 => configuration().prop_map(Operation::Configure),
    ]
}

/// A name for a new member: one of 64, now and then one that no member may have.
fn new_name() -> impl Strategy<Value = String> {
    let bad = prop::sample::select(vec!["", "a b", "-m0", "m/0", "\u{1b}[2J"]);
    prop_oneof![
        19 => (0..64_u32).prop_map(|number| format!("m{number}")),
        1 => bad.prop_map(String::from),
    ]
}

/// A name of a member: mostly of one that exists by then.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![9 => any::<u8>().prop_map(aimed), 1 => new_name()]
}

/// Mostly every member that exists by then, in any order.
fn whole_order() -> impl Strategy<Value = Vec<String>> {
    let every = vec(any::<u8>().prop_map(aimed), 40);
    prop_oneof![4 => every, 1 => vec(name(), 0..4)]
}

fn any_registration() -> impl Strategy<Value = Registration> {
    let who = (
        option::weighted(0.9, new_name()),
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
            built_in: None,
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
        new_name(),
        any::<u8>(),
        prop::bool::weighted(0.1),
        option::weighted(0.2, priority()),
        option::weighted(0.2, mask()),
        abilities(),
    )
        .prop_map(
            |(program, digest, has_program_array, priority, chain_call, abilities)| Facts {
                source: Source::Object(ObjectSource {
                    sha256: [digest; 32],
                    program,
                    ..ObjectSource::default()
                }),
                abilities,
                has_program_array,
                priority,
                chain_call,
                ..facts()
            },
        )
}

/// One program in ten can't be an extension, one in five takes no packets of several buffers.
fn abilities() -> impl Strategy<Value = Abilities> {
    let obstacle = option::weighted(0.1, Just(Obstacle::Prototype));
    (obstacle, prop::bool::weighted(0.8))
        .prop_map(|(obstacle, frags)| Abilities { obstacle, frags })
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

/// One in forty chains on after `other`, which is refused.
fn mask() -> impl Strategy<Value = VerdictMask> {
    prop_oneof![19 => 0..0x40_u8, 1 => any::<u8>()].prop_map(VerdictMask::from_bits)
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
