//! Clients that talk nonsense, or vanish.

mod raw;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use protocol::{
    Hello, MemberRef, ObjectSource, Operation, ReplyBody, Request, RequestBody, Source,
};
use raw::{Raw, Scene, change, namespace, packet, register};
use tests::object;

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
    for (lowest, highest) in [(0, 0), (999, 1000), (u16::MAX, u16::MAX), (2, 1)] {
        let client = Raw::connect(&scene.rig);
        let hello = Hello {
            lowest,
            highest,
            client: "future".to_owned(),
            ..Hello::default()
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
        client: "again".to_owned(),
        ..Hello::default()
    };
    client.ask(RequestBody::Hello(again), &[]);
    assert_eq!(
        client.refusal().code,
        protocol::RefusalCode::Malformed,
        "a second Hello"
    );
    let source = Source::Object(ObjectSource {
        object: [7; 32],
        ..ObjectSource::default()
    });
    let replace = Operation::Replace {
        member: MemberRef::Name("kept".to_owned()).into(),
        source,
    };
    client.ask(change("xd0", vec![replace]), &[]);
    assert_eq!(client.refusal().code, protocol::RefusalCode::NoSuchObject);
    client.ask(change("xd0", Vec::new()), &[]);
    client.refusal();
    let long = Hello {
        lowest: protocol::VERSION_LOWEST,
        highest: protocol::VERSION_HIGHEST,
        client: "x".repeat(65),
        ..Hello::default()
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

/// One of each request, as bytes.
fn requests() -> Vec<Vec<u8>> {
    [
        RequestBody::Hello(Hello {
            client: "client".to_owned(),
            ..Hello::default()
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
            interface: Some("xd0".to_owned()),
            member: "kept".into(),
        },
        RequestBody::Status,
        RequestBody::MapDescriptor {
            member: 1,
            map: ".rodata".to_owned(),
        },
        RequestBody::Reclaim {
            member: 1,
            token: [3; 16],
        },
    ]
    .into_iter()
    .map(|body| packet(&Request { id: 1, body }))
    .collect()
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
