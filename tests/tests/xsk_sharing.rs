//! `AF_XDP` sockets that share queues, frames or threads, and those that others opened.

mod xsk;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use libdispatch::xsk::{Call, Copies, Error, Faults, Options, Packet, Socket, Tally, Umem};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tests::{DEADLINE, PairOptions, Tap, ipv4_udp, kernel_is, volume, wait_until};
use xsk::{
    BURST, answer, assert_echo, assert_sound, direct, number_of, numbered, open, plain, receive,
    rig, send, try_open, turn,
};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn two_queues_share_their_frames() {
    const FLOWS: u16 = 64;
    let two = PairOptions {
        queues: 2,
        ..PairOptions::default()
    };
    let rig = rig(&two, &[]);
    let umem = Umem::builder()
        .frames(256)
        .build()
        .expect("there is memory");
    let options = Options::default().rings(64);
    let mut sockets = [0, 1].map(|queue| open(&rig, &umem, queue, &options));
    let tap = Tap::on(&rig.pair.far);
    let mut counts = BTreeMap::<u32, usize>::new();
    for round in 0..volume(50) {
        let mut missing: BTreeSet<u16> = (1000..1000 + FLOWS).collect();
        for port in &missing {
            tap.send(&ipv4_udp([10, 1, 0, 2], [10, 1, 0, 1], *port));
        }
        wait_until("all flows are there", DEADLINE, || {
            for socket in &mut sockets {
                let queue = socket.queue();
                let (receiver, sender) = socket.halves();
                for mut packet in receiver.receive(7) {
                    let port = u16::from_be_bytes([packet[34], packet[35]]);
                    assert!(missing.remove(&port), "{port} comes once in round {round}");
                    *counts.entry(queue).or_default() += 1;
                    turn(&mut packet);
                    sender.send(packet).expect("there is room");
                }
                sender.flush().expect("the interface is up");
            }
            missing.is_empty()
        });
        for _ in 0..FLOWS {
            answer(&tap);
        }
    }
    assert_eq!(counts.len(), 2, "flows are on both queues: {counts:?}");
    for socket in &mut sockets {
        let sender = socket.halves().1;
        wait_until("all packets are sent", DEADLINE, || {
            sender.flush().expect("the interface is up");
            sender.room() == 64
        });
        sender.reap();
    }
    for socket in &mut sockets {
        assert_sound(&umem, socket, 256);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn two_sockets_share_a_queue() {
    let rig = plain();
    let umem = Umem::builder()
        .frames(128)
        .build()
        .expect("there is memory");
    let options = Options::default().rings(32);
    let mut first = open(&rig, &umem, 0, &options);
    let near = &rig.pair.near.netns;
    let mut second = near.run(|| first.open_beside(&options)).expect("it shares");
    let tap = Tap::on(&rig.pair.far);
    for round in 0..volume(200) {
        direct(&rig, &mut first);
        tap.send(&numbered(2 * round, 64));
        let to_first = receive(first.halves().0, 1);
        assert_eq!(number_of(&to_first[0]), 2 * round);
        direct(&rig, &mut second);
        tap.send(&numbered(2 * round + 1, 64));
        let to_second = receive(second.halves().0, 1);
        assert_eq!(number_of(&to_second[0]), 2 * round + 1);
        // Each sends the other's, and the first one reaps both.
        for (sender, mut packets) in [(&mut second, to_first), (&mut first, to_second)] {
            turn(&mut packets[0]);
            let sender = sender.halves().1;
            sender.send(packets.remove(0)).expect("there is room");
            sender.flush().expect("the interface is up");
            answer(&tap);
        }
        wait_until("both are sent", DEADLINE, || {
            first.halves().1.reap();
            umem.tally().transmit == 0
        });
    }
    assert_sound(&umem, &mut first, 128);
    assert_sound(&umem, &mut second, 128);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_thread_receives_and_another_sends() {
    let packets = volume(5000);
    let rig = plain();
    let umem = Umem::builder()
        .frames(128)
        .build()
        .expect("there is memory");
    let socket = open(&rig, &umem, 0, &Options::default().rings(32));
    let tap = Tap::on(&rig.pair.far);
    let (mut receiver, mut sender) = socket.split();
    let (hand_over, taken) = mpsc::sync_channel::<Packet<'_>>(BURST);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < packets {
                receiver.wait(Some(DEADLINE)).expect("the interface is up");
                for mut packet in receiver.receive(BURST) {
                    assert_eq!(**packet, numbered(next, 64));
                    next += 1;
                    turn(&mut packet);
                    hand_over.send(packet).expect("the other thread takes it");
                }
            }
            assert_eq!(receiver.faults(), Faults::default());
        });
        scope.spawn(move || {
            for packet in taken {
                send(&mut sender, vec![packet]);
            }
            assert_eq!(sender.faults(), Faults::default());
        });
        for number in 0..packets {
            tap.send(&numbered(number, 64));
            if number % 16 == 15 || number + 1 == packets {
                for number in number - number % 16..=number {
                    assert_eq!(number_of(&answer(&tap)), number);
                }
            }
        }
    });
    let Tally {
        ours,
        fill,
        transmit,
    } = umem.tally();
    assert_eq!((ours + fill, transmit), (128, 0));
    assert_eq!(umem.free(), ours as usize);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_that_is_ready_is_taken_over_by_its_descriptor() {
    let rig = plain();
    let umem = Umem::builder().frames(96).build().expect("there is memory");
    let options = Options::default().rings(32);
    let ready = try_open(&rig, &umem, 0, &options).expect("root may open a socket");
    let descriptor = ready
        .as_fd()
        .try_clone_to_owned()
        .expect("it can be copied");
    drop(ready);
    let socket = Socket::from_bound(&umem, descriptor, rig.pair.near.index, 0, &options);
    if !kernel_is((6, 4)) {
        let error = socket.expect_err("its rings can't be mapped any more");
        assert!(matches!(error, Error::BoundTooEarly), "{error:?}");
        return;
    }
    let mut socket = socket.expect("it is ready");
    direct(&rig, &mut socket);
    assert_echo(&rig, &umem, &mut socket, volume(500), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_bare_socket_is_configured_and_bound() {
    let rig = plain();
    let umem = Umem::builder().frames(96).build().expect("there is memory");
    let near = &rig.pair.near;
    let bare = near.netns.run(|| {
        let flags = SocketFlags::CLOEXEC;
        rustix::net::socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)
    });
    // Bound from the test's own namespace: the interface is looked up in the socket's.
    let options = Options::default().rings(32);
    let bare = bare.expect("root may open a socket");
    let mut socket = Socket::from_bare(&umem, bare, near.index, 0, &options).expect("it is free");
    direct(&rig, &mut socket);
    assert_echo(&rig, &umem, &mut socket, volume(500), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_cannot_be_opened_says_why() {
    let rig = plain();
    let umem = Umem::builder().frames(64).build().expect("there is memory");
    let other = Umem::builder().frames(64).build().expect("there is memory");
    let options = Options::default().rings(32);
    let open = |umem, options: Options| try_open(&rig, umem, 0, &options);
    let socket = open(&umem, options).expect("root may open a socket");
    let error = open(&other, options).expect_err("the queue is taken");
    assert!(
        matches!(error, Error::QueueBusy { queue: 0, .. }),
        "{error:?}"
    );
    drop(socket);
    let zero_copy = Options {
        copies: Copies::Never,
        ..options
    };
    let error = open(&other, zero_copy).expect_err("a veth can't");
    assert!(
        matches!(
            error,
            Error::System {
                call: Call::Bind,
                ..
            }
        ),
        "{error:?}"
    );
    let error = open(&other, options.rings(48)).expect_err("not a power of two");
    assert!(
        matches!(error, Error::RingSize { entries: 48, .. }),
        "{error:?}"
    );
    let file: OwnedFd = std::fs::File::open("/dev/null")
        .expect("it is there")
        .into();
    let error = Socket::from_bound(&umem, file, 1, 0, &options).expect_err("not a socket");
    assert!(matches!(error, Error::NotAfXdp), "{error:?}");
    open(&other, options).expect("the queue is free again");
}
