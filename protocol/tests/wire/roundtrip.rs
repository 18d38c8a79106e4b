//! What goes in comes out.

use proptest::prelude::*;
use protocol::{CodecError, Options, Reply, Request, RequestBody};

use crate::{messages, replies};

proptest! {
    #[test]
    fn a_request_is_decoded_as_it_was_encoded(request in messages::request()) {
        let bytes = protocol::encode(&request).unwrap();
        prop_assert_eq!(protocol::decode::<Request>(&bytes), Ok(request));
    }

    #[test]
    fn a_reply_is_decoded_as_it_was_encoded(reply in replies::reply()) {
        let bytes = protocol::encode(&reply).unwrap();
        prop_assert_eq!(protocol::decode::<Reply>(&bytes), Ok(reply));
    }

    #[test]
    fn no_part_of_a_request_is_a_request(request in messages::request(), cut in any::<prop::sample::Index>()) {
        let bytes = protocol::encode(&without_options(request)).unwrap();
        let part = &bytes[..cut.index(bytes.len())];
        let is_undecodable = matches!(
            protocol::decode::<Request>(part),
            Err(CodecError::Undecodable { .. })
        );
        prop_assert!(is_undecodable);
    }

    #[test]
    fn a_request_and_something_is_no_request(request in messages::request(), more in 1_usize..9) {
        let mut bytes = protocol::encode(&without_options(request)).unwrap();
        bytes.resize(bytes.len() + more, 0);
        let trailing = Err(CodecError::TrailingBytes { bytes: more });
        prop_assert_eq!(protocol::decode::<Request>(&bytes), trailing);
    }
}

/// A greeting without options is whole without them.
fn without_options(mut request: Request) -> Request {
    if let RequestBody::Hello(hello) = &mut request.body {
        hello.options = Options::new();
    }
    request
}
