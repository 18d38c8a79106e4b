//! Any bytes are refused, or are a reply whose bytes decode to it again.
//!
//! `cargo +nightly fuzz run reply_decode`
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Reply;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reply) = protocol::decode::<Reply>(bytes) {
        let again = protocol::encode(&reply).expect("what was decoded can be encoded");
        assert_eq!(again.len(), bytes.len(), "there is one way to say it");
        assert_eq!(protocol::decode::<Reply>(&again), Ok(reply));
    }
});
