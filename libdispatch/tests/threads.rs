//! What threads of one client have to do with each other: nothing that takes longer than their own
//! requests.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

mod fake;

use std::{
    fs::File,
    io::{self, PipeWriter},
    os::unix::fs::FileExt as _,
    thread,
    time::{Duration, Instant},
};

use fake::{Act, FakeDaemon};
use libdispatch::{Client, Error, Program, Registration, SocketLease, SocketRequest};
use protocol::{MemberRef, Operation, RequestBody};

/// How long a drop waits for the daemon, and what a machine with other work may add.
const DROP_BOUND: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(5);

/// A kind of request, and a call that makes one.
type Call = (fn(&RequestBody) -> bool, fn(&Client));

/// Every kind of call but those of guards.
const CALLS: [Call; 5] = [
    (is_register, |client| drop(register(client, "blocked"))),
    (is_open, |client| drop(open(client, 7))),
    (
        |body| matches!(body, RequestBody::MapDescriptor { .. }),
        |client| drop(client.map("eth0", "stats", "PACKETS").unwrap()),
    ),
    (
        |body| matches!(body, RequestBody::List { interface: Some(name) } if name == "blocked"),
        |client| drop(client.list(Some("blocked")).unwrap()),
    ),
    (
        |body| matches!(body, RequestBody::Change(change) if change.interface.as_deref() == Some("blocked")),
        |client| drop(client.change("blocked").unregister_all().apply().unwrap()),
    ),
];

#[test]
fn whatever_one_thread_waits_for_others_list_and_unregister() {
    for (is, call) in CALLS {
        let daemon = FakeDaemon::start();
        let client = connect(&daemon);
        let registration = register(&client, "stats");
        let release = hold(&daemon, is);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| call(&client));
            daemon.wait_until_heard("the held request", |heard| heard.iter().any(is));
            client.list(None).unwrap();
            client.change("eth0").unregister("other").apply().unwrap();
            let others: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| client.list(Some("eth0")).unwrap()))
                .collect();
            for other in others {
                other.join().unwrap();
            }
            drop(registration);
            assert!(is_unregister(daemon.heard().last().unwrap()));
            assert!(!blocked.is_finished());
            drop(release);
            blocked.join().unwrap();
        });
    }
}

#[test]
fn connections_aside_end_with_their_answers_and_are_few() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let release = hold_all(&daemon, |body| {
        is_register(body) || matches!(body, RequestBody::List { .. })
    });
    thread::scope(|scope| {
        scope.spawn(|| drop(register(&client, "blocked")));
        daemon.wait_until_heard("the registration", |heard| heard.iter().any(is_register));
        for _ in 0..8 {
            scope.spawn(|| client.list(None).unwrap());
        }
        daemon.wait_until_connections("three aside", |open| open == 4);
        // Those that found no room went home, where the daemon hears them later.
        let lists = |heard: &[RequestBody]| heard.len() - 2 == 3;
        daemon.wait_until_heard("three lists", lists);
        drop(release);
    });
    daemon.wait_until_connections("one at home", |open| open == 1);
    assert_eq!(
        daemon.heard().len(),
        1 + 1 + 8 + 1,
        "object, member, lists, end"
    );
}

/// Five loads of almost a second each, asked for at once with two seconds for an answer.
#[test]
fn the_time_for_an_answer_begins_when_the_daemon_has_answered_what_was_asked_before() {
    let daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::from_secs(2));
    daemon.script(|body| {
        is_open(body).then(|| {
            let (end, release) = io::pipe().unwrap();
            thread::spawn(move || {
                // A daemon at work: the bound below is on the order, not on this time.
                thread::park_timeout(Duration::from_millis(800));
                drop(release);
            });
            Act::After(end, Box::new(Act::Usual))
        })
    });
    let began = Instant::now();
    thread::scope(|scope| {
        for queue in 0..5 {
            let client = &client;
            scope.spawn(move || assert_eq!(open(client, queue).queue(), queue));
        }
    });
    assert!(began.elapsed() > Duration::from_secs(3), "one by one");
}

/// Each scene takes the five seconds of a drop, so they are played side by side.
#[test]
fn guards_are_dropped_in_time_whatever_other_threads_wait_for() {
    thread::scope(|scope| {
        scope.spawn(a_lease_is_closed_when_its_turn_comes);
        scope.spawn(a_member_is_unregistered_when_its_turn_comes);
        scope.spawn(guards_are_dropped_while_a_connection_is_being_made);
    });
}

fn a_lease_is_closed_when_its_turn_comes() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let lease = open(&client, 0);
    let release = hold(&daemon, is_register);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| drop(register(&client, "blocked")));
        daemon.wait_until_heard("the registration", |heard| heard.iter().any(is_register));
        assert_bounded(|| drop(lease));
        assert!(!blocked.is_finished());
        drop(release);
        blocked.join().unwrap();
    });
    let is_close = |body: &RequestBody| matches!(body, RequestBody::CloseSocket { queue: 0, .. });
    daemon.wait_until_heard("the return", |heard| heard.iter().any(is_close));
}

fn a_member_is_unregistered_when_its_turn_comes() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client, "stats");
    let id = registration.id();
    let lists = |heard: &[RequestBody]| {
        let is_list = |body: &&RequestBody| matches!(body, RequestBody::List { .. });
        heard.iter().filter(is_list).count()
    };
    let release = hold_all(&daemon, |body| {
        is_register(body) || matches!(body, RequestBody::List { .. })
    });
    thread::scope(|scope| {
        scope.spawn(|| drop(client.register("eth1", &program("blocked")).unwrap()));
        daemon.wait_until_heard("the registration", |heard| {
            heard.iter().filter(|body| is_register(body)).count() == 2
        });
        for _ in 0..3 {
            scope.spawn(|| client.list(None).unwrap());
        }
        daemon.wait_until_heard("a list on every connection aside", |heard| {
            lists(heard) == 3
        });
        assert_bounded(|| drop(registration));
        assert!(!daemon.heard().iter().any(is_unregister));
        drop(release);
    });
    let is_ours = |body: &RequestBody| is_unregister_of(body, id);
    daemon.wait_until_heard("the end of the member", |heard| heard.iter().any(is_ours));
}

fn guards_are_dropped_while_a_connection_is_being_made() {
    let stops: [fn(&RequestBody) -> bool; 2] = [
        |body| matches!(body, RequestBody::Hello(_)),
        |body| matches!(body, RequestBody::Reclaim { .. }),
    ];
    let drops: [fn(Registration, SocketLease); 2] = [
        |registration, lease| {
            assert_bounded(|| drop(registration));
            std::mem::forget(lease);
        },
        |registration, lease| {
            assert_bounded(|| drop(lease));
            std::mem::forget(registration);
        },
    ];
    thread::scope(|scope| {
        for is in stops {
            for drop_one in drops {
                scope.spawn(move || {
                    let mut daemon = FakeDaemon::start();
                    let client = connect(&daemon);
                    let (registration, lease) = (register(&client, "stats"), open(&client, 0));
                    lease.activate().unwrap();
                    daemon.script(move |body| is(body).then_some(Act::Nothing));
                    daemon.restart();
                    daemon.wait_until_greeted("the keeper", 2);
                    drop_one(registration, lease);
                });
            }
        }
    });
}

#[test]
fn the_last_clone_takes_a_connection_with_it_that_is_being_made() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    client
        .change("eth0")
        .register(&program("stats"))
        .apply()
        .unwrap();
    daemon.script(|body| matches!(body, RequestBody::Reclaim { .. }).then_some(Act::Nothing));
    daemon.restart();
    daemon.wait_until_heard("a claim", |heard| heard.iter().any(is_claim));
    drop(client);
    daemon.wait_until_left();
}

#[test]
fn the_keeper_claims_while_other_threads_wait() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client, "stats");
    let is_map = |body: &RequestBody| matches!(body, RequestBody::MapDescriptor { .. });
    let (end, release) = io::pipe().unwrap();
    let mut unanswered = false;
    daemon.script(move |body| {
        if is_map(body) {
            return Some(Act::After(end.try_clone().unwrap(), Box::new(Act::Usual)));
        }
        let first = is_register(body) && !std::mem::replace(&mut unanswered, true);
        first.then_some(Act::Nothing)
    });
    thread::scope(|scope| {
        let home = scope.spawn(|| client.register("eth1", &program("blocked")).unwrap());
        daemon.wait_until_heard("the registration", |heard| {
            heard.iter().filter(|body| is_register(body)).count() == 2
        });
        let aside = scope.spawn(|| client.map("eth0", "stats", "PACKETS").unwrap());
        daemon.wait_until_heard("the request aside", |heard| heard.iter().any(is_map));
        daemon.hang_up_on(is_register);
        daemon.wait_until_heard("a claim", |heard| heard.iter().any(is_claim));
        // Asked again, over the new connection.
        assert_eq!(home.join().unwrap().name(), "blocked");
        assert!(!aside.is_finished());
        drop(release);
        aside.join().unwrap();
    });
    drop(registration);
    assert!(is_unregister(daemon.heard().last().unwrap()));
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_another() {
    let daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::from_millis(50));
    let release = hold(&daemon, is_open);
    let request = SocketRequest::new("eth0", 7);
    let error = client.open_bare_socket(&request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no answer to a request for a socket within 50 ms: it may still be done"
    );
    // The daemon is still at it: what is asked now goes another way.
    client.list(None).unwrap();
    drop(release);
    assert_eq!(open(&client, 8).queue(), 8);
    daemon.wait_until_connections("one at home", |open| open == 1);
}

/// Threads do everything at once against a daemon that answers late, hangs up, says nothing and is
/// restarted: every call ends, with its own answer or an error that says what is known.
#[test]
fn many_threads_get_their_own_answers_from_a_daemon_that_misbehaves() {
    const THREADS: u32 = 8;
    const TURNS: u32 = 25;
    const CALLS: u32 = THREADS * TURNS * 5;
    let mut daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::from_millis(250));
    let began = Instant::now();
    misbehave(&daemon);
    let unanswered = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let client = &client;
                scope.spawn(move || {
                    let call = |turn| everything(client, &format!("t{thread}-{turn}"));
                    (0..TURNS).map(call).sum::<u32>()
                })
            })
            .collect();
        for restart in 1..=3 {
            daemon.wait_until_heard("some more", |heard| heard.len() > restart * 100);
            daemon.restart();
        }
        let unanswered = threads.into_iter().map(|thread| thread.join().unwrap());
        unanswered.sum::<u32>()
    });
    assert!(unanswered > 0, "the daemon misbehaved");
    assert!(unanswered < CALLS / 2, "and answered: {unanswered}");
    assert!(began.elapsed() < Duration::from_secs(60));

    daemon.script(|_| None);
    daemon.restart();
    assert_eq!(client.list(None).unwrap(), []);
    drop(register(&client, "last"));
    assert!(is_unregister(daemon.heard().last().unwrap()));
    drop(client);
    daemon.wait_until_left();
}

/// Five calls; returns how many of them failed, for a reason that a daemon gives that misbehaves.
fn everything(client: &Client, name: &str) -> u32 {
    let listed = reached(|| client.list(Some(name)).map(drop));
    let registered = reached(|| {
        let registration = client.register(name, &program(name))?;
        let said = (registration.interface(), registration.name());
        assert_eq!(said, (name, name));
        Ok(())
    });
    let mapped = reached(|| {
        let map = client.map("eth0", name, "PACKETS")?;
        let mut contents = vec![0; "PACKETS of ".len() + name.len()];
        File::from(map).read_exact_at(&mut contents, 0).unwrap();
        assert_eq!(contents, format!("PACKETS of {name}").as_bytes());
        Ok(())
    });
    let opened = reached(|| {
        let lease = client.open_bare_socket(&SocketRequest::new(name, 3))?;
        assert_eq!(lease.queue(), 3);
        lease.activate()?;
        lease.close()
    });
    let changed = reached(|| client.change(name).unregister_all().apply().map(drop));
    let all = [listed, registered, mapped, opened, changed].into_iter();
    all.map(|reached| u32::from(!reached)).sum()
}

/// Whether a call was answered. While there is no daemon, it is made again.
fn reached(call: impl Fn() -> Result<(), Error>) -> bool {
    loop {
        match call() {
            Ok(()) => return true,
            Err(Error::NotReachable { .. }) => thread::yield_now(),
            Err(Error::Disconnected { .. } | Error::TimedOut { .. } | Error::Lost { .. }) => {
                return false;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Of 32 requests one is never answered, one ends its connection, and four are answered after the
/// next one.
fn misbehave(daemon: &FakeDaemon) {
    let mut random = 1_u32;
    let mut late: Vec<PipeWriter> = Vec::new();
    daemon.script(move |body| {
        late.clear();
        if matches!(body, RequestBody::Hello(_)) {
            return None;
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match random >> 27 {
            1 => Some(Act::HangUp),
            // A drop would wait its five seconds.
            _ if is_unregister(body) => None,
            0 => Some(Act::Nothing),
            2..=5 => {
                let (end, release) = io::pipe().unwrap();
                late.push(release);
                Some(Act::After(end, Box::new(Act::Usual)))
            }
            _ => None,
        }
    });
}

fn assert_bounded(drop_it: impl FnOnce()) {
    let began = Instant::now();
    drop_it();
    let took = began.elapsed();
    assert!(took < DROP_BOUND + SLACK, "{took:?}");
}

/// The first of these requests is answered when the returned end is dropped.
fn hold(daemon: &FakeDaemon, is: fn(&RequestBody) -> bool) -> PipeWriter {
    let mut held = false;
    hold_all(daemon, move |body| {
        let first = !held && is(body);
        held |= first;
        first
    })
}

/// All of these requests are.
fn hold_all(
    daemon: &FakeDaemon,
    mut is: impl FnMut(&RequestBody) -> bool + Send + 'static,
) -> PipeWriter {
    let (end, release) = io::pipe().unwrap();
    daemon.script(move |body| {
        let after = || Act::After(end.try_clone().unwrap(), Box::new(Act::Usual));
        is(body).then(after)
    });
    release
}

fn connect(daemon: &FakeDaemon) -> Client {
    let builder = Client::builder().socket(daemon.path()).name("test");
    builder.connect().unwrap()
}

fn register(client: &Client, name: &str) -> Registration {
    client.register("eth0", &program(name)).unwrap()
}

fn program(name: &str) -> Program {
    Program::from_bytes(*b"object").name(name)
}

fn open(client: &Client, queue: u32) -> SocketLease {
    let request = SocketRequest::new("eth0", queue);
    client.open_bare_socket(&request).unwrap()
}

fn is_register(body: &RequestBody) -> bool {
    let RequestBody::Change(change) = body else {
        return false;
    };
    matches!(change.operations.as_slice(), [Operation::Register(_)])
}

fn is_unregister(body: &RequestBody) -> bool {
    let RequestBody::Change(change) = body else {
        return false;
    };
    matches!(change.operations.as_slice(), [Operation::Unregister { .. }])
}

fn is_unregister_of(body: &RequestBody, id: u64) -> bool {
    let RequestBody::Change(change) = body else {
        return false;
    };
    let of_it = MemberRef::Id(id).into();
    change.operations == [Operation::Unregister { member: of_it }]
}

fn is_open(body: &RequestBody) -> bool {
    matches!(body, RequestBody::OpenSocket(_))
}

fn is_claim(body: &RequestBody) -> bool {
    matches!(body, RequestBody::Reclaim { .. })
}
