//! Clients that talk nonsense, vanish, never listen, or are nobody special.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use libdispatch::{Error, Program, RefusalCode};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    socket,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::{Hello, Operation, Reply, ReplyBody, Request, RequestBody, Source, encode};
use tests::{
    Chain, DEADLINE, Pair, PairOptions, Port, Rig, alone, as_user, object, patience, wait_until,
};

const PASS: u32 = 2;
/// Nobody's.
const USER: u32 = 54_321;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn bytes_that_are_no_message_end_their_connection_and_nothing_else() {
    let scene = Scene::new();
    let requests = requests();
    let cases = (
        0..requests.len(),
        any::<proptest::sample::Index>(),
        any::<u8>(),
        proptest::collection::vec(any::<u8>(), 0..300),
        0..5_u8,
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config {
        cases: 512,
        failure_persistence: None,
        ..Config::default()
    });
    let run = runner.run(&cases, |(request, at, byte, noise, kind, greeted)| {
        let good = &requests[request];
        let bytes = match kind {
            0 => noise,                                 // anything
            1 => good[..at.index(good.len())].to_vec(), // cut short
            2 => [&good[..], &noise].concat(),          // something follows
            3 => {
                let mut bytes = good.clone();
                bytes[at.index(good.len())] ^= byte; // something is wrong
                bytes
            }
            _ => [&[0], &noise[..]].concat(), // a body of anything
        };
        let client = Raw::connect(&scene.rig);
        if greeted {
            client.greet();
        }
        client.send(&bytes, &[]).ok();
        Ok(())
    });
    run.expect("the daemon takes everything");
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn oversized_messages_are_refused() {
    let scene = Scene::new();
    for bytes in [65 << 10, 100 << 10, 200 << 10] {
        let client = Raw::connect(&scene.rig);
        client.greet();
        client
            .send(&vec![0; bytes], &[])
            .expect("the socket takes it");
        let refused = client.refusal();
        assert_eq!(
            refused.code,
            protocol::RefusalCode::TooLarge,
            "{bytes} bytes: {refused}"
        );
    }
    // A body in a memfd that says it is huge: no memory is taken for it.
    let memory = scene.rig.daemon.memory();
    let huge = memfd(1 << 40, true);
    let client = Raw::connect(&scene.rig);
    client.greet();
    client
        .send(&[1], &[huge.as_raw_fd()])
        .expect("the socket takes it");
    assert_eq!(client.refusal().code, protocol::RefusalCode::TooLarge);
    assert!(scene.rig.daemon.memory() < memory + (64 << 20));
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_version_that_the_daemon_does_not_speak_is_refused_politely() {
    let scene = Scene::new();
    for (lowest, highest) in [(999, 1000), (u16::MAX, u16::MAX), (1, 0)] {
        let client = Raw::connect(&scene.rig);
        let hello = Hello {
            lowest,
            highest,
            client: "future".to_owned(),
        };
        client.ask(RequestBody::Hello(hello), &[]);
        let refused = client.refusal();
        assert_eq!(refused.code, protocol::RefusalCode::Version, "{refused}");
        assert!(!refused.message.is_empty());
    }
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn requests_out_of_turn_are_refused() {
    let scene = Scene::new();
    let client = Raw::connect(&scene.rig);
    client.ask(RequestBody::Status, &[]);
    assert_eq!(
        client.refusal().code,
        protocol::RefusalCode::Malformed,
        "before Hello"
    );
    drop(client);

    let client = Raw::connect(&scene.rig);
    client.greet();
    let again = Hello {
        lowest: 0,
        highest: 0,
        client: "again".to_owned(),
    };
    client.ask(RequestBody::Hello(again), &[]);
    assert_eq!(
        client.refusal().code,
        protocol::RefusalCode::Malformed,
        "a second Hello"
    );
    let source = Source {
        object: [7; 32],
        program: None,
        map_sizes: Vec::new(),
        globals: Vec::new(),
        tail_calls: Vec::new(),
        frags: false,
    };
    let replace = Operation::Replace {
        name: "kept".to_owned(),
        source,
    };
    client.ask(change("xd0", vec![replace]), &[]);
    assert_eq!(client.refusal().code, protocol::RefusalCode::NoSuchObject);
    client.ask(change("xd0", Vec::new()), &[]);
    client.refusal();
    let long = Hello {
        lowest: 0,
        highest: 0,
        client: "x".repeat(65),
    };
    let newcomer = Raw::connect(&scene.rig);
    newcomer.ask(RequestBody::Hello(long), &[]);
    assert_eq!(
        newcomer.refusal().code,
        protocol::RefusalCode::Malformed,
        "a long name"
    );
    drop((client, newcomer));
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn descriptors_that_are_missing_unsealed_of_another_kind_or_too_many_are_refused_unread() {
    let scene = Scene::new();
    let bytes = std::fs::read(object("verdict")).expect("it was compiled");
    let good = protocol::memfd::sealed("good", &bytes).expect("a memfd can be made");
    let unsealed = memfd(4096, false);
    let (pipe, _writer) = io::pipe().expect("a pipe can be made");
    let file = tempfile::tempfile().expect("a file can be made");
    let namespace = namespace(&scene.rig);
    let stuck = File::open("/dev/zero").expect("it is there");
    let client = Raw::connect(&scene.rig);
    client.greet();
    let wrong: [&[BorrowedFd<'_>]; 7] = [
        &[],
        &[unsealed.as_fd()],
        &[pipe.as_fd()],
        &[file.as_fd()],
        &[stuck.as_fd()],
        &[namespace.as_fd()],
        &[good.as_fd(), good.as_fd()],
    ];
    for descriptors in wrong {
        client.ask(RequestBody::PutObject, descriptors);
        let refused = client.refusal();
        assert_eq!(refused.code, protocol::RefusalCode::Descriptor, "{refused}");
    }
    client.ask(RequestBody::Status, &[good.as_fd()]);
    assert_eq!(
        client.refusal().code,
        protocol::RefusalCode::Descriptor,
        "one too many"
    );
    client.ask(RequestBody::PutObject, &[good.as_fd()]);
    assert!(
        matches!(client.reply().body, Ok(ReplyBody::Object { .. })),
        "the connection goes on"
    );

    let request = packet(&Request {
        id: 1,
        body: RequestBody::PutObject,
    });
    for count in [5, 64, 253] {
        let client = Raw::connect(&scene.rig);
        client.greet();
        let many = vec![good.as_raw_fd(); count];
        client
            .send(&request, &many)
            .expect("the socket takes up to 253");
        assert_eq!(
            client.refusal().code,
            protocol::RefusalCode::Descriptor,
            "{count}"
        );
    }
    for not_a_namespace in [pipe.as_fd(), good.as_fd(), file.as_fd()] {
        let client = Raw::connect(&scene.rig);
        client.greet();
        let list = RequestBody::List {
            interface: Some("xd0".to_owned()),
        };
        client.ask(list, &[not_a_namespace]);
        let refused = client.refusal();
        assert_eq!(refused.code, protocol::RefusalCode::Descriptor, "{refused}");
    }
    for body in [unsealed.as_fd(), pipe.as_fd(), file.as_fd()] {
        let client = Raw::connect(&scene.rig);
        client.greet();
        client
            .send(&[1], &[body.as_raw_fd()])
            .expect("the socket takes it");
        assert_eq!(
            client.refusal().code,
            protocol::RefusalCode::Descriptor,
            "as a body"
        );
    }
    drop(client);
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_client_that_is_gone_in_the_middle_of_a_request_leaves_nothing() {
    let scene = Scene::new();
    let slow = std::fs::read(object("slow_to_verify")).expect("it was compiled");
    for source in [
        &slow,
        &std::fs::read(object("verdict")).expect("it was compiled"),
    ] {
        let client = Raw::connect(&scene.rig);
        client.greet();
        let digest = client.stage(source);
        client.ask(change("xd0", vec![register("gone", digest, 1, true)]), &[]);
        drop(client);
    }
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn clients_that_say_nothing_delay_nobody() {
    let scene = Scene::new();
    let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&scene.rig)).collect();
    let start = Instant::now();
    scene.rig.load_verdict("new", PASS, &[]);
    scene.rig.ctl("unload", &["new"]).done();
    assert!(start.elapsed() < patience(Duration::from_secs(2)));
    drop(silent);
    scene.still_stands();
}

/// The other 80 get their replies within twice the time that they need alone, in one of three
/// rounds: what else the machine does may fall on one of them, but a daemon that is held up is so in
/// each.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn twenty_clients_of_a_hundred_that_never_read_do_not_hold_up_the_others() {
    let _alone = alone();
    let rig = Rig::new();
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    let more: Vec<Pair> = (1..4)
        .map(|number| {
            let names = [format!("xd{number}"), format!("far{number}")];
            Pair::between(near, far, [&names[0], &names[1]], &PairOptions::default())
        })
        .collect();
    let ports: Vec<Port<'_>> = std::iter::once(&rig.pair)
        .chain(&more)
        .map(|pair| Port::new(&rig.daemon, &pair.near))
        .collect();

    let mut rounds = Vec::new();
    let is_held_up = (0..3).all(|_| {
        let alone = slowest_of_eighty(&rig, 0);
        check_against_oracle(&ports, 80);
        unload_all(&ports);
        let together = slowest_of_eighty(&rig, 20);
        wait_until("the others' members are registered, too", DEADLINE, || {
            let members = ports.iter().map(|port| port.chain().members.len());
            members.sum::<usize>() == 100
        });
        check_against_oracle(&ports, 100);
        unload_all(&ports);
        rounds.push((alone, together));
        together > alone * 2
    });
    assert!(
        !is_held_up,
        "the slowest of 80 had its reply so late alone, and so late beside 20: {rounds:?}"
    );
}

fn unload_all(ports: &[Port<'_>]) {
    for port in ports {
        port.ctl("unload", &["--all"]).done();
    }
}

/// Eighty clients register a member each, at once; so do others, who then ask on and on and never
/// read. Returns how long the slowest of the eighty waited for its reply.
fn slowest_of_eighty(rig: &Rig, deaf: usize) -> Duration {
    let bytes = std::fs::read(object("verdict")).expect("it was compiled");
    let ready: Vec<(Raw, [u8; 32])> = (0..80 + deaf)
        .map(|_| {
            let client = Raw::connect(rig);
            client.greet();
            let digest = client.stage(&bytes);
            (client, digest)
        })
        .collect();
    let start = Barrier::new(ready.len());
    thread::scope(|scope| {
        let waits: Vec<_> = ready
            .iter()
            .enumerate()
            .map(|(number, (client, digest))| {
                let start = &start;
                scope.spawn(move || {
                    let (interface, name, priority) = place(number);
                    let operation = register(&name, *digest, priority, false);
                    start.wait();
                    let began = Instant::now();
                    client.ask(change(&interface, vec![operation]), &[]);
                    if number >= 80 {
                        // Replies pile up until the daemon can't send any more.
                        let list = packet(&Request {
                            id: 9,
                            body: RequestBody::List { interface: None },
                        });
                        let full = || client.send_now(&list).is_err();
                        (0..10_000).any(|_| full());
                        return Duration::ZERO;
                    }
                    let reply = client.reply();
                    reply
                        .body
                        .unwrap_or_else(|refused| panic!("{number}: {refused}"));
                    began.elapsed()
                })
            })
            .collect();
        let waits = waits
            .into_iter()
            .map(|wait| wait.join().expect("it is answered"));
        waits.max().expect("there are eighty")
    })
}

/// A client's interface, its member's name and priority: no two of a chain are equal, so the order
/// doesn't depend on who comes first.
fn place(number: usize) -> (String, String, u32) {
    let priority = u32::try_from(number * 37 % 101).expect("it is small");
    (format!("xd{}", number % 4), format!("m{number}"), priority)
}

fn check_against_oracle(ports: &[Port<'_>], clients: usize) {
    for (index, port) in ports.iter().enumerate() {
        let mut expected: Vec<(u32, String)> = (0..clients)
            .map(place)
            .filter(|(interface, ..)| *interface == format!("xd{index}"))
            .map(|(_, name, priority)| (priority, name))
            .collect();
        expected.sort();
        let chain = port.chain();
        let members = chain
            .members
            .iter()
            .map(|member| (member.priority, member.name.clone()));
        assert_eq!(members.collect::<Vec<_>>(), expected, "xd{index}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_whom_nobody_let_in_is_kept_out() {
    let scene = Scene::new();
    let error = as_user(USER, || {
        scene
            .rig
            .port()
            .try_client("user")
            .expect_err("nobody let it in")
    });
    assert!(matches!(error, Error::NotReachable { .. }), "{error}");

    let scene = Scene::with(&["--allow-uid", "54322:load"]);
    let error = as_user(USER, || {
        scene
            .rig
            .port()
            .try_client("user")
            .expect_err("nobody let it in")
    });
    let refusal = error.refusal().expect("the daemon says it");
    assert_eq!(refusal.code, RefusalCode::NotAllowed);
    assert!(refusal.message.contains("54321") && refusal.message.contains("--allow-uid"));
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_who_may_load_has_its_own_members_and_no_others() {
    let scene = Scene::with(&["--allow-uid", "54321:load"]);
    let rig = &scene.rig;
    as_user(USER, || {
        let client = rig.client("user");
        let program = verdict("theirs");
        let registration = client.register("xd0", &program).expect("the user may load");
        let member = registration.detail().expect("it is there").member;
        assert_eq!(member.owner.uid, USER);
        client
            .change("xd0")
            .reorder("theirs", libdispatch::Position::Priority(9))
            .apply()
            .expect("it is the user's own");
        for change in [
            client.change("xd0").unregister("kept"),
            client
                .change("xd0")
                .reorder("kept", libdispatch::Position::First),
            client.change("xd0").replace("kept", &program),
        ] {
            let error = change.apply().expect_err("it is root's");
            let code = error.refusal().expect("the daemon says it").code;
            assert_eq!(code, RefusalCode::NotOwner, "{error}");
        }
        let error = client
            .change("xd0")
            .unregister_all()
            .apply()
            .expect_err("not all are theirs");
        assert!(error.refusal().is_some(), "{error}");
        let off = libdispatch::Configuration {
            counters: Some(false),
            ..Default::default()
        };
        let error = client
            .change("xd0")
            .configure(off)
            .apply()
            .expect_err("it is everybody's");
        assert_eq!(
            error.refusal().expect("it says so").code,
            RefusalCode::NotAllowed
        );
        let error = client
            .map("xd0", "kept", ".rodata")
            .expect_err("it is root's");
        assert_eq!(
            error.refusal().expect("it says so").code,
            RefusalCode::NotOwner
        );
    });
    rig.ctl("unload", &["kept"]).done();
    rig.load_verdict("kept", PASS, &[]);
    wait_until("the user's member is gone", DEADLINE, || {
        rig.chain().order() == ["kept"]
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_users_program_may_not_call_what_reads_the_kernel_and_roots_may() {
    let scene = Scene::with(&["--allow-uid", "54321:load"]);
    let rig = &scene.rig;
    let spy = Program::from_file(object("probe_read"))
        .expect("it was compiled")
        .name("spy");
    as_user(USER, || {
        let error = rig
            .client("user")
            .register("xd0", &spy)
            .expect_err("it reads the kernel");
        let refusal = error.refusal().expect("the daemon says it");
        assert_eq!(refusal.code, RefusalCode::Helper);
        assert!(
            refusal.message.contains("bpf_probe_read_kernel"),
            "{refusal}"
        );
    });
    scene.still_stands();
    scene
        .rig
        .client("root")
        .register("xd0", &spy)
        .expect("root may")
        .unregister()
        .expect("it is");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_who_may_redirect_only_loads_no_objects() {
    let scene = Scene::with(&["--allow-uid", "54321"]);
    as_user(USER, || {
        let client = scene.rig.client("user");
        assert_eq!(client.list(None).expect("it may look").len(), 1);
        let error = client
            .register("xd0", &verdict("theirs"))
            .expect_err("it may not load");
        let refusal = error.refusal().expect("the daemon says it");
        assert_eq!(refusal.code, RefusalCode::NotAllowed, "{refusal}");
    });
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn root_of_a_user_namespace_is_not_root() {
    let scene = Scene::with(&["--allow-uid", "54322:load"]);
    let copy = everybodys(&tests::binary("dispatchctl"));
    let mut unshare = std::process::Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user"])
        .arg(&copy)
        .arg("status")
        .env("DISPATCHD_SOCKET", scene.rig.daemon.socket());
    let output = std::os::unix::process::CommandExt::uid(&mut unshare, USER).output();
    let output = tests::Output::from(output.expect("unshare runs (Debian package util-linux)"));
    output.refused(&["54321"]);
    scene.still_stands();
}

/// A daemon with a chain of one member, which must still be there afterwards.
struct Scene {
    rig: Rig,
    before: Chain,
    descriptors: usize,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        let rig = Rig::with(arguments, &PairOptions::default());
        rig.load_verdict("kept", PASS, &[]);
        Self {
            before: rig.chain(),
            descriptors: rig.daemon.descriptors(),
            rig,
        }
    }

    /// The daemon goes on, has the same member, and no more descriptors than before: whatever was
    /// asked of it is done and over.
    fn still_stands(&self) {
        wait_until("every descriptor is closed again", DEADLINE * 2, || {
            self.rig.daemon.descriptors() <= self.descriptors
        });
        wait_until("every member that came goes", DEADLINE, || {
            self.rig.chain().order() == ["kept"]
        });
        assert_eq!(self.rig.chain().members, self.before.members);
        self.rig.load_verdict("new", PASS, &[]);
        self.rig.ctl("unload", &["new"]).done();
    }
}

/// A socket on which anything can be said.
struct Raw {
    socket: OwnedFd,
    /// Goes with each request that names an interface.
    namespace: File,
}

impl Raw {
    fn connect(rig: &Rig) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None);
        let socket = socket.expect("a socket can be made");
        let address = UnixAddr::new(&rig.daemon.socket()).expect("the path is short");
        connect(socket.as_raw_fd(), &address).expect("the daemon listens");
        Self {
            socket,
            namespace: namespace(rig),
        }
    }

    fn greet(&self) {
        let hello = Hello {
            lowest: 0,
            highest: 0,
            client: "raw".to_owned(),
        };
        self.ask(RequestBody::Hello(hello), &[]);
        assert!(matches!(self.reply().body, Ok(ReplyBody::Welcome(_))));
    }

    fn stage(&self, object: &[u8]) -> [u8; 32] {
        let memfd = protocol::memfd::sealed("object", object).expect("a memfd can be made");
        self.ask(RequestBody::PutObject, &[memfd.as_fd()]);
        match self.reply().body {
            Ok(ReplyBody::Object { digest }) => digest,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, body: RequestBody, descriptors: &[BorrowedFd<'_>]) {
        let mut descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        if body.interface().is_some() && descriptors.is_empty() {
            descriptors.push(self.namespace.as_raw_fd());
        }
        let request = packet(&Request { id: 1, body });
        self.send(&request, &descriptors)
            .expect("the daemon takes it");
    }

    fn send(&self, bytes: &[u8], descriptors: &[RawFd]) -> nix::Result<usize> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        let parts = [io::IoSlice::new(bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, control, flags, None)
    }

    fn send_now(&self, bytes: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        nix::sys::socket::send(self.socket.as_raw_fd(), bytes, flags)
    }

    /// The next reply that is inline.
    fn reply(&self) -> Reply {
        let mut bytes = vec![0; 70_000];
        let length = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty());
        let length = length.expect("the daemon answers");
        assert!(length > 0, "the daemon hung up without an answer");
        assert_eq!(bytes[0], 0, "a small reply is inline");
        protocol::decode(&bytes[1..length]).expect("the daemon talks sense")
    }

    fn refusal(&self) -> protocol::Refused {
        self.reply().body.expect_err("that makes no sense")
    }
}

/// The namespace of the interface under test.
fn namespace(rig: &Rig) -> File {
    File::open(rig.pair.near.netns.path()).expect("it is there")
}

/// One of each request, as bytes.
fn requests() -> Vec<Vec<u8>> {
    [
        RequestBody::Hello(Hello {
            lowest: 0,
            highest: 0,
            client: "client".to_owned(),
        }),
        RequestBody::PutObject,
        change("xd0", vec![register("new", [7; 32], 5, true)]),
        change(
            "xd0",
            vec![Operation::Order {
                names: vec!["kept".to_owned()],
            }],
        ),
        RequestBody::List {
            interface: Some("xd0".to_owned()),
        },
        RequestBody::Show {
            interface: "xd0".to_owned(),
            name: "kept".to_owned(),
        },
        RequestBody::Status,
        RequestBody::MapDescriptor {
            interface: "xd0".to_owned(),
            name: "kept".to_owned(),
            map: ".rodata".to_owned(),
        },
        RequestBody::Reclaim {
            interface: "xd0".to_owned(),
            name: "kept".to_owned(),
            token: [3; 16],
        },
    ]
    .into_iter()
    .map(|body| packet(&Request { id: 1, body }))
    .collect()
}

/// A request as it travels: in the packet itself.
fn packet(request: &Request) -> Vec<u8> {
    [&[0][..], &encode(request).expect("it is small")].concat()
}

fn change(interface: &str, operations: Vec<Operation>) -> RequestBody {
    RequestBody::Change(protocol::Change {
        interface: interface.to_owned(),
        expected_generation: None,
        dry_run: false,
        mode: None,
        operations,
    })
}

/// A member that goes with its client at once, or stays.
fn register(name: &str, object: [u8; 32], priority: u32, attached: bool) -> Operation {
    let lifetime = if attached {
        libdispatch::Lifetime::Attached
    } else {
        libdispatch::Lifetime::Kept
    };
    Operation::Register(Box::new(protocol::Registration {
        name: Some(name.to_owned()),
        source: Source {
            object,
            program: None,
            map_sizes: Vec::new(),
            globals: Vec::new(),
            tail_calls: Vec::new(),
            frags: false,
        },
        priority: Some(priority),
        chain_call: None,
        allowed: None,
        on_miss: libdispatch::OnMiss::Abort,
        lifetime,
        linger_ms: 0,
        engine: libdispatch::EngineChoice::Auto,
        tail_depth: None,
        share_group: None,
    }))
}

fn verdict(name: &str) -> Program {
    Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name(name)
}

/// A memfd of so many bytes that take no memory.
fn memfd(bytes: i64, sealed: bool) -> OwnedFd {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memfd = memfd_create("test", flags).expect("a memfd can be made");
    nix::unistd::ftruncate(&memfd, bytes).expect("it can be of any size");
    if sealed {
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals)).expect("it can be sealed");
    }
    memfd
}

/// A copy of a binary that everybody can reach.
fn everybodys(binary: &std::path::Path) -> tempfile::TempPath {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::NamedTempFile::new()
        .expect("a file can be made")
        .into_temp_path();
    std::fs::copy(binary, &copy).expect("it can be copied");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&copy, everybody).expect("it is ours");
    copy
}
