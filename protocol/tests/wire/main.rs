//! What the bytes are, and what bytes can't do.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test does"
)]

mod examples;
mod golden;
mod hostile;
mod messages;
mod options;
mod replies;
mod roundtrip;
mod version0;
