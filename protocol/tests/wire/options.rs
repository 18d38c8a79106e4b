//! Options: unknown ones are skipped, or refused if their number says so; and no list is long.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use protocol::{
    Change, CodecError, Hello, MUST_UNDERSTAND, MemberRef, NAME_BYTES_MAX, OPTION_BYTES_MAX,
    OPTIONS_MAX, ObjectSource, Operation, OptionKey, Options, RefusalCode, Refused, Registration,
    Remedy, Request, RequestBody, Settings, Source,
};

use crate::golden::options;

const NAME: OptionKey<String> = OptionKey::optional(3);
const COUNT: OptionKey<u32> = OptionKey::required(7);

/// A list as it travels.
fn bytes(entries: &[(u32, Vec<u8>)]) -> Vec<u8> {
    protocol::encode_part(&entries).unwrap()
}

fn decoded(entries: &[(u32, Vec<u8>)]) -> Result<Options, CodecError> {
    protocol::decode_part(&bytes(entries))
}

/// Any options.
pub(crate) fn any_options() -> impl Strategy<Value = Options> {
    let entries = btree_map(
        0..MUST_UNDERSTAND,
        (any::<bool>(), vec(any::<u8>(), 0..9)),
        0..4,
    );
    entries.prop_map(|entries| {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(number, (required, value))| {
                let bit = if required { MUST_UNDERSTAND } else { 0 };
                (number | bit, value)
            })
            .collect();
        decoded(&entries).unwrap()
    })
}

#[test]
fn a_value_comes_out_as_it_went_in_and_the_last_one_counts() {
    let mut set = Options::new();
    assert_eq!(set.get(NAME), Ok(None));
    set.set(NAME, &"old".to_owned()).unwrap();
    set.set(COUNT, &5).unwrap();
    set.set(NAME, &"new".to_owned()).unwrap();
    assert_eq!(set.get(NAME), Ok(Some("new".to_owned())));
    assert_eq!(set.get(COUNT), Ok(Some(5)));
    let again: Options = protocol::decode_part(&protocol::encode_part(&set).unwrap()).unwrap();
    assert_eq!(again, set);
}

#[test]
fn a_value_of_another_type_is_an_error_and_not_another_value() {
    let mut set = Options::new();
    set.set(COUNT, &5).unwrap();
    let as_text: OptionKey<String> = OptionKey::required(7);
    assert!(set.get(as_text).is_err());
}

#[test]
fn only_an_unknown_option_that_must_be_understood_is_refused() {
    let set = options();
    assert_eq!(set.not_understood(&[]), Some(7));
    assert_eq!(set.not_understood(&[3]), Some(7));
    assert_eq!(set.not_understood(&[7]), None, "3 may be skipped");
}

#[test]
fn a_request_is_searched_whole() {
    let change = |operation| {
        RequestBody::Change(Change {
            operations: vec![Operation::UnregisterAll, operation],
            ..Change::default()
        })
    };
    let settings = Settings {
        options: options(),
        ..Settings::default()
    };
    let member = MemberRef::Id(1).into();
    let set = change(Operation::Set { member, settings });
    assert_eq!(set.not_understood(), Some(("Settings", 7)));
    let source = Source::Object(ObjectSource {
        options: options(),
        ..ObjectSource::default()
    });
    let member = MemberRef::Id(1).into();
    let replace = change(Operation::Replace { member, source });
    assert_eq!(replace.not_understood(), Some(("Source", 7)));
    let of_itself = RequestBody::Change(Change {
        options: options(),
        ..Change::default()
    });
    assert_eq!(of_itself.not_understood(), Some(("Change", 7)));
    assert_eq!(RequestBody::Status.not_understood(), None);
    let plain = Operation::Register(Box::new(registration(Options::new())));
    assert_eq!(change(plain).not_understood(), None);
    let odd = Operation::Register(Box::new(registration(options())));
    assert_eq!(change(odd).not_understood(), Some(("Registration", 7)));
}

#[test]
fn there_is_one_way_to_say_a_set() {
    let value = || vec![1];
    assert!(decoded(&[(3, value()), (7, value())]).is_ok());
    for odd in [
        [(7, value()), (3, value())],
        [(3, value()), (3, value())],
        [(3, value()), (3 | MUST_UNDERSTAND, value())],
        [(7 | MUST_UNDERSTAND, value()), (3, value())],
    ] {
        let refused = decoded(&odd).unwrap_err();
        assert!(refused.to_string().contains("ascending"), "{refused}");
    }
}

#[test]
fn a_list_is_bounded_in_number_and_in_bytes() {
    let many = |count: usize| -> Vec<_> {
        let numbers = 0..u32::try_from(count).unwrap();
        numbers.map(|number| (number, Vec::new())).collect()
    };
    assert!(decoded(&many(OPTIONS_MAX)).is_ok());
    assert!(decoded(&many(OPTIONS_MAX + 1)).is_err());
    let half = vec![0; OPTION_BYTES_MAX / 2];
    assert!(decoded(&[(1, half.clone()), (2, half.clone())]).is_ok());
    assert!(decoded(&[(1, half.clone()), (2, half.clone()), (3, vec![0])]).is_err());
    assert!(decoded(&[(1, vec![0; OPTION_BYTES_MAX + 1])]).is_err());

    let mut full = decoded(&many(OPTIONS_MAX)).unwrap();
    let before = full.clone();
    let another: OptionKey<u8> = OptionKey::optional(1000);
    assert!(full.set(another, &1).is_err());
    let long: OptionKey<Vec<u8>> = OptionKey::optional(0);
    assert!(full.set(long, &vec![0; OPTION_BYTES_MAX]).is_err());
    assert_eq!(full, before, "an error leaves it as it was");
}

#[test]
fn what_is_wrong_with_options_at_a_messages_end_is_said() {
    let value = || vec![1];
    let hello = Request {
        id: 1,
        body: RequestBody::Hello(Hello::default()),
    };
    let mut message = protocol::encode(&hello).unwrap();
    message.extend(bytes(&[(7, value()), (3, value())]));
    let refused = protocol::decode::<Request>(&message).unwrap_err();
    assert!(refused.to_string().contains("ascending"), "{refused}");
}

/// A map's name comes from an object, and is as long as its author likes.
#[test]
fn a_map_that_no_request_can_name_is_not_said_to_need_a_size() {
    for (bytes, is_said) in [
        (NAME_BYTES_MAX, true),
        (NAME_BYTES_MAX + 1, false),
        (OPTION_BYTES_MAX, false),
    ] {
        let map = "m".repeat(bytes);
        let refused = Refused::new(RefusalCode::Map, "no size");
        let refused = refused.with_remedy(Remedy::GiveMapSize { map });
        assert_eq!(refused.remedy().is_some(), is_said, "{bytes}");
    }
}

proptest! {
    #[test]
    fn an_unknown_option_is_passed_on_as_it_is(options in any_options()) {
        let sent = protocol::encode_part(&options).unwrap();
        prop_assert_eq!(protocol::decode_part::<Options>(&sent), Ok(options));
    }

    #[test]
    fn any_bytes_are_options_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = protocol::decode_part::<Options>(&bytes);
    }
}

fn registration(options: Options) -> Registration {
    use dispatcher_abi::{EngineChoice, Lifetime, OnMiss};
    Registration {
        name: None,
        source: Source::Object(ObjectSource::default()),
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
        options,
    }
}
