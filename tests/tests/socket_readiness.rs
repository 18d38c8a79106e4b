//! Lent sockets in an event loop: `epoll` says of their descriptors what it says of other sockets'.

mod lent;
mod xsk;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lent::{NOBODY, RING, client, open, umem};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use tests::{DEADLINE, PairOptions, Tap, as_user, patience, volume};
use xsk::{answer, bytes_of, numbered, turn};

/// How event loops ask: each time for what is there, or once for what came (as tokio does).
const TRIGGERS: [EventFlags; 2] = [EventFlags::empty(), EventFlags::ET];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_receiver_is_readable_from_a_packets_coming_until_it_was_received() {
    let packets = volume(1000);
    let rig = lent::rig(&PairOptions::default());
    let tap = Tap::on(&rig.pair.far);
    for trigger in TRIGGERS {
        let umem = umem();
        let (lease, socket) = open(&client(&rig, "loop"), &umem, 0);
        let (mut receiver, sender) = socket.split();
        as_user(NOBODY, || {
            let events = watch(&receiver, EventFlags::IN | trigger);
            for number in 0..packets {
                assert_eq!(now(&events), None);
                let sent = numbered(number, 60 + 40);
                tap.send(&sent);
                assert_eq!(later(&events), Some(EventFlags::IN));
                let again = (trigger != EventFlags::ET).then_some(EventFlags::IN);
                assert_eq!(now(&events), again);
                let received: Vec<_> = receiver.receive(RING as usize).collect();
                assert_eq!(received.len(), 1);
                assert_eq!(bytes_of(&received[0]), sent);
                assert_eq!(now(&events), None);
            }
        });
        drop((receiver, sender, lease));
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_sender_is_writable_unless_its_ring_is_full_and_then_when_that_was_sent() {
    let rig = lent::rig(&PairOptions::default());
    let tap = Tap::on(&rig.pair.far);
    let near = &rig.pair.near.netns;
    for trigger in TRIGGERS {
        let umem = umem();
        let (lease, socket) = open(&client(&rig, "loop"), &umem, 0);
        let (receiver, mut sender) = socket.split();
        let events = as_user(NOBODY, || watch(&sender, EventFlags::OUT | trigger));
        assert_eq!(now(&events), Some(EventFlags::OUT));
        let again = (trigger != EventFlags::ET).then_some(EventFlags::OUT);
        assert_eq!(now(&events), again);

        // So that nothing leaves the ring.
        near.ip("link set xd0 down");
        let packets: Vec<_> = (0..RING.into()).map(sent_by_near).collect();
        as_user(NOBODY, || {
            for packet in &packets {
                let mut frame = umem.allocate().expect("there are more than the rings hold");
                assert!(frame.write(packet));
                sender.send(frame).expect("there is room");
            }
            let error = sender.flush().expect_err("the interface is down");
            assert_eq!(error.raw_os_error(), Some(Errno::NETDOWN.raw_os_error()));
        });
        assert_eq!(now(&events), None);

        near.ip("link set xd0 up");
        // The far end hears of it last.
        rig.pair.near.wait_until_up();
        rig.pair.far.wait_until_up();
        as_user(NOBODY, || {
            sender.flush().expect("the interface is up");
            assert_eq!(later(&events), Some(EventFlags::OUT));
        });
        for packet in packets {
            assert_eq!(answer(&tap), packet);
        }
        drop((sender, receiver, lease));
    }
}

/// An epoll instance that is asked for this.
fn watch(half: impl AsFd, events: EventFlags) -> OwnedFd {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("anybody may");
    epoll::add(&epoll, half, epoll::EventData::new_u64(0), events).expect("it can be polled");
    epoll
}

/// What it says without waiting.
fn now(epoll: &OwnedFd) -> Option<EventFlags> {
    within(epoll, Duration::ZERO)
}

/// What it says at last.
fn later(epoll: &OwnedFd) -> Option<EventFlags> {
    within(epoll, patience(DEADLINE))
}

fn within(epoll: &OwnedFd, time: Duration) -> Option<EventFlags> {
    let time = Timespec::try_from(time).expect("it is short");
    let mut events = Vec::<epoll::Event>::with_capacity(2);
    epoll::wait(epoll, spare_capacity(&mut events), Some(&time)).expect("it is ours");
    assert!(events.len() <= 1);
    events.pop().map(|event| event.flags)
}

/// A packet that goes the other way.
fn sent_by_near(number: u64) -> Vec<u8> {
    let mut packet = numbered(number, 100);
    turn(&mut packet);
    packet
}
