//! Bytes that no honest peer sends. What they may allocate: `tests/allocation.rs`.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::{
    BODY_BYTES_MAX, BuiltInSource, Change, CodecError, GlobalValue, Hello, MESSAGE_BYTES_MAX,
    MemberRef, Message, NAME_BYTES_MAX, OPERATIONS_MAX, ObjectSource, OpenSocket, Operation,
    Options, Position, RefusalCode, Refused, Reply, Request, RequestBody, Settings, SocketGrant,
    Source, TailCall,
};

use crate::{messages, replies};

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = protocol::decode::<Request>(&bytes);
        let _ = protocol::decode::<Reply>(&bytes);
    }

    /// Random bytes hardly ever get past the first length; a real message with one changed byte does.
    #[test]
    fn a_changed_request_is_decoded_or_refused(
        request in messages::request(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = protocol::encode(&request).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        there_is_one_way_to_say_it::<Request>(&bytes);
    }

    #[test]
    fn a_changed_reply_is_decoded_or_refused(
        reply in replies::reply(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = protocol::encode(&reply).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        there_is_one_way_to_say_it::<Reply>(&bytes);
    }
}

/// As the fuzz targets do: what can be decoded is encoded to as many bytes, which are it again.
fn there_is_one_way_to_say_it<T: Message + Debug + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = protocol::decode::<T>(bytes) {
        let again = protocol::encode(&message).unwrap();
        assert_eq!(again.len(), bytes.len());
        assert_eq!(protocol::decode::<T>(&again), Ok(message));
    }
}

#[test]
fn a_body_above_the_limit_is_not_looked_at() {
    let bytes = BODY_BYTES_MAX + 1;
    let refused = protocol::decode::<Request>(&vec![0; bytes]).unwrap_err();
    assert_eq!(refused, CodecError::TooLarge { bytes });
}

#[test]
fn a_change_has_a_limited_number_of_operations() {
    let most = change_of(OPERATIONS_MAX);
    let bytes = protocol::encode(&most).unwrap();
    assert_eq!(protocol::decode::<Request>(&bytes), Ok(most));

    let bytes = protocol::encode(&change_of(OPERATIONS_MAX + 1)).unwrap();
    let refused = protocol::decode::<Request>(&bytes).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "not a message: invalid length 1025, expected 1024 operations at most"
    );
}

#[test]
fn every_name_in_a_request_is_bounded() {
    let longest = "n".repeat(NAME_BYTES_MAX);
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    for named in EVERYTHING_NAMED {
        let sent = |name: &str| {
            let bytes = protocol::encode(&Request {
                id: 1,
                body: named(name.to_owned()),
            })
            .unwrap();
            protocol::decode::<Request>(&bytes)
        };
        assert!(sent(&longest).is_ok(), "{:?}", named(String::new()));
        let refused = sent(&long).unwrap_err();
        assert!(
            refused.to_string().contains("a name of 512 bytes at most"),
            "{:?}: {refused}",
            named(String::new())
        );
    }
}

/// A place in a request that has a name.
type Named = fn(String) -> RequestBody;

const EVERYTHING_NAMED: [Named; 24] = [
    |client| {
        RequestBody::Hello(Hello {
            client,
            ..Hello::default()
        })
    },
    |interface| {
        RequestBody::Change(Change {
            interface: Some(interface),
            ..Change::default()
        })
    },
    |interface| RequestBody::List {
        interface: Some(interface),
    },
    |interface| RequestBody::Show {
        interface: Some(interface),
        member: MemberRef::Id(1).into(),
    },
    |name| RequestBody::Show {
        interface: None,
        member: name.into(),
    },
    |map| RequestBody::MapDescriptor { member: 1, map },
    |interface| {
        RequestBody::OpenSocket(OpenSocket {
            interface,
            queue: 0,
            grant: SocketGrant::Bare,
            redirect: true,
            token: [0; 16],
            options: Options::new(),
        })
    },
    |interface| RequestBody::ActivateSocket {
        interface,
        queue: 0,
        token: [0; 16],
    },
    |interface| RequestBody::CloseSocket {
        interface,
        queue: 0,
        token: [0; 16],
    },
    |interface| RequestBody::ReclaimSocket {
        interface,
        queue: 0,
        token: [0; 16],
    },
    |interface| RequestBody::Subscribe {
        interface: Some(interface),
    },
    |name| {
        operation(Operation::Unregister {
            member: name.into(),
        })
    },
    |name| {
        operation(Operation::Move {
            member: name.into(),
            to: Position::First,
        })
    },
    |name| {
        operation(Operation::Move {
            member: MemberRef::Id(1).into(),
            to: Position::Before(name),
        })
    },
    |name| {
        operation(Operation::Move {
            member: MemberRef::Id(1).into(),
            to: Position::After(name),
        })
    },
    |name| operation(Operation::Order { names: vec![name] }),
    |name| {
        operation(Operation::Set {
            member: name.into(),
            settings: Settings::default(),
        })
    },
    |name| {
        operation(Operation::Replace {
            member: name.into(),
            source: Source::Object(ObjectSource::default()),
        })
    },
    |program| {
        source(ObjectSource {
            program: Some(program),
            ..ObjectSource::default()
        })
    },
    |map| {
        source(ObjectSource {
            map_sizes: vec![(map, 1)],
            ..ObjectSource::default()
        })
    },
    |global| {
        source(ObjectSource {
            globals: vec![(global, GlobalValue::Integer(1))],
            ..ObjectSource::default()
        })
    },
    |map| {
        source(ObjectSource {
            tail_calls: vec![TailCall {
                map,
                index: 0,
                program: String::new(),
            }],
            ..ObjectSource::default()
        })
    },
    |program| {
        source(ObjectSource {
            tail_calls: vec![TailCall {
                map: String::new(),
                index: 0,
                program,
            }],
            ..ObjectSource::default()
        })
    },
    |name| {
        operation(Operation::Replace {
            member: MemberRef::Id(1).into(),
            source: Source::BuiltIn(BuiltInSource {
                name,
                options: Options::new(),
            }),
        })
    },
];

fn operation(operation: Operation) -> RequestBody {
    RequestBody::Change(Change {
        operations: vec![operation],
        ..Change::default()
    })
}

fn source(source: ObjectSource) -> RequestBody {
    operation(Operation::Replace {
        member: MemberRef::Id(1).into(),
        source: Source::Object(source),
    })
}

#[test]
fn a_refusals_message_is_cut_where_a_character_ends() {
    for message in ["x".repeat(10_000), "ä".repeat(10_000)] {
        let refused = Refused::new(RefusalCode::Malformed, message);
        let length = refused.message.len();
        assert!(length <= MESSAGE_BYTES_MAX && length > MESSAGE_BYTES_MAX - 8);
        assert!(refused.message.ends_with('…'));
    }
    let short = Refused::new(RefusalCode::Malformed, "no");
    assert_eq!(short.message, "no");
}

fn change_of(operations: usize) -> Request {
    Request {
        id: 1,
        body: RequestBody::Change(Change {
            interface: Some("eth0".into()),
            operations: vec![Operation::UnregisterAll; operations],
            ..Change::default()
        }),
    }
}
