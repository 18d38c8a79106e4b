//! What happens to lent sockets when their interfaces go down, go away, or are elsewhere.

mod lent;
mod socket;
mod xsk;

use lent::{NOBODY, client, open, options, ready, umem};
use rustix::io::Errno;
use socket::states;
use tests::{Census, DEADLINE, NetNs, Pair, PairOptions, Tap, alone, as_user, volume, wait_until};
use xsk::{answer, assert_echo_by, numbered, turn};

const LARGEST: usize = 1514;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_application_in_a_namespace_that_is_neither_the_daemons_nor_the_interfaces_has_its_packets() {
    let packets = volume(2000);
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let tap = Tap::on(&rig.pair.far);
    NetNs::new().run(|| {
        let (lease, mut socket) = open(&client(&rig, "elsewhere"), &umem, 0);
        assert_eq!(lease.ifindex(), rig.pair.near.index);
        as_user(NOBODY, || {
            nix::net::if_::if_nametoindex("xd0").expect_err("it is not there");
            assert_echo_by(&tap, &umem, &mut socket, packets, LARGEST);
        });
        let counted = rig.chain().member("xsk-redirect").packets;
        assert_eq!((counted.redirect, counted.total()), (packets, packets));
    });
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_whose_interface_is_down_says_so_and_goes_on_when_it_is_up() {
    let packets = volume(500);
    let rig = lent::rig(&PairOptions::default());
    let umem = umem();
    let (lease, mut socket) = open(&client(&rig, "patient"), &umem, 0);
    let tap = Tap::on(&rig.pair.far);
    for round in 0..2 {
        as_user(NOBODY, || {
            assert_echo_by(&tap, &umem, &mut socket, packets, LARGEST);
        });
        let before = rig.chain();
        let near = &rig.pair.near;
        near.netns.ip(&format!("link set {} down", near.name));
        let mut late = numbered(round, 100);
        turn(&mut late);
        as_user(NOBODY, || {
            let down = Some(Errno::NETDOWN.raw_os_error());
            let (receiver, sender) = socket.halves();
            let error = receiver.wait(Some(DEADLINE)).expect_err("it is down");
            assert_eq!(error.raw_os_error(), down, "{error}");
            let mut frame = umem.allocate().expect("there are more than the rings hold");
            assert!(frame.write(&late));
            sender.send(frame).expect("there is room");
            let error = sender.flush().expect_err("it is down");
            assert_eq!(error.raw_os_error(), down, "{error}");
        });
        lease
            .check_held()
            .expect("the queue stays the application's");
        near.netns.ip(&format!("link set {} up", near.name));
        near.wait_until_up();
        rig.pair.far.wait_until_up();
        // What was to be sent is still there.
        as_user(NOBODY, || {
            wait_until("the packet is sent", DEADLINE, || {
                let (_, sender) = socket.halves();
                sender.flush().expect("the interface is up");
                umem.tally().transmit == 0
            });
        });
        assert_eq!(answer(&tap), late);
        assert_eq!(rig.chain(), before);
    }
    drop((socket, lease));
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_that_goes_takes_its_sockets_along_and_its_successor_has_none() {
    let _alone = alone();
    assert_sockets_go_with_interface(true);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_that_had_no_chain_takes_its_sockets_along_and_its_successor_has_none() {
    let _alone = alone();
    assert_sockets_go_with_interface(false);
}

/// One of them is idle; the other, if there is one, gets packets, for which there is a chain.
fn assert_sockets_go_with_interface(is_one_active: bool) {
    let rig = lent::rig(&two_queues());
    let clients = ["active", "idle", "next"].map(|name| client(&rig, name));
    drop(open(&clients[0], &umem(), 0));
    let census = Census::take();
    let descriptors = rig.daemon.descriptors();
    let is_as_before = || {
        census.wait_until_nothing_more();
        wait_until("the daemon lets all sockets go", DEADLINE, || {
            rig.daemon.descriptors() <= descriptors
        });
    };

    let memories = [(); 4].map(|()| umem());
    let active = is_one_active.then(|| open(&clients[0], &memories[0], 0));
    let mut idle = as_user(NOBODY, || {
        ready(&clients[1], &memories[1], 1, &options()).expect("the queue is free")
    });
    let Pair { near, far } = &rig.pair;
    near.netns.ip("link del xd0");
    let error = idle.1.wait(Some(DEADLINE)).expect_err("it is gone");
    let gone = Some(Errno::NXIO.raw_os_error());
    assert_eq!(error.raw_os_error(), gone, "{error}");
    wait_until("the chain is forgotten", DEADLINE, || {
        rig.daemon.chains().is_empty()
    });
    is_as_before();

    // Another interface with the same name and number.
    near.netns.ip(&format!(
        "link add xd0 index {} numrxqueues 2 numtxqueues 2 type veth \
         peer name far0 netns {} numrxqueues 2 numtxqueues 2",
        near.index,
        far.netns.name(),
    ));
    near.netns.ip("link set xd0 up");
    far.netns.ip("link set far0 up");
    let [.., first, second] = &memories;
    let next = [(0, first), (1, second)].map(|(queue, umem)| open(&clients[2], umem, queue));
    // What is left of the old ones takes nothing from it.
    drop((active, idle));
    let both = [0, 1].map(|queue| (queue, "active".to_owned()));
    assert_eq!(states(&rig), both);
    drop(next);
    assert_eq!(rig.try_chain(), None);
    is_as_before();
}

fn two_queues() -> PairOptions {
    PairOptions {
        queues: 2,
        ..PairOptions::default()
    }
}
