//! What happens when the connection breaks: retries, claims, and what is never done twice.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

mod fake;

use std::{
    thread,
    time::{Duration, Instant},
};

use fake::{Act, FakeDaemon, PATIENCE};
use libdispatch::{Client, Error, NetNs, Program, Registration, SocketLease, SocketRequest};
use protocol::{Operation, RefusalCode, RequestBody};

#[test]
fn an_idle_client_re_claims_after_a_restart() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    for restart in 1..=2 {
        daemon.restart();
        daemon.wait_until_heard("a claim", |heard| claims(heard) == restart);
    }
    let heard = daemon.heard();
    let token = tokens(&heard)[0];
    assert_ne!(token, [0; 16]);
    let claim = RequestBody::Reclaim { member: 1, token };
    assert_eq!(heard.last(), Some(&claim));
    drop(registration);
    assert!(is_unregister(daemon.heard().last().unwrap()));
}

#[test]
fn a_daemon_that_stays_away_is_waited_for() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    daemon.stop();
    let error = registration.counters().unwrap_err();
    assert!(matches!(error, Error::NotReachable { .. }), "{error}");
    daemon.resume();
    daemon.wait_until_heard("a claim", |heard| claims(heard) == 1);
}

#[test]
fn the_next_call_re_claims_before_it_asks() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let _registration = register(&client);
    daemon.restart();
    client.list(None).unwrap();
    let heard = daemon.heard();
    assert_eq!(
        claims(&heard),
        1,
        "by the call or by the keeper, not by both"
    );
    assert!(matches!(heard.last(), Some(RequestBody::List { .. })));
}

#[test]
fn a_claim_that_is_refused_for_now_is_made_again() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    let mut refusals = 3;
    daemon.script(move |body| {
        let refuse = matches!(body, RequestBody::Reclaim { .. }) && refusals > 0;
        refusals -= i32::from(refuse);
        refuse.then_some(Act::Refuse(RefusalCode::Claim, "it doesn't linger", None))
    });
    daemon.restart();
    daemon.wait_until_heard("the claim that is granted", |heard| claims(heard) == 4);
    drop(registration);
}

/// What the daemon says to a claim, the last for good.
type Said = &'static [Option<RefusalCode>];

#[test]
fn members_and_sockets_are_claimed_alike() {
    const YES: Option<RefusalCode> = None;
    const LATER: Option<RefusalCode> = Some(RefusalCode::Claim);
    const FULL: Option<RefusalCode> = Some(RefusalCode::Quota);
    const NEVER: Option<RefusalCode> = Some(RefusalCode::NoSuchInterface);
    let answers: [Said; 5] = [
        &[YES],
        &[LATER, YES],
        &[FULL, LATER, LATER, YES],
        &[NEVER],
        &[LATER, NEVER],
    ];
    for said in answers {
        for guard in [Guard::member, Guard::socket] {
            let mut daemon = FakeDaemon::start();
            let client = connect(&daemon);
            let guard = guard(&client);
            let mut rest = said.iter();
            daemon.script(move |body| {
                let refused = is_claim(body).then(|| rest.next().copied().flatten())?;
                refused.map(|code| Act::Refuse(code, "no", None))
            });
            daemon.restart();
            daemon.wait_until_heard("every claim", |heard| claims(heard) == said.len());
            let is_lost = said.last() == Some(&NEVER);
            // The keeper may have the last answer still before it.
            let deadline = Instant::now() + PATIENCE;
            while is_lost && guard.check().is_ok() {
                assert!(Instant::now() < deadline, "{said:?}");
                thread::yield_now();
            }
            match guard.check() {
                Ok(()) => assert!(!is_lost, "{said:?}"),
                Err(error) => {
                    assert!(is_lost, "{said:?}");
                    assert!(error.to_string().ends_with("registered: no"), "{error}");
                }
            }
            drop(guard);
            let heard = daemon.heard();
            assert_eq!(heard.last().is_some_and(gives_back), !is_lost, "{said:?}");
            daemon.restart();
            client.list(None).unwrap();
            assert_eq!(claims(&daemon.heard()), said.len(), "it was given up");
        }
    }
}

#[test]
fn a_socket_that_is_not_active_is_lost_with_its_connection() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let request = SocketRequest::new("eth0", 0);
    let lease = client.open_bare_socket(&request).unwrap();
    daemon.restart();
    let error = lease.check_held().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(lease);
    assert_eq!(claims(&daemon.heard()), 0);
    assert!(!daemon.heard().iter().any(gives_back));
}

#[test]
fn a_socket_whose_activation_was_not_answered_is_claimed() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let request = SocketRequest::new("eth0", 0);
    let lease = client.open_bare_socket(&request).unwrap();
    daemon.script(hang_up_once(|body| {
        matches!(body, RequestBody::ActivateSocket { .. })
    }));
    lease.activate().unwrap();
    assert_eq!(claims(&daemon.heard()), 1);
}

#[test]
fn the_return_of_a_queue_that_was_not_answered_is_asked_again_by_its_owner() {
    let ends: [fn(SocketLease); 2] = [drop, |lease| lease.close().unwrap()];
    for end in ends {
        let daemon = FakeDaemon::start();
        let client = connect(&daemon);
        let request = SocketRequest::new("eth0", 0);
        let lease = client.open_bare_socket(&request).unwrap();
        lease.activate().unwrap();
        let is_return = |body: &RequestBody| matches!(body, RequestBody::CloseSocket { .. });
        daemon.script(hang_up_once(is_return));
        end(lease);
        let heard = daemon.heard();
        let [first, claim, again] = &heard[heard.len() - 3..] else {
            panic!("{heard:?}");
        };
        assert!(
            is_return(first) && is_claim(claim) && is_return(again),
            "{heard:?}"
        );
    }
}

/// The namespace's name is gone, and the namespace itself may live on.
#[test]
fn members_are_claimed_when_the_name_of_their_namespace_is_gone() {
    let mut daemon = FakeDaemon::start();
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("blue");
    std::os::unix::fs::symlink("/proc/self/ns/net", &name).unwrap();
    let builder = Client::builder().socket(daemon.path());
    let client = builder.netns(NetNs::Path(name.clone())).connect().unwrap();
    // An older claim, which needs the name.
    let Guard::Socket(lease) = Guard::socket(&client) else {
        unreachable!("it is a socket");
    };
    let registration = register(&client);
    std::fs::remove_file(&name).unwrap();
    daemon.restart();
    registration.map("PACKETS").unwrap();
    assert_eq!(claims(&daemon.heard()), 1);
    let error = lease.check_held().unwrap_err();
    let name = name.to_str().unwrap();
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn a_member_that_is_gone_is_lost_and_left_alone() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    daemon.script(|body| {
        let refuse = matches!(body, RequestBody::Reclaim { .. });
        refuse.then_some(Act::Refuse(
            RefusalCode::NoSuchMember,
            "no such member",
            None,
        ))
    });
    daemon.restart();
    daemon.wait_until_heard("a claim", |heard| claims(heard) == 1);
    let error = registration.counters().unwrap_err();
    assert_eq!(
        error.to_string(),
        "stats on eth0 is no longer registered: no such member"
    );
    drop(registration);
    assert!(!daemon.heard().iter().any(is_unregister));
}

#[test]
fn the_guard_of_an_earlier_member_leaves_a_later_one_of_its_name_alone() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let earlier = register(&client);
    client.change("eth0").unregister("stats").apply().unwrap();
    let later = register(&client);
    let heard = daemon.heard().len();
    drop(earlier);
    assert_eq!(daemon.heard().len(), heard);
    drop(later);
    assert_eq!(daemon.heard().len(), heard + 1);
}

#[test]
fn a_read_is_asked_again() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(hang_up_once(|body| {
        matches!(body, RequestBody::List { .. })
    }));
    client.list(None).unwrap();
    assert_eq!(daemon.heard().len(), 2);
}

#[test]
fn a_change_without_a_token_is_not_asked_again() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(hang_up_once(is_unregister));
    let change = client.change("eth0").unregister("stats");
    let error = change.clone().apply().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the connection broke during a change: whether it was done is unknown"
    );
    assert_eq!(daemon.heard().len(), 1);
    change.apply().unwrap();
}

#[test]
fn a_registration_whose_answer_was_lost_is_asked_again_with_its_token() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(hang_up_once(|body| matches!(body, RequestBody::Change(_))));
    let registration = register(&client);
    let asked = tokens(&daemon.heard());
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
    drop(registration);
    drop(register(&client));
    let asked = tokens(&daemon.heard());
    assert_ne!(asked[1], asked[2], "another registration has another token");
}

#[test]
fn a_registration_waits_for_a_daemon_that_is_started_again() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(|body| matches!(body, RequestBody::Change(_)).then_some(Act::Nothing));
    let registering = thread::spawn(move || client.register("eth0", &program()));
    daemon.wait_until_heard("the registration", |heard| tokens(heard).len() == 1);
    daemon.script(|_| None);
    daemon.restart();
    drop(registering.join().unwrap().unwrap());
    let asked = tokens(&daemon.heard());
    assert_eq!((asked.len(), asked[0]), (2, asked[1]));
}

#[test]
fn of_a_registration_that_no_daemon_answers_it_is_unknown_whether_it_was_done() {
    let mut daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::from_millis(300));
    daemon.script(|body| matches!(body, RequestBody::PutObject).then_some(Act::HangUp));
    let unsent = client.register("eth0", &program()).unwrap_err();
    assert!(matches!(unsent, Error::NotReachable { .. }), "{unsent}");
    daemon.script(|body| matches!(body, RequestBody::Change(_)).then_some(Act::Nothing));
    let registering = thread::spawn(move || client.register("eth0", &program()));
    daemon.wait_until_heard("the registration", |heard| tokens(heard).len() == 1);
    daemon.stop();
    let error = registering.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
}

#[test]
fn a_registration_that_fails_when_it_is_asked_again_may_have_been_done() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let mut sent = false;
    daemon.script(move |body| {
        sent |= matches!(body, RequestBody::Change(_));
        let fails = matches!(body, RequestBody::Change(_) | RequestBody::PutObject);
        (sent && fails).then_some(Act::HangUp)
    });
    let error = client.register("eth0", &program()).unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    assert_eq!(tokens(&daemon.heard()).len(), 1, "not sent twice");
}

#[test]
fn a_change_that_the_daemon_cannot_have_seen_is_asked_again() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.restart();
    client.change("eth0").unregister("stats").apply().unwrap();
    assert_eq!(daemon.heard().len(), 1);

    daemon.script(hang_up_once(|body| matches!(body, RequestBody::PutObject)));
    register(&client).unregister().unwrap();
}

#[test]
fn what_a_dry_run_registers_is_not_claimed() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let change = client.change("eth0").register(&program()).dry_run(true);
    change.apply().unwrap();
    daemon.restart();
    client.list(None).unwrap();
    assert_eq!(claims(&daemon.heard()), 0);
}

#[test]
fn the_last_clone_takes_the_connection_with_it() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    drop(client);
    assert_eq!(
        daemon.connections_open(),
        1,
        "the registration holds a clone"
    );
    drop(registration);
    daemon.wait_until_left();

    // Without a guard: the keeper lets go as well.
    let client = connect(&daemon);
    client.change("eth0").register(&program()).apply().unwrap();
    drop(client);
    daemon.wait_until_left();
}

/// A guard of what is claimed again.
enum Guard {
    Member(Registration),
    Socket(SocketLease),
}

impl Guard {
    fn member(client: &Client) -> Self {
        Self::Member(register(client))
    }

    fn socket(client: &Client) -> Self {
        let request = SocketRequest::new("eth0", 0);
        let lease = client.open_bare_socket(&request).unwrap();
        lease.activate().unwrap();
        Self::Socket(lease)
    }

    /// Whether it is still held.
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Member(registration) => registration.map("PACKETS").map(drop),
            Self::Socket(lease) => lease.check_held(),
        }
    }
}

fn connect(daemon: &FakeDaemon) -> Client {
    let builder = Client::builder().socket(daemon.path()).name("test");
    builder.connect().unwrap()
}

fn register(client: &Client) -> Registration {
    client.register("eth0", &program()).unwrap()
}

fn program() -> Program {
    Program::from_bytes(*b"object").name("stats")
}

fn hang_up_once(
    is: impl Fn(&RequestBody) -> bool + Send + 'static,
) -> impl FnMut(&RequestBody) -> Option<Act> + Send + 'static {
    let mut done = false;
    move |body| {
        let now = !done && is(body);
        done |= now;
        now.then_some(Act::HangUp)
    }
}

/// Of each registration, its token.
fn tokens(heard: &[RequestBody]) -> Vec<[u8; 16]> {
    let changes = heard.iter().filter_map(|body| match body {
        RequestBody::Change(change) => Some(&change.operations),
        _ => None,
    });
    changes
        .flatten()
        .filter_map(|operation| match operation {
            Operation::Register(registration) => Some(registration.token),
            _ => None,
        })
        .collect()
}

fn claims(heard: &[RequestBody]) -> usize {
    heard.iter().filter(|body| is_claim(body)).count()
}

fn is_claim(body: &RequestBody) -> bool {
    matches!(
        body,
        RequestBody::Reclaim { .. } | RequestBody::ReclaimSocket { .. }
    )
}

/// What the drop of a guard asks for.
fn gives_back(body: &RequestBody) -> bool {
    is_unregister(body) || matches!(body, RequestBody::CloseSocket { .. })
}

fn is_unregister(body: &RequestBody) -> bool {
    let RequestBody::Change(change) = body else {
        return false;
    };
    matches!(change.operations.as_slice(), [Operation::Unregister { .. }])
}
