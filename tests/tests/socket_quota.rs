//! What a user other than root may have of sockets and of the memory that they pin.

mod lent;
mod socket;

use std::os::fd::OwnedFd;

use lent::{NOBODY, umem};
use libdispatch::{Client, RefusalCode, Remedy, SocketLease};
use memmap2::MmapOptions;
use socket::{
    MEMORY, Victim, code, lends_bound_sockets, memory, open, put_frame, remedy, request, try_open,
};
use tests::{DEADLINE, PairOptions, Rig, as_user, volume, wait_until};

/// Where a socket's FILL ring is mapped from (`XDP_UMEM_PGOFF_FILL_RING`).
const FILL_RING: u64 = 1 << 32;
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
            assert!(text.contains("has 2, as many as it may"), "{text}");
            assert_eq!(remedy(&error), Some(&Remedy::MoreSockets));
        }
        // Nothing was left behind, and nothing was taken away.
        put_frame(&first);
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

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_closed_socket_pins_its_users_share_as_long_as_it_is_open() {
    let rig = limited(&["--max-umem", "256K"]);
    let client = as_user(NOBODY, || rig.client("application"));
    if !as_user(NOBODY, || lends_bound_sockets(&client)) {
        return;
    }
    as_user(NOBODY, || {
        let first = leave_open(open(&client, 0));
        let second = leave_open(open(&client, 1));
        // Its connections come and go, and its sockets stay.
        let other = rig.client("another");
        for client in [&client, &other, &rig.client("a third")] {
            let error = try_open(client, 2, MEMORY).expect_err("it pins as much as it may");
            assert_eq!(code(&error), RefusalCode::Quota);
            let text = error.to_string();
            assert!(
                text.contains("has pinned 262144; closed sockets count as long as"),
                "{text}"
            );
        }
        drop(second);
        let third = open(&other, 2);
        refuse(&client, 3, MEMORY, MEMORY * 2);
        let ring = MmapOptions::new()
            .offset(FILL_RING)
            .len(4096)
            .map_raw(&first);
        drop(first);
        refuse(&client, 3, MEMORY, MEMORY * 2);
        drop(ring.expect("it has a FILL ring"));
        let fourth = open(&client, 3);
        drop((third, fourth));
        drop(bytes(&client, 2, MEMORY * 2));
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn who_gave_a_queue_back_and_is_in_its_way_is_named() {
    let rig = limited(&[]);
    let (user, root) = (
        as_user(NOBODY, || rig.client("application")),
        rig.client("operator"),
    );
    if !as_user(NOBODY, || lends_bound_sockets(&user)) {
        return;
    }
    for (client, name, uid) in [(&user, "application", NOBODY), (&root, "operator", 0)] {
        let kept = as_user(uid, || leave_open(open(client, 0)));
        let error = try_open(&root, 0, MEMORY).expect_err("it is bound");
        assert_eq!(code(&error), RefusalCode::QueueTaken);
        let text = error.to_string();
        let whose = format!("{name:?} (uid {uid}, pid {})", std::process::id());
        assert!(
            text.contains("queue 0 of interface xd0")
                && text.contains(&whose)
                && text.contains("its socket is still open"),
            "{text}"
        );
        // It is in nobody else's way.
        drop(open(&root, 1));
        drop(kept);
        drop(open(&root, 0));
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn who_hangs_up_and_keeps_a_socket_has_it_counted() {
    let rig = limited(&["--max-sockets", "1"]);
    let client = as_user(NOBODY, || rig.client("application"));
    let mut victim = as_user(NOBODY, || Victim::holding(&rig, 0));
    let kept = victim.socket();
    victim.kill();
    wait_until("the queue is nobody's", DEADLINE, || {
        rig.try_chain().is_none()
    });
    as_user(NOBODY, || {
        let error = try_open(&client, 1, MEMORY).expect_err("it has one");
        assert_eq!(code(&error), RefusalCode::Quota);
        drop(kept);
        drop(open(&client, 1));
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_closed_socket_counts_as_long_as_it_is_open() {
    let rig = limited(&["--max-sockets", "1"]);
    let client = as_user(NOBODY, || rig.client("application"));
    as_user(NOBODY, || {
        let socket = leave_open(open(&client, 0));
        let error = try_open(&client, 1, MEMORY).expect_err("it has one");
        assert_eq!(code(&error), RefusalCode::Quota);
        let text = error.to_string();
        assert!(text.contains("closed sockets count as long as"), "{text}");
        drop(socket);
        drop(open(&client, 1));
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn who_closes_its_sockets_opens_others_for_ever() {
    let size = umem().layout().length().to_string();
    let rig = limited(&["--max-umem", &size, "--max-sockets", "1"]);
    let client = as_user(NOBODY, || rig.client("application"));
    for round in 0..volume(60) {
        let umem = umem();
        let queue = u32::try_from(round % 2).expect("it is 0 or 1");
        let (lease, socket) = lent::open(&client, &umem, queue);
        // In either order.
        if round % 3 == 0 {
            drop(socket);
            lease.close().expect("it is ours");
        } else {
            lease.close().expect("it is ours");
            drop(socket);
        }
    }
}

/// Gives a socket's queue back and keeps its descriptor.
fn leave_open(lease: SocketLease) -> OwnedFd {
    let socket = lease.try_clone_socket().expect("it can be copied");
    lease.close().expect("it is ours");
    socket
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
    let limit = format!("may pin 262144, and has pinned {used}");
    let text = error.to_string();
    assert!(text.contains(&wanted) && text.contains(&limit), "{text}");
    assert_eq!(remedy(&error), Some(&Remedy::MoreMemory));
}
