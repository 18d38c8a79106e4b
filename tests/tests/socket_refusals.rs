//! What an application can't have is refused with its reason, and costs nobody anything.

mod lent;
mod socket;
mod xsk;

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use lent::{Lent, NOBODY, client, open, umem};
use libdispatch::RefusalCode::{
    Conflict, Descriptor, Malformed, Mode, NoSuchQueue, QueueTaken, Quota,
};
use libdispatch::{Client, RefusalCode, SocketMode, SocketRequest};
use rustix::fs::SealFlags;
use socket::{MEMORY, code, memfd, memory, request, states};
use tests::{
    Census, DEADLINE, Output, PairOptions, Rig, Tap, alone, as_user, is_too_old, wait_until,
};
use xsk::{bytes_of, numbered, receive};

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_cannot_be_is_refused_with_its_reason_and_nothing_is_lost() {
    let _alone = alone();
    let rig = rig();
    let (umems, tap) = ([umem(), umem()], Tap::on(&rig.pair.far));
    let mut neighbour = open(&client(&rig, "neighbour"), &umems[0], 0);
    let client = client(&rig, "application");
    let chain = rig.chain().without_packets();
    let (census, descriptors) = (Census::take(), rig.daemon.descriptors());
    let mut sent = 0;
    for case in cases() {
        as_user(NOBODY, || case.assert_refused(&client));
        assert_goes_on(&tap, &mut neighbour, sent);
        sent += 1;
    }
    // Each of these had its queue for a moment.
    let useless = &zero_copy();
    for _ in 0..100 {
        as_user(NOBODY, || useless.assert_refused(&client));
    }
    assert_goes_on(&tap, &mut neighbour, sent);
    sent += 1;

    assert_eq!(states(&rig), [(0, "active".to_owned())]);
    let packets = rig.chain().member("xsk-redirect").packets;
    assert_eq!((packets.redirect, packets.total()), (sent, sent));
    assert_eq!(rig.chain().without_packets(), chain);
    census.wait_until_nothing_more();
    assert_eq!(Census::take(), census);
    wait_until("no refused descriptor is kept", DEADLINE, || {
        rig.daemon.descriptors() <= descriptors
    });
    let statistics = neighbour.1.statistics().expect("it is a socket");
    assert_eq!(
        (statistics.rx_dropped, statistics.rx_ring_full),
        (0, Some(0))
    );
    // The queue was nobody's all the time.
    drop(open(&client, &umems[1], 1));
    assert_goes_on(&tap, &mut neighbour, sent);
    drop(neighbour);
    assert_eq!(rig.try_chain(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_socket_of_the_applications_own_program_is_not_activated() {
    let rig = rig();
    let client = client(&rig, "application");
    as_user(NOBODY, || {
        let request = request(0).without_redirect();
        let opened = client.open_socket(&request, memory(MEMORY));
        let own = if is_too_old(&opened) {
            client.open_bare_socket(&request)
        } else {
            opened
        };
        let own = own.expect("the queue is free");
        let error = own.activate().expect_err("there is nothing to activate");
        assert_eq!(code(&error), Conflict);
    });
    assert_eq!(rig.try_chain(), None);
}

/// A request that makes no sense, or one too many.
struct Case {
    request: SocketRequest,
    memory: OwnedFd,
    code: RefusalCode,
    text: &'static str,
}

impl Case {
    fn new(request: SocketRequest, code: RefusalCode, text: &'static str) -> Self {
        let memory = memory(MEMORY);
        Self {
            request,
            memory,
            code,
            text,
        }
    }

    /// The queue is there and free.
    fn of_memory(memory: OwnedFd, code: RefusalCode, text: &'static str) -> Self {
        Self {
            memory,
            ..Self::new(request(1), code, text)
        }
    }

    fn assert_refused(&self, client: &Client) {
        let refused = client.open_socket(&self.request, &self.memory);
        let error = refused.expect_err(self.text);
        assert_eq!(code(&error), self.code, "{error}");
        let text = error.to_string();
        assert!(text.contains(self.text) && text.contains("xd0"), "{text}");
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

fn cases() -> Vec<Case> {
    let on = request;
    let (resizing, writing) = (SealFlags::SHRINK | SealFlags::GROW, SealFlags::WRITE);
    let (pipe, _) = io::pipe().expect("a pipe can be made");
    let quota = 256 << 20;
    let malformed = |request, text| Case::new(request, Malformed, text);
    let descriptor = |memory, text| Case::of_memory(memory, Descriptor, text);
    vec![
        malformed(on(1).fill(100), "FILL ring can't have 100"),
        malformed(on(1).completion(0), "COMPLETION ring can't have 0"),
        malformed(on(1).rx(1 << 16), "RX ring can't have 65536"),
        malformed(on(1).tx(3), "TX ring can't have 3"),
        malformed(on(1).rx(0).tx(0), "needs an RX ring or a TX ring"),
        malformed(on(1).frame_size(1024), "can't have 1024 bytes"),
        malformed(on(1).frame_size(3000), "can't have 3000 bytes"),
        malformed(on(1).frame_size(8192), "can't have 8192 bytes"),
        malformed(on(1).headroom(1800), "headroom of 1800"),
        malformed(on(1).software_checksum(true), "metadata, which has no"),
        malformed(on(1).busy_poll(MILLISECOND, 0), "process 0 packets"),
        malformed(on(1).busy_poll(MILLISECOND, 257), "process 257 packets"),
        descriptor(
            memfd(MEMORY, SealFlags::empty(), true),
            "not sealed against SHRINK, GROW",
        ),
        descriptor(
            memfd(MEMORY, resizing | writing, true),
            "sealed against WRITE",
        ),
        descriptor(memfd(MEMORY, resizing, false), "are allocated"),
        descriptor(memory(3000), "no whole number of frames"),
        descriptor(memfd(0, resizing, false), "no whole number of frames"),
        descriptor(pipe.into(), "is a pipe"),
        Case::of_memory(
            memfd(quota + 4096, resizing, false),
            Quota,
            "may pin 268435456",
        ),
        Case::new(on(2), NoSuchQueue, "no queue 2: it has 2"),
        Case::new(on(u32::MAX), NoSuchQueue, "no queue 4294967295"),
        Case::new(on(0), QueueTaken, "belongs to \"neighbour\" (uid 65534"),
        zero_copy(),
    ]
}

fn zero_copy() -> Case {
    let text = "its driver has no zero-copy for queue 1";
    Case::new(request(1).mode(SocketMode::ZeroCopy), Mode, text)
}

/// A daemon, and an interface of two queues. What is sent to it comes by the first.
fn rig() -> Rig {
    let options = PairOptions {
        queues: 2,
        ..PairOptions::default()
    };
    let rig = lent::rig(&options);
    let far = &rig.pair.far;
    let mut ethtool = Command::new("ethtool");
    ethtool.args(["-L", &far.name, "tx", "1"]);
    let output = far.netns.run(|| ethtool.output());
    Output::from(output.expect("ethtool runs (Debian package ethtool)")).done();
    rig
}

/// The socket gets its packets.
fn assert_goes_on(tap: &Tap, (_, socket): &mut Lent<'_>, number: u64) {
    as_user(NOBODY, || {
        let sent = numbered(number, 1000);
        tap.send(&sent);
        let received = receive(socket.halves().0, 1);
        assert_eq!(bytes_of(&received[0]), sent);
    });
}
