//! Bytes that no honest peer sends. What they may allocate: `tests/allocation.rs`.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::{
    BODY_BYTES_MAX, Change, CodecError, OPERATIONS_MAX, Operation, Reply, Request, RequestBody,
};

use crate::messages;

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
        let _ = protocol::decode::<Request>(&bytes);
    }

    #[test]
    fn a_changed_reply_is_decoded_or_refused(
        reply in messages::reply(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = protocol::encode(&reply).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = protocol::decode::<Reply>(&bytes);
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

fn change_of(operations: usize) -> Request {
    Request {
        id: 1,
        body: RequestBody::Change(Change {
            interface: "eth0".into(),
            expected_generation: None,
            dry_run: false,
            mode: None,
            operations: vec![Operation::UnregisterAll; operations],
        }),
    }
}
