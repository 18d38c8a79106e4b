//! Any bytes are refused, or are a request whose bytes decode to it again.
//!
//! `cargo +nightly fuzz run request_decode`
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Request;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = protocol::decode::<Request>(bytes) {
        let again = protocol::encode(&request).expect("what was decoded can be encoded");
        assert_eq!(again.len(), bytes.len(), "there is one way to say it");
        assert_eq!(protocol::decode::<Request>(&again), Ok(request));
    }
});
