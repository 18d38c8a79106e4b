//! Attached members: they live as long as their client, and a little longer.

use std::time::{Duration, Instant};

use libdispatch::{Client, MemberState, Position, Program, RefusalCode, Registration, Settings};
use protocol::{Connection, Hello, ReplyBody, RequestBody};
use tests::{DEADLINE, Lifetime, PairOptions, Rig, frame, object, patience, wait_until};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_dropped_guard_takes_its_member_away() {
    let rig = Rig::new();
    let client = rig.client("application");
    rig.load_verdict("kept", PASS, &[]);
    let registration = client
        .register("xd0", &attached("guard", DROP))
        .expect("there is room");
    assert_eq!(rig.chain().member("guard").lifetime, Lifetime::Attached);
    assert_eq!(rig.chain().member("guard").state, "running");
    assert_eq!(rig.chain().member("guard").owner.client, "application");
    assert_eq!(rig.chain().member("guard").owner.pid, std::process::id());
    rig.send(&frame(64), 100);
    let counters = registration.counters().expect("it is registered");
    assert_eq!(counters.get(libdispatch::Count::Drop), 100);
    drop(registration);
    assert_eq!(
        rig.chain().order(),
        ["kept"],
        "it is gone at once, without lingering"
    );
    client.status().expect("the connection goes on");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn unregister_says_whether_it_worked() {
    let rig = Rig::new();
    let client = rig.client("application");
    let registration = client
        .register("xd0", &attached("guard", DROP))
        .expect("there is room");
    registration.unregister().expect("it was there");
    assert_eq!(rig.try_chain(), None);
    let registration = client
        .register("xd0", &attached("guard", DROP))
        .expect("there is room");
    rig.ctl("unload", &["guard"]).done();
    registration.unregister().expect("it is not there any more");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_guard_leaves_another_member_of_its_name_alone() {
    let rig = Rig::new();
    let client = rig.client("application");
    let ends: [fn(Registration); 2] = [drop, |registration| {
        registration.unregister().expect("it is not there any more");
    }];
    for end in ends {
        let registration = client
            .register("xd0", &attached("guard", DROP))
            .expect("there is room");
        rig.ctl("unload", &["guard"]).done();
        rig.load_verdict("guard", PASS, &[]);
        let error = registration.set(Settings::default());
        let error = error.expect_err("it is not there any more");
        let code = error.refusal().expect("the daemon says it").code;
        assert_eq!(code, RefusalCode::NoSuchMember);
        end(registration);
        assert_eq!(rig.chain().order(), ["guard"]);
        rig.ctl("unload", &["guard"]).done();
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_lost_clients_member_lingers_still_running_and_then_goes() {
    let rig = Rig::new();
    rig.load_verdict("kept", PASS, &["--priority", "1"]);
    let client = rig.client("short-lived");
    let program = attached("guard", DROP).linger(Duration::from_secs(2));
    register(&client, &program);
    drop(client); // for the daemon, a killed process is a closed connection
    wait_until("the member lingers", DEADLINE, || {
        rig.chain().member("guard").state == "lingering"
    });
    assert_eq!(rig.root().run(&frame(64)), DROP, "it still runs");
    wait_until("the member is removed", DEADLINE, || {
        rig.chain().order() == ["kept"]
    });
    assert_eq!(rig.root().run(&frame(64)), PASS);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn without_linger_a_lost_clients_member_goes_at_once_and_its_chain_too() {
    let rig = Rig::new();
    let client = rig.client("short-lived");
    register(&client, &attached("guard", DROP).linger(Duration::ZERO));
    drop(client);
    wait_until("the chain is removed", DEADLINE, || {
        rig.try_chain().is_none()
    });
    assert_eq!(rig.pair.near.xdp_program(), None);
    wait_until("the pins are gone", DEADLINE, || {
        rig.daemon.bpffs().pins().is_empty()
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_kept_member_outlives_its_client() {
    let rig = Rig::new();
    let client = rig.client("installer");
    let linger = Duration::ZERO;
    let registration = client.register("xd0", &attached("guard", DROP).linger(linger));
    registration
        .expect("there is room")
        .keep()
        .expect("it can be kept");
    register(&client, &attached("gone", PASS).linger(linger));
    drop(client);
    wait_until("the other one is removed", DEADLINE, || {
        rig.chain().order() == ["guard"]
    });
    assert_eq!(rig.chain().member("guard").lifetime, Lifetime::Kept);
    assert_eq!(rig.root().run(&frame(64)), DROP);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_client_gets_its_member_back_from_a_restarted_daemon_by_itself() {
    let mut rig = Rig::new();
    let client = rig.client("application");
    let registration = client
        .register("xd0", &attached("guard", DROP))
        .expect("there is room");
    let before = rig.chain();
    rig.daemon.kill();
    rig.send(&frame(64), 100);
    rig.daemon.restart();
    wait_until("the member is its client's again", DEADLINE, || {
        rig.chain().member("guard").state == "running"
    });
    let after = rig.chain();
    assert_eq!(after.clone().without_packets(), before.without_packets());
    assert_eq!(
        registration.counters().expect("it is registered").total(),
        100
    );
    registration
        .set(Settings {
            allowed: Some("pass".parse().expect("a mask")),
            ..Settings::default()
        })
        .expect("it is ours");
    drop(registration);
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_orphan_of_a_restart_lingers_as_long_as_the_operator_says() {
    let linger = patience(Duration::from_secs(2));
    let seconds = linger.as_secs().to_string();
    let mut rig = Rig::with(&["--restart-linger", &seconds], &PairOptions::default());
    let client = rig.client("short-lived");
    register(&client, &attached("guard", DROP).linger(Duration::ZERO));
    rig.load_verdict("kept", PASS, &[]);
    rig.daemon.kill();
    drop(client);
    // Its client may need some time to find the new daemon, whatever it said.
    let start = Instant::now();
    rig.daemon.restart();
    assert_eq!(rig.chain().member("guard").state, "lingering");
    assert_eq!(rig.root().run(&frame(64)), DROP, "nothing was touched");
    wait_until("the orphan is removed", linger + DEADLINE, || {
        rig.chain().order() == ["kept"]
    });
    assert!(start.elapsed() > linger, "{:?}", start.elapsed());
    assert_eq!(rig.root().run(&frame(64)), PASS);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_lingering_member_is_not_given_to_who_does_not_know_its_token() {
    let rig = Rig::new();
    let client = rig.client("owner");
    register(&client, &attached("guard", DROP));
    let stranger = connect(&rig);
    let member = rig.chain().member("guard").id;
    let reclaim = |token| RequestBody::Reclaim { member, token };
    // Neither while its owner is there, nor afterwards.
    refused_claim(&stranger, reclaim([0; 16]));
    drop(client);
    wait_until("the member lingers", DEADLINE, || {
        rig.chain().member("guard").state == "lingering"
    });
    refused_claim(&stranger, reclaim([0; 16]));
    refused_claim(&stranger, reclaim([0xff; 16]));
    assert_eq!(rig.chain().member("guard").state, "lingering");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_lingering_member_can_be_moved_set_kept_and_removed() {
    let rig = Rig::new();
    let client = rig.client("short-lived");
    register(&client, &attached("one", PASS));
    register(&client, &attached("two", PASS));
    drop(client);
    wait_until("the members linger", DEADLINE, || {
        rig.chain()
            .members
            .iter()
            .all(|member| member.state == "lingering")
    });
    let operator = rig.client("operator");
    operator
        .change("xd0")
        .reorder("two", Position::First)
        .apply()
        .expect("it can be moved");
    let keep = Settings {
        lifetime: Some(libdispatch::Lifetime::Kept),
        ..Settings::default()
    };
    operator
        .change("xd0")
        .set("two", keep)
        .apply()
        .expect("it can be kept");
    operator
        .change("xd0")
        .unregister("one")
        .apply()
        .expect("it can be removed");
    let shown = operator.show("xd0", "two").expect("it is there");
    assert_eq!(shown.member.state, MemberState::Running);
    assert_eq!(rig.chain().order(), ["two"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn kept_does_not_become_attached() {
    let rig = Rig::new();
    rig.load_verdict("kept", PASS, &[]);
    let before = rig.chain();
    let attach = Settings {
        lifetime: Some(libdispatch::Lifetime::Attached),
        ..Settings::default()
    };
    let client = rig.client("operator");
    client
        .change("xd0")
        .set("kept", attach)
        .apply()
        .expect_err("the other way only");
    assert_eq!(rig.chain(), before);
}

fn attached(name: &str, verdict: u32) -> Program {
    Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name(name)
        .global("verdict", verdict)
}

/// Registers without a guard: as long as the connection.
fn register(client: &Client, program: &Program) {
    client
        .change("xd0")
        .register(program)
        .apply()
        .expect("there is room");
}

/// A connection that speaks for itself.
fn connect(rig: &Rig) -> Connection {
    let connection = Connection::connect(&rig.daemon.socket()).expect("the daemon listens");
    let hello = Hello {
        lowest: protocol::VERSION_LOWEST,
        highest: protocol::VERSION_HIGHEST,
        client: "stranger".to_owned(),
        ..Hello::default()
    };
    let request = protocol::Request {
        id: 1,
        body: RequestBody::Hello(hello),
    };
    connection.send(&request, &[]).expect("the daemon reads");
    let (reply, _) = connection
        .receive::<protocol::Reply>()
        .expect("the daemon answers")
        .expect("the daemon goes on");
    assert!(matches!(reply.body, Ok(ReplyBody::Welcome(_))));
    connection
}

fn refused_claim(connection: &Connection, body: RequestBody) {
    connection
        .send(&protocol::Request { id: 2, body }, &[])
        .expect("the daemon reads");
    let (reply, _) = connection
        .receive::<protocol::Reply>()
        .expect("the daemon answers")
        .expect("the daemon goes on");
    let refused = reply.body.expect_err("the token is wrong");
    assert_eq!(refused.code, protocol::RefusalCode::Claim, "{refused}");
}
