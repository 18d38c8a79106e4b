//! `AF_XDP` sockets that the daemon opens for others: whose a queue is, the redirect program that comes
//! and goes with them, and what nobody can do with one.

mod lent;
mod socket;

use std::time::{Duration, Instant};

use libdispatch::xsk::Umem;
use libdispatch::{RefusalCode, Remedy};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags};
use tests::{
    Census, DEADLINE, PairOptions, Rig, alone, as_user, frame, is_too_old, patience, volume,
    wait_until,
};

use socket::{
    MEMORY, Victim, active, code, detail, lends_bound_sockets, make_rx_ring, memfd, open,
    put_frame, queues, remedy, request, states, try_open,
};

const PASS: u32 = 2;
const DROP: u32 = 1;
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_redirect_program_comes_with_the_first_active_socket_and_goes_with_the_last() {
    let rig = queues(4);
    let client = rig.client("application");
    let first = open(&client, 0);
    assert_eq!(
        rig.try_chain(),
        None,
        "a socket that isn't active needs nothing"
    );
    put_frame(&first);
    first.activate().expect("it is bound");
    let chain = rig.chain();
    assert_eq!(chain.order(), ["xsk-redirect"]);
    let member = chain.member("xsk-redirect");
    assert_eq!(member.priority, 20);
    assert_eq!(member.owner.uid, 0);
    assert_eq!(member.owner.client, "dispatchd");
    assert_eq!(first.ifindex(), rig.pair.near.index);
    let generation = chain.generation;
    let second = open(&client, 2);
    put_frame(&second);
    second.activate().expect("it is bound");
    assert_eq!(rig.chain().generation, generation, "nothing had to change");
    first.close().expect("it is ours");
    assert_eq!(rig.chain().order(), ["xsk-redirect"]);
    drop(second);
    assert_eq!(rig.try_chain(), None);
    assert_eq!(rig.pair.near.xdp_program(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_chain_around_the_redirect_program_stays_as_it_is() {
    let rig = queues(1);
    rig.load_verdict("first", PASS, &["--priority", "10"]);
    rig.load_verdict("behind", DROP, &["--priority", "30"]);
    let before = rig.chain();
    let client = rig.client("application");
    let socket = active(&client, 0);
    let chain = rig.chain();
    assert_eq!(chain.order(), ["first", "xsk-redirect", "behind"]);
    rig.ctl("reorder", &["xsk-redirect", "--last"]).done();
    assert_eq!(rig.chain().order(), ["first", "behind", "xsk-redirect"]);
    drop(socket);
    let after = rig.chain();
    assert_eq!(after.order(), before.order());
    for name in before.order() {
        let (old, new) = (before.member(name), after.member(name));
        assert_eq!((old.id, old.program_id), (new.id, new.program_id));
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_socket_after_another_and_two_at_once_come_and_go() {
    let rig = queues(2);
    let client = rig.client("application");
    // One.
    drop(active(&client, 0));
    assert_eq!(rig.try_chain(), None);
    // Two in sequence.
    drop(active(&client, 0));
    drop(active(&client, 0));
    assert_eq!(rig.try_chain(), None);
    // Two opened, then closed beside each other.
    let clients = [rig.client("one"), rig.client("two")];
    let sockets = [active(&clients[0], 0), active(&clients[1], 1)];
    assert_eq!(rig.chain().order(), ["xsk-redirect"]);
    std::thread::scope(|scope| {
        for socket in sockets {
            scope.spawn(move || socket.close().expect("it is ours"));
        }
    });
    assert_eq!(rig.try_chain(), None);
    // Three.
    let third = rig.client("three");
    let rest = [active(&clients[0], 0), active(&clients[1], 1)];
    let taken = try_open(&third, 1, MEMORY).expect_err("it is taken");
    assert_eq!(code(&taken), RefusalCode::QueueTaken);
    drop(rest);
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_that_closes_while_another_opens_leaves_a_program_for_the_other() {
    let rig = queues(2);
    let clients = [rig.client("one"), rig.client("two")];
    for round in 0..20 {
        let old = active(&clients[0], 0);
        let new = std::thread::scope(|scope| {
            let closing = scope.spawn(move || old.close().expect("it is ours"));
            let new = active(&clients[1], 1);
            closing.join().expect("it ends");
            new
        });
        assert_eq!(rig.chain().order(), ["xsk-redirect"], "round {round}");
        assert_eq!(states(&rig), [(1, "active".to_owned())], "round {round}");
        drop(new);
        assert_eq!(rig.try_chain(), None, "round {round}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn packets_go_to_the_socket_of_their_queue_and_are_counted_where_they_are_lost() {
    let rig = queues(1);
    rig.load_verdict("behind", DROP, &[]);
    let client = rig.client("application");
    let umem = Umem::builder().frames(64).build();
    let umem = umem.expect("there is memory");
    let is_bound = lends_bound_sockets(&client);
    let (lease, socket) =
        lent::ready(&client, &umem, 0, &lent::options()).expect("the queue is free");
    rig.send(&frame(64), 10);
    assert_eq!(rig.chain().member("behind").packets.drop, 10);
    if is_bound {
        let error = lease.activate().expect_err("it could receive nothing");
        assert_eq!(code(&error), RefusalCode::Conflict);
        assert!(error.to_string().contains("no frames"), "{error}");
        put_frame(&lease);
    }
    lease.activate().expect("it is bound");
    rig.send(&frame(64), 10);
    let chain = rig.chain();
    // Its FILL ring had no more, so the kernel drops the others: this socket's loss alone, and counted.
    assert_eq!(chain.member("xsk-redirect").packets.redirect, 10);
    assert_eq!(chain.member("behind").packets.drop, 10);
    let shown = &detail(&client).sockets[0];
    assert_eq!(shown.owner.client, "application");
    // On an older kernel it is the application that pins it.
    let pinned = if is_bound {
        umem.layout().length() as u64
    } else {
        0
    };
    assert_eq!(shown.bytes, pinned);
    let counts = shown.counts.expect("its client is there");
    let lost = (counts.rx_dropped, counts.rx_fill_ring_empty_descs);
    let expected = if is_bound { 9 } else { 10 };
    assert_eq!(lost, (expected, expected), "{counts:?}");
    let text = rig.ctl("show", &["xsk-redirect"]).done().stdout.clone();
    assert!(
        text.contains("sockets") && text.contains("application["),
        "{text}"
    );
    lease.close().expect("it is ours");
    drop(socket);
    rig.send(&frame(64), 10);
    assert_eq!(rig.chain().member("behind").packets.drop, 20);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_second_claim_hears_whose_the_queue_is() {
    let rig = queues(2);
    let owner = rig.client("xsk-echo");
    let socket = active(&owner, 1);
    let other = rig.client("other");
    let error = try_open(&other, 1, MEMORY).expect_err("it is taken");
    assert_eq!(code(&error), RefusalCode::QueueTaken);
    let text = error.to_string();
    let owner = format!("\"xsk-echo\" (uid 0, pid {})", std::process::id());
    assert!(
        text.contains("queue 1 of interface xd0") && text.contains(&owner),
        "{text}"
    );
    drop(open(&other, 0));
    drop(socket);
    drop(open(&other, 1));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_that_a_killed_daemon_left_without_sockets_is_removed_by_the_next() {
    let mut rig = queues(1);
    rig.load_verdict("kept", PASS, &[]);
    let client = rig.client("application");
    let socket = active(&client, 0);
    let claims = rig.map("xsk-redirect", "CLAIMS");
    rig.daemon.kill();
    // As if it had been killed after it registered the program.
    claims
        .delete(&0_u32.to_ne_bytes())
        .expect("root may change it");
    rig.daemon.restart();
    assert_eq!(rig.chain().order(), ["kept"]);
    wait_until("the client hears of it", DEADLINE, || {
        matches!(socket.check_held(), Err(libdispatch::Error::Lost { .. }))
    });
    drop(socket);
    drop(active(&client, 0));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_operator_may_remove_the_program_and_the_next_activation_brings_every_socket_back() {
    let rig = queues(2);
    let client = rig.client("application");
    let _first = active(&client, 0);
    rig.ctl("unload", &["xsk-redirect"]).done();
    assert_eq!(rig.try_chain(), None, "the kernel has the packets again");
    let _second = active(&client, 1);
    rig.send(&frame(64), 10);
    // Whichever queue they came in by.
    assert_eq!(rig.chain().member("xsk-redirect").packets.redirect, 10);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_redirect_programs_name_and_maps_are_nobodys() {
    let rig = queues(1);
    let refused = rig.try_load(&tests::object("verdict"), "xsk-redirect", &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("redirect program"), "{refused}");
    let client = rig.client("application");
    let _socket = active(&client, 0);
    for map in ["XSKS", "CLAIMS"] {
        let error = client
            .map("xd0", "xsk-redirect", map)
            .expect_err("it is shared");
        assert_eq!(code(&error), RefusalCode::NotAllowed);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn two_hundred_sockets_leave_nothing_behind() {
    let _alone = alone();
    let rig = queues(1);
    let client = rig.client("application");
    drop(active(&client, 0));
    let census = Census::take();
    let descriptors = rig.daemon.descriptors();
    for _ in 0..volume(200) {
        drop(active(&client, 0));
    }
    assert_eq!(rig.try_chain(), None);
    census.wait_until_nothing_more();
    // Those of `dispatchctl`'s connection are closed a little after it ended.
    wait_until("the daemon has no more descriptors", DEADLINE, || {
        rig.daemon.descriptors() <= descriptors
    });
    assert!(rig.daemon.bpffs().pins().is_empty());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_killed_clients_queue_can_be_bound_again_within_a_second() {
    let rig = queues(1);
    rig.load_verdict("behind", PASS, &[]);
    let next = rig.client("next");
    let mut victim = Victim::holding(&rig, 0);
    assert_eq!(rig.chain().order(), ["xsk-redirect", "behind"]);
    let start = Instant::now();
    victim.kill();
    wait_until("its queue is free", DEADLINE, || {
        match try_open(&next, 0, MEMORY) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(code(&error), RefusalCode::QueueTaken, "{error}");
                false
            }
        }
    });
    assert!(
        start.elapsed() < patience(Duration::from_secs(1)),
        "{:?}",
        start.elapsed()
    );
    wait_until("the program is gone", DEADLINE, || {
        rig.chain().order() == ["behind"]
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_outlives_the_daemon_and_is_its_clients_again() {
    let mut rig = queues(2);
    let client = rig.client("application");
    let socket = active(&client, 1);
    let before = rig.chain();
    rig.daemon.kill();
    rig.daemon.restart();
    wait_until("the socket is its client's again", DEADLINE, || {
        states(&rig) == [(1, "active".to_owned())]
    });
    assert_eq!(rig.chain().without_packets(), before.without_packets());
    socket.check_held().expect("it was claimed again");
    let error = try_open(&rig.client("other"), 1, MEMORY).expect_err("it is taken");
    assert!(error.to_string().contains("\"application\""), "{error}");
    socket.close().expect("it is ours");
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_whose_client_does_not_come_back_lingers_and_is_given_to_nobody_else() {
    let linger = patience(Duration::from_secs(2));
    let options = PairOptions {
        queues: 2,
        ..PairOptions::default()
    };
    let seconds = linger.as_secs().to_string();
    let mut rig = Rig::with(&["--restart-linger", &seconds], &options);
    let mut victim = Victim::holding(&rig, 1);
    rig.daemon.kill();
    let start = Instant::now();
    rig.daemon.restart();
    assert_eq!(states(&rig), [(1, "lingering".to_owned())]);
    let other = rig.client("other");
    let error = try_open(&other, 1, MEMORY).expect_err("it waits for its client");
    assert_eq!(code(&error), RefusalCode::QueueTaken);
    victim.kill();
    wait_until("it goes when nobody came", linger + DEADLINE, || {
        rig.try_chain().is_none()
    });
    assert!(start.elapsed() > linger, "{:?}", start.elapsed());
    drop(active(&other, 1));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn without_privileges_a_user_gets_what_it_is_allowed_and_nothing_else() {
    let nobody = NOBODY.to_string();
    let rig = Rig::with(&["--allow-uid", &nobody], &PairOptions::default());
    let client = as_user(NOBODY, || rig.client("unprivileged"));
    let stranger = as_user(54_321, || rig.port().try_client("stranger"));
    let error = stranger.expect_err("it was not let in");
    assert_eq!(code(&error), RefusalCode::NotAllowed);
    as_user(NOBODY, || {
        let error = client
            .open_bare_socket(&request(0))
            .expect_err("it could bind any queue");
        assert_eq!(code(&error), RefusalCode::NotAllowed);
        assert_eq!(remedy(&error), Some(&Remedy::AllowBare { uid: NOBODY }));
        let huge = memfd(1 << 40, SealFlags::SHRINK | SealFlags::GROW, false);
        let error = client
            .open_socket(&request(0), &huge)
            .expect_err("too much");
        assert_eq!(code(&error), RefusalCode::Quota);
        assert!(error.to_string().contains("may pin 268435456"), "{error}");
        // Of a kernel whose bound sockets are no use it gets nothing.
        if lends_bound_sockets(&client) {
            drop(active(&client, 0));
        }
    });
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_bare_socket_is_bound_by_its_client_to_its_interface_alone() {
    let nobody = NOBODY.to_string();
    let rig = Rig::with(&["--allow-bare", &nobody], &PairOptions::default());
    let client = as_user(NOBODY, || rig.client("unprivileged"));
    let socket = as_user(NOBODY, || {
        client.open_bare_socket(&request(0)).expect("it is allowed")
    });
    let address = |ifindex| SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, ifindex, 0);
    let loopback = rustix::net::bind(&socket, &address(1));
    assert_eq!(
        loopback,
        Err(Errno::INVAL),
        "it is tied to the other interface"
    );
    make_rx_ring(&socket);
    socket
        .activate()
        .expect("a socket that isn't bound gets no packets");
    assert_eq!(states(&rig), [(0, "active".to_owned())]);
    drop(socket);
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn two_queues_share_one_memory() {
    let rig = queues(2);
    let client = rig.client("application");
    let umem = Umem::builder()
        .frames(256)
        .build()
        .expect("there is memory");
    let first = lent::ready(&client, &umem, 0, &lent::options()).expect("the queue is free");
    let opened = client.open_shared_socket(&request(1), &first.0);
    let (second, bytes) = if is_too_old(&opened) {
        // The application registers its memory itself, and shares it itself.
        let lease = client.open_bare_socket(&request(1)).expect("it is root");
        let socket = lent::bind(&lease, &umem, &lent::options());
        ((lease, socket.expect("it shares")), 0)
    } else {
        let lease = opened.expect("another queue's frames can be there too");
        let socket = lent::mapped(&lease, &umem, &lent::options());
        ((lease, socket), umem.layout().length() as u64)
    };
    for (lease, _) in [&first, &second] {
        put_frame(lease);
        lease.activate().expect("it is bound");
    }
    let sockets = detail(&client).sockets;
    assert_eq!([sockets[0].bytes, sockets[1].bytes], [bytes, bytes]);
    let other = rig.client("other");
    let error = other
        .open_shared_socket(&request(1), &first.0)
        .expect_err("it is another connection's");
    assert_eq!(code(&error), RefusalCode::NoSuchSocket);
    drop((first, second));
    assert_eq!(rig.try_chain(), None);
}
