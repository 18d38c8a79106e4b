//! What a user other than root may have of sockets and of the memory that they pin.

mod socket;

use libdispatch::{Client, RefusalCode, SocketLease};
use socket::{MEMORY, code, lends_bound_sockets, memory, open, request, try_open};
use tests::{PairOptions, Rig, as_user};

const NOBODY: u32 = 65_534;
const QUEUES: u32 = 4;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_has_as_many_sockets_as_the_daemon_was_told() {
    let rig = limited(&["--max-sockets", "2"]);
    let client = as_user(NOBODY, || rig.client("application"));
    as_user(NOBODY, || {
        let first = open(&client, 0);
        let second = open(&client, 1);
        for queue in [2, 3] {
            let error = try_open(&client, queue, MEMORY).expect_err("it has two");
            assert_eq!(code(&error), RefusalCode::Quota);
            let text = error.to_string();
            assert!(
                text.contains("has 2, as many as it may (see `dispatchd --max-sockets`)"),
                "{text}"
            );
        }
        // Nothing was left behind, and nothing was taken away.
        first.activate().expect("it is ours");
        second.close().expect("it is ours");
        drop(open(&client, 3));
    });
    let root = rig.client("operator");
    let _more = [open(&root, 1), open(&root, 2), open(&root, 3)];
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_users_sockets_pin_as_much_memory_as_the_daemon_was_told() {
    let rig = limited(&["--max-umem", "256K"]);
    assert_eq!(2 * MEMORY, 256 << 10);
    let client = as_user(NOBODY, || rig.client("application"));
    if !as_user(NOBODY, || lends_bound_sockets(&client)) {
        return;
    }
    as_user(NOBODY, || {
        let first = open(&client, 0);
        let second = open(&client, 1);
        refuse(&client, 2, MEMORY, MEMORY * 2);
        second.close().expect("it is ours");
        refuse(&client, 2, MEMORY * 2, MEMORY);
        // There is room again, and the frames of a socket can be had as often as is wanted.
        let second = open(&client, 2);
        let third = client
            .open_shared_socket(&request(3), &second)
            .expect("it pins nothing more");
        refuse(&client, 1, MEMORY, MEMORY * 2);
        drop((first, second, third));
        drop(bytes(&client, 3, MEMORY * 2));
    });
    let root = rig.client("operator");
    let _more = bytes(&root, 0, MEMORY * 3);
}

/// A daemon with these arguments that lets nobody in, and an interface.
fn limited(arguments: &[&str]) -> Rig {
    let options = PairOptions {
        queues: QUEUES,
        ..PairOptions::default()
    };
    let nobody = NOBODY.to_string();
    Rig::with(&[arguments, &["--allow-bare", &nobody]].concat(), &options)
}

/// A bound socket with so much memory.
#[track_caller]
fn bytes(client: &Client, queue: u32, bytes: u64) -> SocketLease {
    let opened = client.open_socket(&request(queue), memory(bytes));
    opened.expect("it may have that much")
}

/// So much memory is too much, beside what it has.
#[track_caller]
fn refuse(client: &Client, queue: u32, bytes: u64, used: u64) {
    let error = client.open_socket(&request(queue), memory(bytes));
    let error = error.expect_err("it is too much");
    assert_eq!(code(&error), RefusalCode::Quota);
    let wanted = format!("no socket with {bytes} bytes");
    let limit = format!("may pin 262144 (see `dispatchd --max-umem`), and has pinned {used}");
    let text = error.to_string();
    assert!(text.contains(&wanted) && text.contains(&limit), "{text}");
}
