//! The binary against a fake daemon: exit codes, what it asks for, what it prints where.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

#[path = "../../libdispatch/tests/fake/mod.rs"]
mod fake;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use fake::{Act, FakeDaemon};
use libdispatch::{Lifetime, Verdict, VerdictMask};
use protocol::{
    Change, GlobalValue, Operation, Position, RefusalCode, Registration, Remedy, RequestBody,
    Source,
};

#[test]
fn a_command_line_without_sense_is_exit_code_2() {
    for (arguments, said) in [
        ("", "Usage: dispatchctl"),
        ("lisst", "'list'"),
        ("show eth0", "<NAME>"),
        ("load eth0", "OBJECT"),
        ("load eth0,eth0 a.o", "eth0 is given twice"),
        (
            "load eth0 a.o --mode fast",
            "auto, native, generic, offload",
        ),
        ("load eth0 a.o --engine jit", "auto, freplace, tailcall"),
        ("load eth0 a.o --chain-call reject", "aborted, drop, pass"),
        ("load eth0 a.o --on-miss pass", "abort, continue"),
        ("load eth0 a.o --priority -1", "unexpected argument"),
        ("load eth0 a.o --map-size RULES", "NAME=VALUE"),
        ("load eth0 a.o --global limit=many", "hex:0a0b"),
        ("load eth0 a.o --tail-call NEXT=f", "MAP:INDEX=FUNCTION"),
        ("load eth0 a.o b.o --name x", "one by one"),
        ("load eth0,eth1 a.o --if-generation 3", "one by one"),
        ("unload eth0", "NAME"),
        ("unload eth0 a --all", "cannot be used with"),
        ("reorder eth0 a", "say where it goes"),
        ("reorder eth0 a b --first", "whole order"),
        ("reorder eth0 a --first --last", "cannot be used with"),
        ("set eth0 a", "--allowed"),
        ("config eth0", "--final-verdict"),
        ("config eth0 --counters maybe", "on, off"),
        ("list --netns /run/netns/blue", "INTERFACE"),
    ] {
        let output = run(Path::new("/no/such/socket"), arguments);
        assert_eq!(code(&output), 2, "{arguments}");
        let error = stderr(&output);
        assert!(error.contains(said), "{arguments}: {error}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_exit_code_3() {
    let output = run(Path::new("/no/such/socket"), "list --json");
    assert_eq!(code(&output), 3);
    assert_eq!(error(&output)["code"], "not_reachable");
    assert_eq!(error(&output)["interface"], serde_json::Value::Null);
    for (arguments, interface) in [
        ("list eth0", "eth0"),
        ("show eth0 a", "eth0"),
        ("unload eth0 --all", "eth0"),
        (&format!("load eth0,eth1 {OBJECT}"), "eth0,eth1"),
        (&format!("replace eth0 a {OBJECT}"), "eth0"),
    ] {
        let output = run(Path::new("/no/such/socket"), &format!("{arguments} --json"));
        assert_eq!(code(&output), 3, "{arguments}");
        assert_eq!(error(&output)["interface"], interface, "{arguments}");
    }
    let output = run(Path::new("/no/such/socket"), "list");
    assert_eq!(code(&output), 3);
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).contains("/no/such/socket"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_refusal_is_exit_code_1_with_the_whole_log() {
    let daemon = FakeDaemon::start();
    let log = "math between pkt pointer and register with unbounded min value\n".repeat(20_000);
    let said = log.clone();
    daemon.script(move |body| {
        let log = Some(said.clone());
        let refusal = Act::Refuse(RefusalCode::Verifier, "the verifier refused firewall", log);
        matches!(body, RequestBody::Change(_)).then_some(refusal)
    });
    let output = run(daemon.path(), &format!("load eth0 {OBJECT} --json"));
    assert_eq!(code(&output), 1);
    assert_eq!(
        error(&output),
        serde_json::json!({
            "code": "verifier",
            "message": "the verifier refused firewall",
            "interface": "eth0",
            "remedy": null,
        }),
        "without the log"
    );
    let expected = format!("dispatchctl: eth0: the verifier refused firewall\n{log}");
    assert_eq!(stderr(&output), expected);
}

#[test]
fn every_command_says_a_refusal_as_json_too() {
    for arguments in [
        "status",
        "list",
        "list eth0",
        "show eth0 a",
        &format!("load eth0 {OBJECT}"),
        "unload eth0 a",
        "reorder eth0 a --first",
        "set eth0 a --allowed pass",
        &format!("replace eth0 a {OBJECT}"),
        "config eth0 --counters off",
    ] {
        let daemon = FakeDaemon::start();
        daemon.script(|body| {
            let is_asked = !matches!(body, RequestBody::Hello(_) | RequestBody::PutObject);
            is_asked.then(|| Act::RefuseFor(RefusalCode::Mode, "no", Remedy::SeeStatus))
        });
        let plain = run(daemon.path(), arguments);
        assert_eq!((code(&plain), stdout(&plain)), (1, String::new()));
        let output = run(daemon.path(), &format!("{arguments} --json"));
        assert_eq!(code(&output), 1, "{arguments}");
        assert_eq!(stderr(&output), stderr(&plain), "{arguments}");
        assert!(
            stderr(&output).ends_with("no; `dispatchctl status` says why\n"),
            "{arguments}: {}",
            stderr(&output)
        );
        let said = error(&output);
        assert_eq!(
            (&said["code"], &said["message"], &said["remedy"]),
            (
                &"mode".into(),
                &"no".into(),
                &"`dispatchctl status` says why".into()
            ),
            "{arguments}"
        );
        let about_one = arguments.contains("eth0");
        assert_eq!(said["interface"] == "eth0", about_one, "{arguments}");
    }
}

#[test]
fn an_object_that_cannot_be_read_is_exit_code_1() {
    let output = run(Path::new("/no/such/socket"), "load eth0 /no/such/object.o");
    assert_eq!(code(&output), 1);
    assert_eq!(
        stderr(&output),
        "dispatchctl: eth0: /no/such/object.o: No such file or directory (os error 2)\n"
    );
}

#[test]
fn loaded_programs_are_kept_members_with_what_was_said() {
    let daemon = FakeDaemon::start();
    let output = run(
        daemon.path(),
        &format!(
            "load eth0 {OBJECT} --name fw --program entry --priority 20 --chain-call pass,tx \
             --allowed none --mode generic --map-size RULES=16 --global limit=-1 \
             --global key=hex:0a0b --tail-call NEXT:3=parse --tail-depth 2 --share-group g"
        ),
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "eth0: slot 0, fw, program 101, tailcall, native, generation 1\n"
    );
    let change = daemon.changes().pop().unwrap();
    assert_eq!(change.mode, Some(libdispatch::ModeChoice::Generic));
    let registration = registrations(&change).pop().unwrap();
    assert_eq!(registration.lifetime, Lifetime::Kept);
    assert_eq!(registration.name.as_deref(), Some("fw"));
    assert_eq!(registration.priority, Some(20));
    let chain_call = VerdictMask::of(&[Verdict::Pass, Verdict::Tx]);
    assert_eq!(registration.chain_call, Some(chain_call));
    assert_eq!(registration.allowed, Some(VerdictMask::NONE));
    assert_eq!(registration.tail_depth, Some(2));
    assert_eq!(registration.share_group.as_deref(), Some("g"));
    let Source::Object(source) = registration.source else {
        panic!("{:?}", registration.source);
    };
    assert_eq!(source.program.as_deref(), Some("entry"));
    assert_eq!(source.map_sizes, [("RULES".to_owned(), 16)]);
    assert_eq!(
        source.globals,
        [
            ("limit".to_owned(), GlobalValue::Integer(-1)),
            ("key".to_owned(), GlobalValue::Bytes(vec![10, 11])),
        ]
    );
    assert_eq!(
        (source.tail_calls[0].index, source.tail_calls.len()),
        (3, 1)
    );
}

#[test]
fn several_objects_are_one_change_for_each_interface() {
    let daemon = FakeDaemon::start();
    let output = run(
        daemon.path(),
        &format!("load eth0,eth1 {OBJECT} {OBJECT} --priority 7 --json"),
    );
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["changes"].as_array().unwrap().len(), 2);
    let changes = daemon.changes();
    assert_eq!(changes.len(), 2);
    for (change, interface) in changes.iter().zip(["eth0", "eth1"]) {
        assert_eq!(change.interface.as_deref(), Some(interface));
        let priorities: Vec<_> = registrations(change)
            .iter()
            .map(|one| one.priority)
            .collect();
        assert_eq!(priorities, [Some(7), Some(7)]);
    }
}

#[test]
fn an_interface_that_refuses_undoes_the_ones_before_it() {
    let daemon = FakeDaemon::start();
    daemon.script(|body| match body {
        RequestBody::Change(change) if change.interface.as_deref() == Some("eth1") => Some(
            Act::Refuse(RefusalCode::NoSuchInterface, "no interface eth1", None),
        ),
        _ => None,
    });
    let output = run(daemon.path(), &format!("load eth0,eth1 {OBJECT} --name fw"));
    assert_eq!(code(&output), 1);
    assert_eq!(stderr(&output), "dispatchctl: no interface eth1\n");
    let last = daemon.changes().pop().unwrap();
    let member = "fw".into();
    assert_eq!(last.interface.as_deref(), Some("eth0"));
    assert_eq!(last.operations, [Operation::Unregister { member }]);
}

#[test]
fn each_changing_command_is_one_change() {
    let move_to = |to| Operation::Move {
        member: "a".into(),
        to,
    };
    for (arguments, expected) in [
        ("reorder eth0 a --first", move_to(Position::First)),
        ("reorder eth0 a --last", move_to(Position::Last)),
        (
            "reorder eth0 a --priority 0",
            move_to(Position::Priority(0)),
        ),
        (
            "reorder eth0 a --before b",
            move_to(Position::Before("b".to_owned())),
        ),
        (
            "reorder eth0 a --after b",
            move_to(Position::After("b".to_owned())),
        ),
        (
            "reorder eth0 b a",
            Operation::Order {
                names: vec!["b".to_owned(), "a".to_owned()],
            },
        ),
        ("unload eth0 --all", Operation::UnregisterAll),
    ] {
        let daemon = FakeDaemon::start();
        let output = run(
            daemon.path(),
            &format!("{arguments} --if-generation 4 --dry-run"),
        );
        assert_eq!(code(&output), 0, "{arguments}: {}", stderr(&output));
        assert_eq!(
            daemon.changes(),
            [Change {
                interface: Some("eth0".to_owned()),
                expected_revision: Some(4),
                dry_run: true,
                operations: vec![expected],
                ..Change::default()
            }]
        );
    }
}

#[test]
fn settings_that_are_not_given_stay() {
    let daemon = FakeDaemon::start();
    run(daemon.path(), "set eth0 a --allowed pass");
    run(daemon.path(), "config eth0 --counters off");
    let mut changes = daemon.changes();
    let configuration = protocol::Configuration {
        counters: Some(false),
        ..protocol::Configuration::default()
    };
    let configured = changes.pop().unwrap().operations;
    assert_eq!(configured, [Operation::Configure(configuration)]);
    let settings = protocol::Settings {
        allowed: Some(VerdictMask::PASS),
        ..protocol::Settings::default()
    };
    let member = "a".into();
    assert_eq!(
        changes.pop().unwrap().operations,
        [Operation::Set { member, settings }]
    );
}

#[test]
fn an_empty_list_is_a_document() {
    let daemon = FakeDaemon::start();
    let output = run(daemon.path(), "list --json");
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document, serde_json::json!({ "chains": [] }));
    assert_eq!(stdout(&run(daemon.path(), "list")), "no chain\n");
}

#[test]
fn the_socket_can_be_an_option() {
    let daemon = FakeDaemon::start();
    let output = Command::new(env!("CARGO_BIN_EXE_dispatchctl"))
        .args(["list", "--socket"])
        .arg(daemon.path())
        .env(libdispatch::SOCKET_VARIABLE, "/no/such/socket")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let daemon = FakeDaemon::start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_dispatchctl"))
        .arg("list")
        .env(libdispatch::SOCKET_VARIABLE, daemon.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}

/// Any file will do: the fake daemon takes everything for an object.
const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

fn run(socket: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dispatchctl"))
        .args(arguments.split_whitespace())
        .env(libdispatch::SOCKET_VARIABLE, socket)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What is in the document of a failure.
fn error(output: &Output) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_str(&stdout(output)).unwrap();
    document["error"].clone()
}

fn registrations(change: &Change) -> Vec<Registration> {
    let operations = change.operations.iter();
    operations
        .filter_map(|operation| match operation {
            Operation::Register(registration) => Some((**registration).clone()),
            _ => None,
        })
        .collect()
}
