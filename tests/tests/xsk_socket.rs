//! `AF_XDP` sockets on a real kernel: every packet comes and goes with exactly its bytes, and every
//! frame is accounted for.

mod xsk;

use std::thread;
use std::time::Duration;

use libdispatch::xsk::{BusyPoll, Copies, Options, Umem};
use rustix::io::Errno;
use rustix::net::SendFlags;
use tests::{DEADLINE, HugePages, PairOptions, Tap, frame, kernel_is, volume, wait_until};
use xsk::{
    answer, assert_echo, assert_sound, bytes_of, index, is_taken_since, number_of, numbered, open,
    plain, receive, rig, send, turn,
};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn packets_come_and_go_with_their_bytes_many_times_round_small_rings() {
    let rig = plain();
    let umem = Umem::builder().frames(96).build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    assert!(!socket.is_zero_copy().expect("it says"));
    assert_echo(&rig, &umem, &mut socket, volume(100_000), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn of_a_million_packets_each_is_received_or_counted_as_lost_and_no_frame_is() {
    let count = volume(1_000_000);
    let rig = plain();
    let umem = Umem::builder()
        .frames(1024)
        .build()
        .expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(256));
    let (mut received, mut batch) = (0, 0);
    thread::scope(|scope| {
        let source = scope.spawn(|| rig.send(&frame(64), count));
        let mut sent_all = false;
        loop {
            let (receiver, sender) = socket.halves();
            batch = batch * 5 % 251 + 1;
            let before = received;
            let mut packets = receiver.receive(batch);
            while let Some(packet) = packets.next() {
                assert_eq!(packet.len(), 64);
                received += 1;
                match received % 16 {
                    0 => drop(sender.send(packet)),
                    1 => drop(packet),
                    _ => packets.recycle(packet),
                }
            }
            drop(packets);
            sender.flush().expect("the interface is up");
            if sent_all && received == before {
                break;
            }
            sent_all = source.is_finished();
        }
    });
    let sender = socket.halves().1;
    wait_until("all packets are sent", DEADLINE, || {
        sender.flush().expect("the interface is up");
        umem.tally().transmit == 0
    });
    let statistics = socket.statistics().expect("any socket has them");
    let lost = statistics.rx_dropped + statistics.rx_ring_full.expect("since 5.9");
    assert_eq!(
        received + lost,
        count,
        "{received} received, {statistics:?}"
    );
    assert_sound(&umem, &mut socket, 1024);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn unaligned_frames_with_headroom_hold_the_same_packets() {
    let rig = plain();
    let umem = Umem::builder().frames(80).frame_size(3000).headroom(64);
    let umem = umem.unaligned(true).build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    assert_echo(&rig, &umem, &mut socket, volume(1000), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_that_is_never_told_to_wake_the_kernel_sends_as_well() {
    let rig = plain();
    let umem = Umem::builder().frames(96).build().expect("there is memory");
    let options = Options {
        need_wakeup: false,
        copies: Copies::Always,
        ..Options::default().rings(64)
    };
    let mut socket = open(&rig, &umem, 0, &options);
    assert_echo(&rig, &umem, &mut socket, volume(500), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn one_system_call_sends_all_of_a_ring_where_the_kernel_can() {
    let rig = plain();
    let umem = Umem::builder()
        .frames(128)
        .build()
        .expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(64));
    let near = &rig.pair.near;
    let sender = socket.halves().1;
    // So that the kernel sees all of them and sends none.
    near.netns.ip("link set xd0 down");
    for _ in 0..64 {
        let mut packet = umem.allocate().expect("there are more than FILL holds");
        assert!(packet.write(&frame(64)));
        sender.send(packet).expect("there is room");
    }
    sender.flush().expect_err("the interface is down");
    near.netns.ip("link set xd0 up");
    near.wait_until_up();
    rig.pair.far.wait_until_up();
    let sent = rustix::net::send(&*sender, &[], SendFlags::DONTWAIT);
    let expected = if kernel_is((6, 17)) {
        (Ok(0), 64)
    } else {
        (Err(Errno::AGAIN), 32)
    };
    let mut reaped = 0;
    wait_until("they are sent", DEADLINE, || {
        reaped += sender.reap();
        reaped >= expected.1
    });
    assert_eq!((sent, reaped), expected);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn busy_polling_is_taken_and_packets_come() {
    let rig = plain();
    let umem = Umem::builder().frames(96).build().expect("there is memory");
    let options = Options {
        busy_poll: Some(BusyPoll {
            microseconds: 20,
            budget: 64,
        }),
        ..Options::default().rings(64)
    };
    let mut socket = open(&rig, &umem, 0, &options);
    assert_echo(&rig, &umem, &mut socket, volume(500), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_jumbo_packet_comes_in_several_frames_and_goes_back_whole() {
    let jumbo = PairOptions {
        mtu: 9000,
        ..PairOptions::default()
    };
    let rig = rig(&jumbo, &[]);
    let umem = Umem::builder().frames(256).frame_size(4096);
    let umem = umem.build().expect("there is memory");
    let options = Options {
        multi_buffer: true,
        ..Options::default().rings(64)
    };
    if !is_taken_since((6, 6), &rig, &umem, &options) {
        return;
    }
    let mut socket = open(&rig, &umem, 0, &options);
    let tap = Tap::on(&rig.pair.far);
    for number in 0..volume(200) {
        let mut sent = numbered(number, [9000, 60, 5000, 8191][index(number % 4)]);
        tap.send(&sent);
        let (receiver, sender) = socket.halves();
        let mut packets = receive(receiver, 1);
        assert_eq!(bytes_of(&packets[0]), sent);
        assert_eq!(packets[0].total_len(), sent.len());
        assert_eq!(packets[0].is_single(), sent.len() < 3000);
        turn(&mut packets[0]);
        turn(&mut sent);
        send(sender, packets);
        assert_eq!(answer(&tap), sent);
    }
    assert_sound(&umem, &mut socket, 256);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn metadata_of_a_program_is_ahead_of_the_packet_and_headers_fit_there() {
    let rig = rig(&PairOptions::default(), &["--global", "mark=0x5eed"]);
    let umem = Umem::builder().frames(64).headroom(128);
    let umem = umem.build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    let tap = Tap::on(&rig.pair.far);
    tap.send(&numbered(1, 100));
    let (receiver, sender) = socket.halves();
    let mut packets = receive(receiver, 1);
    let packet = &mut packets[0];
    assert_eq!(packet.metadata(4), Some(&0x5eed_u32.to_ne_bytes()[..]));
    assert!(packet.headroom() >= 128 + 256, "{}", packet.headroom());
    assert!(packet.grow_front(128));
    let header = frame(128);
    packet[..128].copy_from_slice(&header);
    turn(packet);
    let mut expected = [header, numbered(1, 100)].concat();
    turn(&mut expected);
    send(sender, packets);
    assert_eq!(answer(&tap), expected);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn huge_pages_hold_packets_as_well() {
    let _set_aside = HugePages::set_aside(2);
    let rig = plain();
    let umem = Umem::builder().frames(1024).huge_pages(true);
    let umem = umem.build().expect("there are huge pages");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    assert_echo(&rig, &umem, &mut socket, volume(200), 1514);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_empty_fill_ring_loses_packets_that_are_counted_and_nothing_else() {
    let rig = plain();
    let umem = Umem::builder().frames(8).build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    let tap = Tap::on(&rig.pair.far);
    for number in 0..20 {
        tap.send(&numbered(number, 64));
    }
    let held = receive(socket.halves().0, 8);
    wait_until("the others are lost", DEADLINE, || {
        let statistics = socket.statistics().expect("any socket has them");
        statistics.rx_dropped + statistics.fill_ring_empty.unwrap_or(0) >= 12
    });
    drop(held);
    assert_eq!(socket.halves().0.receive(64).count(), 0);
    tap.send(&numbered(20, 64));
    let held = receive(socket.halves().0, 1);
    assert_eq!(number_of(&held[0]), 20);
    drop(held);
    assert_sound(&umem, &mut socket, 8);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn waiting_ends_when_a_packet_comes_and_not_before() {
    let rig = plain();
    let umem = Umem::builder().frames(64).build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    let short = Some(Duration::from_millis(1));
    assert!(!socket.wait(short).expect("the interface is up"));
    Tap::on(&rig.pair.far).send(&numbered(0, 64));
    assert!(socket.wait(Some(DEADLINE)).expect("the interface is up"));
    assert_eq!(socket.halves().0.receive(64).count(), 1);
    assert!(!socket.wait(short).expect("the interface is up"));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_whose_interface_goes_says_so_and_keeps_its_packets() {
    let rig = plain();
    let umem = Umem::builder().frames(64).build().expect("there is memory");
    let mut socket = open(&rig, &umem, 0, &Options::default().rings(32));
    Tap::on(&rig.pair.far).send(&numbered(7, 64));
    let held = receive(socket.halves().0, 1);
    rig.pair.near.netns.ip("link del xd0");
    let error = socket.wait(Some(DEADLINE)).expect_err("it is gone");
    let gone = Errno::NXIO.raw_os_error();
    assert_eq!(error.raw_os_error(), Some(gone), "{error}");
    assert_eq!(number_of(&held[0]), 7);
    let (_, sender) = socket.halves();
    for packet in held {
        sender.send(packet).expect("the ring is still there");
    }
    assert!(sender.flush().is_err());
}
