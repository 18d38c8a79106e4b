//! What can happen between two steps of one thread.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

#[path = "../../tests/fake/mod.rs"]
mod fake;

use fake::{Act, FakeDaemon, PATIENCE};
use protocol::{Operation, RefusalCode};

use super::*;
use crate::{Client, Program};

/// The thread of a registration is held up between its answer and the note of it. Meanwhile the
/// connection breaks, and the keeper makes all claims that it knows of.
#[test]
fn a_member_that_is_noted_after_the_claims_were_made_is_claimed() {
    let mut daemon = FakeDaemon::start();
    let client = Client::builder().socket(daemon.path()).connect().unwrap();
    let known = client.register("eth0", &program("known")).unwrap();
    let known_id = known.id();
    let session = client.session();
    let mut change = protocol::Change {
        interface: Some("eth0".to_owned()),
        ..protocol::Change::default()
    };
    let registration = program("late").registration([7; 16]);
    let register = Operation::Register(Box::new(registration));
    change.operations.push(register);
    let body = RequestBody::Change(change.clone());
    let sent = session.with_claims(|claims| claims.mark());
    let asked = session.request(&body, &[], &[], &session.patience());
    let (answer, line) = asked.unwrap();
    let ReplyBody::Changed(changed) = answer.0 else {
        panic!("{:?}", answer.0);
    };

    // Refused at first, so that the keeper makes it again, and not with the connection.
    let mut refused = false;
    daemon.script(move |body| {
        let first = is_claim_of(body, known_id) && !std::mem::replace(&mut refused, true);
        first.then_some(Act::Refuse(RefusalCode::Claim, "not yet", None))
    });
    daemon.restart();
    let deadline = Instant::now() + PATIENCE;
    while daemon
        .heard()
        .iter()
        .filter(|body| is_claim_of(body, known_id))
        .count()
        < 2
        || session.with_claims(|claims| claims.any_wanted())
    {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    session.with_claims(|claims| claims.note(line.number, change, &changed, sent));
    client.start_keeper();
    let id = changed.members[0].id;
    daemon.wait_until_heard("the claim of what was noted late", |heard| {
        heard.iter().any(|body| is_claim_of(body, id))
    });
    drop(known);
}

fn is_claim_of(body: &RequestBody, id: u64) -> bool {
    matches!(body, RequestBody::Reclaim { member, .. } if *member == id)
}

fn program(name: &str) -> Program {
    Program::from_bytes(*b"object").name(name)
}
