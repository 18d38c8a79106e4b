//! What a client says to the daemon, and what it makes of the answers.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

mod fake;

use std::{
    io::Read as _,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    thread,
    time::Duration,
};

use fake::{Act, FakeDaemon};
use libdispatch::{
    Client, Error, Lifetime, Position, Program, RefusalCode, Registration, Remedy, Settings,
    Verdict, VerdictMask,
};
use protocol::{
    Listener, MemberRef, Operation, OptionKey, RefusalCode as Code, Refused, ReplyBody, RequestBody,
};
use rustix::net::{RecvFlags, SendFlags, recv, send};

#[test]
fn a_dropped_registration_is_unregistered() {
    let daemon = FakeDaemon::start();
    let registration = register(&connect(&daemon));
    assert_eq!((registration.name(), registration.slot()), ("stats", 0));
    assert_eq!(registration.program_id(), Some(101));
    drop(registration);
    assert_eq!(last_operations(&daemon), [unregister(1)]);
}

#[test]
fn unregister_says_whether_it_worked() {
    let daemon = FakeDaemon::start();
    let registration = register(&connect(&daemon));
    daemon.script(refuse_changes);
    let error = registration.unregister().unwrap_err();
    assert_eq!(error.to_string(), "no, eth0 is busy");
    assert_eq!(error.refusal().unwrap().code, RefusalCode::InterfaceBusy);
    assert_eq!(daemon.changes().len(), 2, "the drop doesn't ask again");
}

/// Its name may be another member's by now, and its interface may have another name.
#[test]
fn a_guard_names_its_member_by_its_id() {
    let daemon = FakeDaemon::start();
    let mut registration = register(&connect(&daemon));
    let namespaces = daemon.namespaces();
    registration.set(Settings::default()).unwrap();
    registration.move_to(Position::First).unwrap();
    registration.replace(&program()).unwrap();
    registration.detail().unwrap();
    drop(registration);
    let of_member: Vec<_> = daemon
        .heard()
        .into_iter()
        .filter_map(|body| match body {
            RequestBody::Change(change) => {
                let [operation] = change.operations.as_slice() else {
                    panic!("{change:?}");
                };
                operation.member().cloned()
            }
            RequestBody::Show { member, .. } => Some(member),
            _ => None,
        })
        .collect();
    assert_eq!(of_member, vec![MemberRef::Id(1).into(); 5]);
    assert_eq!(daemon.namespaces(), namespaces, "no interface is named");
}

#[test]
fn a_member_that_somebody_else_removed_is_unregistered() {
    let daemon = FakeDaemon::start();
    let registration = register(&connect(&daemon));
    daemon.script(|body| {
        let change = matches!(body, RequestBody::Change(_));
        change.then_some(Act::Refuse(
            Code::NoSuchMember,
            "no member has the id 1",
            None,
        ))
    });
    registration.unregister().unwrap();
}

#[test]
fn a_kept_registration_stays() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    register(&client).keep().unwrap();
    let settings = protocol::Settings {
        lifetime: Some(Lifetime::Kept),
        ..protocol::Settings::default()
    };
    let member = MemberRef::Id(1).into();
    assert_eq!(
        last_operations(&daemon),
        [Operation::Set { member, settings }]
    );

    let heard = daemon.heard().len();
    drop(client.register("eth0", &program().kept()).unwrap());
    assert_eq!(daemon.heard().len(), heard + 1);
}

#[test]
fn a_registration_that_cannot_be_kept_is_unregistered() {
    let daemon = FakeDaemon::start();
    let registration = register(&connect(&daemon));
    let mut refused = false;
    daemon.script(move |body| {
        if refused {
            return None;
        }
        refused = true;
        refuse_changes(body)
    });
    registration.keep().unwrap_err();
    assert_eq!(last_operations(&daemon), [unregister(1)]);
}

#[test]
fn an_object_is_staged_once_for_each_connection() {
    let mut daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let program = program().kept();
    let staged = |daemon: &FakeDaemon| {
        let heard = daemon.heard();
        let is_staging = |body: &&RequestBody| matches!(body, RequestBody::PutObject);
        heard.iter().filter(is_staging).count()
    };
    drop(client.register("eth0", &program).unwrap());
    drop(client.register("eth1", &program).unwrap());
    assert_eq!(staged(&daemon), 1);

    daemon.restart();
    drop(client.register("eth2", &program).unwrap());
    assert_eq!(staged(&daemon), 2);
}

#[test]
fn a_verifier_log_arrives_whole() {
    let daemon = FakeDaemon::start();
    let log = "R1 invalid mem access 'scalar'\n".repeat(40_000);
    let said = log.clone();
    daemon.script(move |body| {
        matches!(body, RequestBody::Change(_))
            .then(|| Act::Refuse(Code::Verifier, "eth0: refused", Some(said.clone())))
    });
    let error = connect(&daemon).register("eth0", &program()).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.code, RefusalCode::Verifier);
    assert_eq!(refusal.log.as_deref(), Some(log.as_str()));
}

#[test]
fn a_change_set_is_one_request_in_its_order() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let changed = client
        .change("eth0")
        .expect_revision(7)
        .unregister("old")
        .register(&program())
        .reorder("new", Position::Before("stats".to_owned()))
        .set(
            "new",
            Settings {
                allowed: Some(VerdictMask::of(&[Verdict::Pass])),
                ..Settings::default()
            },
        )
        .order(&["new", "stats"])
        .apply()
        .unwrap();
    assert_eq!(changed.revision, 1);
    assert_eq!(changed.members[0].program_id, Some(101));

    let change = daemon.changes().pop().unwrap();
    assert_eq!((change.expected_revision, change.dry_run), (Some(7), false));
    assert!(matches!(
        change.operations.as_slice(),
        [
            Operation::Unregister { .. },
            Operation::Register(_),
            Operation::Move { .. },
            Operation::Set { .. },
            Operation::Order { .. },
        ]
    ));
}

#[test]
fn several_interfaces_are_all_or_none() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let both = client.register_all(&["eth0", "eth1"], &program()).unwrap();
    assert_eq!(both[1].interface(), "eth1");
    drop(both);

    daemon.script(|body| match body {
        RequestBody::Change(change) if change.interface.as_deref() == Some("eth1") => {
            refuse_changes(body)
        }
        _ => None,
    });
    for (program, id) in [(program(), 3), (program().kept(), 4)] {
        client
            .register_all(&["eth0", "eth1"], &program)
            .unwrap_err();
        let change = daemon.changes().pop().unwrap();
        assert_eq!(change.operations, [unregister(id)]);
    }
}

#[test]
fn a_map_comes_as_a_descriptor() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let registration = register(&client);
    let mut contents = [0; 16];
    let file = std::fs::File::from(registration.map("PACKETS").unwrap());
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut contents, 0).unwrap();
    assert_eq!(&contents, b"PACKETS of stats");
}

#[test]
fn the_namespace_goes_with_every_request_that_names_an_interface() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    client.list(None).unwrap();
    assert_eq!(daemon.namespaces(), 0);
    client.list(Some("eth0")).unwrap();
    client.list(Some("eth0")).unwrap();
    assert_eq!(daemon.namespaces(), 2);
    let sent = rustix::fs::fstat(daemon.take_namespace().as_fd()).unwrap();
    let own = std::fs::metadata("/proc/thread-self/ns/net").unwrap();
    assert_eq!((sent.st_dev, sent.st_ino), (own.dev(), own.ino()));
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let socket = "/no/such/directory/socket";
    let error = Client::builder().socket(socket).connect().unwrap_err();
    assert!(matches!(error, Error::NotReachable { .. }));
    assert_eq!(
        error.to_string(),
        format!("the daemon can't be reached at {socket}")
    );
}

#[test]
fn a_daemon_of_version_0_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Listener::bind(&path, 0o600).unwrap();
    let daemon = thread::spawn(move || {
        let connection = listener.accept().unwrap();
        let mut bytes = [0; 256];
        let (length, _) = recv(&connection, &mut bytes, RecvFlags::empty()).unwrap();
        // `u8` inline, `u64` id, `u32` Hello, `u16` lowest, `u16` highest, and a name: no more.
        let name = b"old";
        let end = [&3_u64.to_le_bytes()[..], name].concat();
        let head = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0];
        assert_eq!(bytes[..length], [&head[..], &end].concat());
        // `u64` id, `u32` refused, `u32` code, the message, no log: what version 0 answers.
        let said = "this daemon speaks 0 to 0";
        let head = [0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let message = [&(said.len() as u64).to_le_bytes()[..], said.as_bytes()].concat();
        let reply = [&head[..], &message, &[0]].concat();
        send(&connection, &reply, SendFlags::empty()).unwrap();
    });
    let builder = Client::builder().socket(&path).name("old");
    let error = builder.connect().unwrap_err();
    assert!(
        matches!(&error, Error::VersionMismatch { ours: 1, theirs } if theirs.ends_with("0 to 0")),
        "{error}"
    );
    daemon.join().unwrap();
}

#[test]
fn pushes_between_the_replies_are_passed_over() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(|body| {
        matches!(body, RequestBody::List { .. })
            .then(|| Act::SayAfterPushes(ReplyBody::Chains(Vec::new())))
    });
    for _ in 0..3 {
        assert_eq!(client.list(None).unwrap(), []);
    }
}

#[test]
fn an_answer_with_an_unknown_option_that_must_be_understood_is_no_answer() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(|body| {
        let mut changed = protocol::Changed::default();
        let key = OptionKey::required(77);
        changed.options.set(key, &1_u8).unwrap();
        matches!(body, RequestBody::Change(_)).then_some(Act::Say(ReplyBody::Changed(changed)))
    });
    let error = client.change("eth0").unregister("a").apply().unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    assert!(error.to_string().contains("option 77"), "{error}");
}

#[test]
fn a_refusal_with_an_unknown_option_that_must_be_understood_is_no_answer() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    let mut refused = Refused::new(Code::Conflict, "no");
    let option = OptionKey::<u32>::required(9);
    refused.options.set(option, &1).unwrap();
    daemon.script(move |body| {
        let list = matches!(body, RequestBody::List { .. });
        list.then(|| Act::Deny(refused.clone()))
    });
    let error = client.list(None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the daemon's answer to a request for the list makes no sense: \
         Refused has option 9, which this library doesn't know"
    );
}

#[test]
fn any_time_may_be_waited() {
    let daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::MAX);
    drop(register(&client));
    client.list(None).unwrap();
}

#[test]
fn a_refusal_says_what_would_mend_it() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(|body| {
        let remedy = protocol::Remedy::AllowLoad { uid: 7 };
        matches!(body, RequestBody::Status).then_some(Act::RefuseFor(
            Code::NotAllowed,
            "no",
            remedy,
        ))
    });
    let error = client.status().unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.remedy, Some(Remedy::AllowLoad { uid: 7 }));
    assert_eq!(refusal.message, "no");
    assert_eq!(
        error.to_string(),
        "no; the daemon's operator can let user 7 load its own objects"
    );
}

#[test]
fn a_user_who_is_turned_away_hears_of_the_remedy() {
    let daemon = FakeDaemon::start();
    let daemon_says = [
        (Code::NotAllowed, Remedy::AllowUser),
        (Code::Quota, Remedy::CloseConnections),
    ];
    for (code, remedy) in daemon_says {
        daemon.script(move |_| Some(Act::Refuse(code, "not you, uid 7", None)));
        let error = try_connect(&daemon).unwrap_err();
        assert_eq!(error.refusal().unwrap().remedy, Some(remedy));
    }
}

#[test]
fn a_daemon_of_another_version_is_told_apart() {
    let daemon = FakeDaemon::start();
    daemon.script(|_| Some(Act::Refuse(Code::Version, "version 3 to 4", None)));
    let error = try_connect(&daemon).unwrap_err();
    assert!(
        matches!(&error, Error::VersionMismatch { ours: 1, theirs } if theirs == "version 3 to 4")
    );

    daemon.script(|_| {
        Some(Act::Say(ReplyBody::Welcome(protocol::Welcome {
            version: 9,
            daemon: "from the future".to_owned(),
            ..protocol::Welcome::default()
        })))
    });
    let error = try_connect(&daemon).unwrap_err();
    assert!(matches!(error, Error::VersionMismatch { ours: 1, .. }));
}

#[test]
fn an_answer_to_another_question_ends_the_connection() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon);
    daemon.script(|body| {
        matches!(body, RequestBody::Status).then_some(Act::Say(ReplyBody::Reclaimed))
    });
    let error = client.status().unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }));
    daemon.wait_until_left();
    client.list(None).unwrap();
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_one() {
    let daemon = FakeDaemon::start();
    let client = daemon.client_with(Duration::from_millis(50));
    let (answer, late) = std::io::pipe().unwrap();
    let mut waiting = Some(answer);
    daemon.script(move |body| {
        if matches!(body, RequestBody::Status) {
            // Answers when the client has stopped waiting.
            waiting.take()?.read_to_end(&mut Vec::new()).unwrap();
        }
        None
    });
    let error = client.status().unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    drop(late);
    assert_eq!(client.list(None).unwrap(), []);
}

fn connect(daemon: &FakeDaemon) -> Client {
    try_connect(daemon).unwrap()
}

fn try_connect(daemon: &FakeDaemon) -> Result<Client, Error> {
    Client::builder()
        .socket(daemon.path())
        .name("test")
        .connect()
}

fn register(client: &Client) -> Registration {
    client.register("eth0", &program()).unwrap()
}

fn program() -> Program {
    Program::from_bytes(*b"object").name("stats")
}

fn refuse_changes(body: &RequestBody) -> Option<Act> {
    let is_change = matches!(body, RequestBody::Change(_));
    is_change.then_some(Act::Refuse(Code::InterfaceBusy, "no, eth0 is busy", None))
}

fn last_operations(daemon: &FakeDaemon) -> Vec<Operation> {
    daemon.changes().pop().unwrap().operations
}

fn unregister(id: u64) -> Operation {
    Operation::Unregister {
        member: MemberRef::Id(id).into(),
    }
}
