//! The edges of the wire: other versions, what a stranger may cost, and changes that are sent twice.

mod raw;

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};

use libdispatch::{Lifetime, RefusalCode, Remedy};
use nix::errno::Errno;
use protocol::{
    Hello, Operation, OptionKey, Options, RefusalCode as Code, Registered, ReplyBody, RequestBody,
};
use raw::{Raw, Scene, change, register};
use tests::{DEADLINE, Rig, as_user, kernel_is, object, wait_until};

/// Nobody's.
const USER: u32 = 54_321;
/// The first kernel that keeps descriptors out which nobody has asked for.
const KEEPS_OUT: (u32, u32) = (6, 16);
/// Connections of one uid that the daemon takes.
const CONNECTIONS: usize = 64;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_client_of_version_0_reads_why_it_is_refused() {
    let scene = Scene::new();
    let client = Raw::connect(&scene.rig);
    // `Hello { lowest: 0, highest: 0, client: "old" }` with id 7, as version 0 sent it.
    let id = [7, 0, 0, 0, 0, 0, 0, 0];
    let hello = [
        &[0][..],
        &id,
        &[0; 4],
        &[0; 4],
        &[3, 0, 0, 0, 0, 0, 0, 0],
        b"old",
    ];
    client.send(&hello.concat(), &[]).expect("it is small");
    let packet = client.packet();
    // As version 0 read it: the id, `Err`, the code, the message, no log, and no byte more.
    let (head, rest) = packet.split_at(1 + 8 + 4 + 4);
    assert_eq!(head, [&[0][..], &id, &[1, 0, 0, 0], &[0; 4]].concat());
    let (length, rest) = rest.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
    let (message, rest) = rest.split_at(usize::try_from(length).expect("it is short"));
    let message = std::str::from_utf8(message).expect("it is text");
    assert!(message.contains("this daemon 1 to 1"), "{message}");
    assert_eq!(rest, [0]);
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn connections_that_have_not_greeted_cost_next_to_nothing() {
    let scene = Scene::with(&["--allow-uid", "54321"]);
    // What the first clients of any kind leave behind in the allocator is not counted.
    let descriptors = scene.rig.daemon.descriptors();
    let all_gone = || {
        wait_until("the daemon has hung up too", DEADLINE, || {
            scene.rig.daemon.descriptors() <= descriptors
        });
    };
    drop(hostile_greetings(&scene, 4));
    drop(silent(&scene, 4));
    all_gone();
    let before = scene.rig.daemon.memory();
    let clients = hostile_greetings(&scene, CONNECTIONS);
    let grown = scene.rig.daemon.memory().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes for {CONNECTIONS} greetings");
    let expected = if kernel_is(KEEPS_OUT) {
        Code::TooLarge
    } else {
        Code::Descriptor
    };
    for client in clients {
        assert_eq!(client.refusal().code, expected);
    }
    all_gone();
    let clients = silent(&scene, CONNECTIONS);
    let grown = scene.rig.daemon.memory().saturating_sub(before);
    assert!(
        grown < 1 << 20,
        "{grown} bytes for {CONNECTIONS} that say nothing"
    );
    drop(clients);
    scene.still_stands();
}

/// Connections that each sent a sealed memfd of 17 MiB without a page in it as the body of their
/// greeting, as far as the kernel let them, and were refused.
fn hostile_greetings(scene: &Scene, count: usize) -> Vec<Raw> {
    let sparse = memfd(17 << 20);
    as_user(USER, || {
        let clients: Vec<Raw> = (0..count).map(|_| Raw::connect(&scene.rig)).collect();
        for client in &clients {
            let sent = client.send(&[1], &[sparse.as_raw_fd()]);
            if kernel_is(KEEPS_OUT) {
                assert_eq!(sent, Err(Errno::EPERM));
                client.send(&[1], &[]).expect("the socket takes it");
            } else {
                sent.expect("the socket takes it");
            }
        }
        for client in &clients {
            client.wait_for_answer();
        }
        clients
    })
}

/// Connections that the daemon has, and that say nothing.
fn silent(scene: &Scene, count: usize) -> Vec<Raw> {
    let clients = as_user(USER, || {
        (0..count).map(|_| Raw::connect(&scene.rig)).collect()
    });
    // Connections are taken in order: when this one is answered, the daemon has all of them.
    Raw::connect(&scene.rig).greet();
    clients
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_whom_nobody_let_in_is_refused_before_it_says_a_word() {
    let scene = Scene::with(&["--allow-uid", "54322:load"]);
    as_user(USER, || {
        let client = Raw::connect(&scene.rig);
        let refused = client.refusal();
        assert_eq!(refused.code, Code::NotAllowed);
        assert!(refused.message.contains("54321"), "{refused}");
        assert!(refused.options.is_empty(), "its version isn't known");
    });
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_without_the_right_to_load_stages_nothing_and_sends_nothing_large() {
    let scene = Scene::with(&["--allow-uid", "54321"]);
    as_user(USER, || {
        let client = Raw::connect(&scene.rig);
        client.greet();
        let sparse = memfd(16 << 20);
        client.ask(RequestBody::PutObject, &[sparse.as_fd()]);
        let refused = client.refusal();
        assert_eq!(refused.code, Code::NotAllowed, "{refused}");
        let remedy = refused.remedy();
        assert_eq!(remedy, Some(protocol::Remedy::AllowLoad { uid: USER }));
        client.ask(RequestBody::Status, &[]);
        assert!(matches!(client.reply().body, Ok(ReplyBody::Status(_))));
        let body = memfd(17 << 20);
        client
            .send(&[1], &[body.as_raw_fd()])
            .expect("the socket takes it");
        assert_eq!(client.refusal().code, Code::TooLarge);
    });
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_unknown_option_is_skipped_or_refused_as_its_number_says() {
    let scene = Scene::new();
    let client = Raw::connect(&scene.rig);
    let mut skipped = Options::new();
    let word: OptionKey<String> = OptionKey::optional(99);
    skipped.set(word, &"later".to_owned()).expect("it is small");
    let hello = |options| {
        RequestBody::Hello(Hello {
            lowest: 1,
            highest: 7,
            client: "from the future".to_owned(),
            options,
        })
    };
    client.ask(hello(skipped.clone()), &[]);
    assert!(matches!(client.reply().body, Ok(ReplyBody::Welcome(_))));
    let RequestBody::Change(mut change) = change("xd0", vec![last("kept")]) else {
        unreachable!("it is a change")
    };
    change.options = skipped;
    client.ask(RequestBody::Change(change.clone()), &[]);
    assert!(matches!(client.reply().body, Ok(ReplyBody::Changed(_))));
    let needed: OptionKey<u8> = OptionKey::required(98);
    change.options.set(needed, &1).expect("it is small");
    client.ask(RequestBody::Change(change), &[]);
    let refused = client.refusal();
    assert_eq!(refused.code, Code::Unsupported);
    assert!(refused.message.contains("98"), "{refused}");
    for body in [
        RequestBody::Subscribe { interface: None },
        RequestBody::Unsubscribe,
    ] {
        client.ask(body, &[]);
        assert_eq!(client.refusal().code, Code::Unsupported);
    }
    drop(client);
    let _ = scene.rig.chain();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_refused_request_is_one_bounded_line_of_the_log() {
    let scene = Scene::new();
    let client = Raw::connect(&scene.rig);
    client.greet();
    // Each byte is several in the log.
    let name = "\u{1b}".repeat(protocol::NAME_BYTES_MAX);
    let before = scene.rig.daemon.log().len();
    let show = RequestBody::Show {
        interface: Some("xd0".to_owned()),
        member: name.into(),
    };
    client.ask(show, &[]);
    assert_eq!(client.refusal().code, Code::NoSuchMember);
    wait_until("it is logged", DEADLINE, || {
        scene.rig.daemon.log()[before..].contains("refused a request")
    });
    let log = scene.rig.daemon.log();
    let longest = log[before..].lines().map(str::len).max();
    assert!(longest < Some(8192), "{longest:?} bytes in a line");
    drop(client);
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_change_that_is_sent_again_is_taken_up_and_not_done_twice() {
    for lifetime in [Lifetime::Attached, Lifetime::Kept] {
        let mut rig = Rig::new();
        let bytes = fs::read(object("verdict")).expect("it was compiled");
        let ask = |client: &Raw, token| {
            let digest = client.stage(&bytes);
            let mut operation = register("guard", digest, 5, lifetime == Lifetime::Attached);
            if let Operation::Register(registration) = &mut operation {
                registration.token = token;
                registration.linger_ms = 60_000;
            }
            client.ask(change("xd0", vec![operation]), &[]);
            client.reply().body
        };
        let registered = |answer| match answer {
            Ok(ReplyBody::Changed(changed)) => {
                let [Registered { id, taken_up, .. }] = changed.members[..] else {
                    panic!("{:?}", changed.members);
                };
                (id, taken_up)
            }
            other => panic!("{other:?}"),
        };
        let client = Raw::connect(&rig);
        client.greet();
        let (id, taken_up) = registered(ask(&client, [1; 16]));
        assert!(!taken_up);
        let generation = rig.chain().generation;
        rig.daemon.kill();
        rig.daemon.restart();

        let stranger = Raw::connect(&rig);
        stranger.greet();
        let refused = ask(&stranger, [2; 16]).expect_err("the name is taken");
        assert_eq!(refused.code, Code::NameTaken, "{refused}");
        let again = Raw::connect(&rig);
        again.greet();
        assert_eq!(registered(ask(&again, [1; 16])), (id, true));
        assert_eq!(registered(ask(&again, [1; 16])), (id, true), "and again");
        assert_eq!(rig.chain().generation, generation, "nothing was swapped");
        assert_eq!(rig.chain().member("guard").state, "running");
        drop(again);
        let state = if lifetime == Lifetime::Attached {
            "lingering"
        } else {
            "running"
        };
        wait_until("its client is seen to be gone", DEADLINE, || {
            rig.chain().member("guard").state == state
        });
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_member_is_found_by_its_id_after_its_interface_was_renamed() {
    let rig = Rig::new();
    let client = rig.client("owner");
    let program = libdispatch::Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name("guard");
    let registration = client.register("xd0", &program).expect("there is room");
    let netns = rig.pair.near.netns.name();
    // Older kernels rename only what is down.
    for change in [["down"].as_slice(), &["name", "wan0"]] {
        let renamed = std::process::Command::new("ip")
            .args(["-n", netns, "link", "set", "xd0"])
            .args(change)
            .status();
        assert!(renamed.expect("ip runs").success(), "{change:?}");
    }
    registration.map(".rodata").expect("it is the same member");
    let detail = registration.detail().expect("it is the same member");
    assert_eq!(detail.member.id, registration.id());
    let settings = libdispatch::Settings {
        allowed: Some(libdispatch::VerdictMask::PASS),
        ..libdispatch::Settings::default()
    };
    registration.set(settings).expect("it is the same member");
    registration.unregister().expect("it was there");
    assert_eq!(client.list(None).expect("it answers"), []);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_refusal_names_its_remedy_as_data() {
    let rig = Rig::new();
    rig.load_verdict("first", 2, &["--mode", "generic"]);
    let program = libdispatch::Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name("second")
        .mode(libdispatch::ModeChoice::Native);
    let error = rig.client("owner").register("xd0", &program);
    let error = error.expect_err("it runs in another mode");
    let refusal = error.refusal().expect("the daemon says it");
    assert_eq!(refusal.code, RefusalCode::Mode);
    assert!(!refusal.message.contains("dispatchctl"), "{refusal}");
    let remedy = Remedy::ChangeMode {
        interface: "xd0".to_owned(),
        mode: libdispatch::Mode::Native,
    };
    assert_eq!(refusal.remedy, Some(remedy));
    let path = object("verdict");
    let output = rig.try_load(&path, "second", &["--mode", "native", "--json"]);
    let document: serde_json::Value =
        serde_json::from_str(&output.stdout).expect("it is a document");
    let error = &document["error"];
    assert_eq!(
        (&error["code"], &error["interface"]),
        (&"mode".into(), &"xd0".into())
    );
    assert_eq!(
        error["remedy"],
        "`dispatchctl config xd0 --mode native` changes that"
    );
}

fn last(name: &str) -> Operation {
    Operation::Move {
        member: name.into(),
        to: protocol::Position::Last,
    }
}

/// A sealed memfd of so many bytes, without a page.
fn memfd(bytes: u64) -> File {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create("sparse", flags).expect("a memfd can be made");
    rustix::fs::ftruncate(&memfd, bytes).expect("it can be of any size");
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memfd, seals).expect("it can be sealed");
    memfd.into()
}
