//! Several sockets of one application on one queue, without privileges.

mod lent;
mod socket;
mod xsk;

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::mpsc;
use std::thread;

use lent::{NOBODY, RING, client, umem};
use libdispatch::xsk::{Options, Packet, Socket};
use libdispatch::{Client, Error, Program, RefusalCode, SocketLease, SocketRequest};
use socket::{MEMORY, code, lends_bound_sockets, memory, request, states, try_open};
use tests::{DEADLINE, PairOptions, PinnedMap, Rig, Tap, as_user, object, volume, wait_until};
use xsk::{BURST, answer, assert_sound, number_of, numbered, receive, turn};

const FRAMES: u32 = 256;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_thread_sends_with_a_socket_beside_the_one_that_receives() {
    let Some((rig, client)) = nobodys(1, &[]) else {
        return;
    };
    let packets = volume(2000);
    let umem = umem();
    let (lease, mut first) = lent::open(&client, &umem, 0);
    let (second_lease, mut second) = beside(&client, &lease, &mut first, request(0), 0);
    let mut shown = states(&rig);
    shown.sort();
    assert_eq!(shown, [(0, "active".into()), (0, "opened".into())]);
    let tap = Tap::on(&rig.pair.far);
    let (hand_over, taken) = mpsc::sync_channel::<Packet<'_>>(BURST);
    thread::scope(|scope| {
        let sender = second.halves().1;
        scope.spawn(move || {
            for packet in taken {
                sender.send(packet).expect("there is room");
                sender.flush().expect("the interface is up");
            }
        });
        for number in 0..packets {
            tap.send(&numbered(number, 64));
            let mut packet = receive(first.halves().0, 1).remove(0);
            assert_eq!(number_of(&packet), number);
            turn(&mut packet);
            hand_over.send(packet).expect("the other thread takes it");
            assert_eq!(number_of(&answer(&tap)), number);
            first.halves().1.reap();
        }
        drop(hand_over);
    });
    wait_until("the first one reaps all", DEADLINE, || {
        first.halves().1.reap();
        umem.tally().transmit == 0
    });
    assert_sound(&umem, &mut first, FRAMES);
    assert_sound(&umem, &mut second, FRAMES);
    // One goes, the other stays.
    drop((second_lease, second));
    tap.send(&numbered(7, 64));
    assert_eq!(number_of(&receive(first.halves().0, 1)[0]), 7);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_queue_stays_its_clients_until_its_last_socket_is_closed() {
    let Some((rig, client)) = nobodys(1, &[]) else {
        return;
    };
    let umem = umem();
    let (lease, mut first) = lent::open(&client, &umem, 0);
    let (second_lease, mut second) = beside(&client, &lease, &mut first, request(0), RING);
    let other = as_user(NOBODY, || rig.client("other"));
    let taken = || {
        let error = try_open(&other, 0, MEMORY).expect_err("it is another's");
        assert_eq!(code(&error), RefusalCode::QueueTaken);
        assert!(error.to_string().contains("\"application\""), "{error}");
    };
    taken();
    // The redirect program gives the packets to one.
    let error = second_lease.activate().expect_err("the first has them");
    assert_eq!(code(&error), RefusalCode::Conflict);
    assert!(error.to_string().contains("another socket"), "{error}");
    let tap = Tap::on(&rig.pair.far);
    tap.send(&numbered(1, 64));
    assert_eq!(number_of(&receive(first.halves().0, 1)[0]), 1);
    // The one that had them goes, and the other takes over, FILL ring and all.
    lease.close().expect("it is ours");
    taken();
    assert_eq!(states(&rig), [(0, "opened".to_owned())]);
    second_lease.activate().expect("nobody has them now");
    tap.send(&numbered(2, 64));
    assert_eq!(number_of(&receive(second.halves().0, 1)[0]), 2);
    taken();
    drop((second_lease, first, second));
    drop(as_user(NOBODY, || socket::active(&other, 0)));
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn beside_a_socket_is_only_who_has_it_and_its_memory() {
    let Some((rig, client)) = nobodys(2, &["--max-sockets", "3"]) else {
        return;
    };
    as_user(NOBODY, || {
        let first = socket::open(&client, 0);
        let elsewhere = socket::open(&client, 1);
        let other = rig.client("other");
        let refuse = |opened: Result<SocketLease, Error>, expected, text: &str| {
            let error = opened.expect_err(text);
            assert_eq!(code(&error), expected, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        };
        let plain = request(0);
        refuse(
            other.open_socket_beside(&plain, &first),
            RefusalCode::NoSuchSocket,
            "no socket of this connection",
        );
        // The own queue, in other memory, or with rings of its own.
        let taken = "belongs to \"application\"";
        let own = client.open_socket(&plain, memory(MEMORY));
        refuse(own, RefusalCode::QueueTaken, taken);
        let shared = client.open_shared_socket(&plain, &elsewhere);
        refuse(shared, RefusalCode::QueueTaken, taken);
        let shared = client.open_shared_socket(&plain, &first);
        refuse(shared, RefusalCode::QueueTaken, taken);
        let no_ring = client.open_socket_beside(&plain.clone().rx(0).tx(0), &first);
        refuse(no_ring, RefusalCode::Malformed, "an RX ring or a TX ring");
        let second = client.open_socket_beside(&plain, &first);
        let second = second.expect("it is the same client's");
        assert_eq!((second.queue(), second.ifindex()), (0, first.ifindex()));
        refuse(
            client.open_socket_beside(&plain, &first),
            RefusalCode::Quota,
            "let each user have more sockets",
        );
        drop(second);
        drop(
            client
                .open_socket_beside(&plain, &first)
                .expect("there is room again"),
        );
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_own_program_spreads_a_queue_over_sockets_beside_each_other() {
    let load = format!("{NOBODY}:load");
    let Some((rig, client)) = nobodys(1, &["--allow-uid", &load]) else {
        return;
    };
    let program = Program::from_file(object("xsk_spread")).expect("it was just compiled");
    let registration = as_user(NOBODY, || client.register("xd0", &program.name("spread")));
    let registration = registration.expect("it may load");
    let umem = umem();
    let options = Options::default().rings(RING);
    let own = |request: SocketRequest| request.without_redirect();
    let lease = as_user(NOBODY, || {
        client
            .open_socket(&own(request(0)), &umem)
            .expect("it is free")
    });
    let descriptor = lease.try_clone_socket().expect("it can be copied");
    let mut first =
        Socket::from_bound(&umem, descriptor, lease.ifindex(), 0, &options).expect("it is ready");
    let (_second_lease, second) = beside(&client, &lease, &mut first, own(request(0)), RING);
    let mut sockets = [first, second];
    assert_eq!(
        sockets[0].halves().0.receive(1).count(),
        0,
        "the first fill"
    );
    let map: PinnedMap = as_user(NOBODY, || client.map("xd0", "spread", "XSKS"))
        .expect("it is its own")
        .into();
    for (key, socket) in (0_u32..).zip(&sockets) {
        let value = socket.as_fd().as_raw_fd().to_ne_bytes();
        as_user(NOBODY, || map.set(&key.to_ne_bytes(), &value)).expect("it is its own");
    }
    let tap = Tap::on(&rig.pair.far);
    for number in 0..volume(500) {
        tap.send(&numbered(number, 64));
        let index = usize::from(number % 2 == 1);
        let received = receive(sockets[index].halves().0, 1);
        assert_eq!(number_of(&received[0]), number);
    }
    for socket in &mut sockets {
        assert_sound(&umem, socket, FRAMES);
    }
    registration.unregister().expect("it is ours");
}

/// An interface with so many queues, and an application of nobody's, if the kernel lets it have bound
/// sockets.
fn nobodys(queues: u32, arguments: &[&str]) -> Option<(Rig, Client)> {
    let options = PairOptions {
        queues,
        ..PairOptions::default()
    };
    let nobody = NOBODY.to_string();
    let rig = Rig::with(&[arguments, &["--allow-uid", &nobody]].concat(), &options);
    let client = client(&rig, "application");
    as_user(NOBODY, || lends_bound_sockets(&client)).then_some((rig, client))
}

/// A socket beside this one, with so large an RX ring.
fn beside<'u>(
    client: &Client,
    lease: &SocketLease,
    first: &mut Socket<'u>,
    request: SocketRequest,
    rx: u32,
) -> (SocketLease, Socket<'u>) {
    let opened = as_user(NOBODY, || client.open_socket_beside(&request.rx(rx), lease));
    let opened = opened.expect("it is on an own queue");
    let descriptor = opened.try_clone_socket().expect("it can be copied");
    let options = Options {
        rx,
        ..Options::default().rings(RING)
    };
    let socket = first.take_beside(descriptor, &options);
    (opened, socket.expect("it is ready"))
}
