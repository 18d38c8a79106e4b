//! An application that writes garbage into its rings breaks its own queue and nothing else.

mod flows;
mod lent;
mod socket;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::thread;

use flows::{FLOWS, Flows, arrived, number_of, queues};
use lent::{Lent, NOBODY, client, open, umem};
use libdispatch::xsk::Umem;
use libdispatch::{Client, SocketLease};
use memmap2::{MmapOptions, MmapRaw};
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, XdpUmemReg, XdpUmemRegFlags};
use rustix::net::{RecvFlags, SendFlags, sockopt};
use socket::request;
use tests::{DEADLINE, RawRings, Rig, Tap, as_user, frame, is_too_old, volume, wait_until};

const PASS: u32 = 2;
const DROP: u32 = 1;
/// How often each round of datagrams finds the rings full of other garbage, about.
const SCRIBBLES: u32 = 20;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn garbage_in_the_rings_of_a_socket_harms_its_owner_alone() {
    let rig = lent::rig(&queues(4));
    rig.load_verdict("ahead", PASS, &["--priority", "10"]);
    rig.load_verdict("behind", DROP, &["--priority", "30"]);
    let memory = umem();
    let mut good = open(&client(&rig, "good"), &memory, 0);
    let bad_client = client(&rig, "bad");
    let bad_memory = umem();
    let bad = as_user(NOBODY, || Scribbler::open(&bad_client, &bad_memory));
    let mut flows = Flows::into(&rig);
    let mut garbage = Garbage(Cell::new(0x9e37_79b9_7f4a_7c15));
    let mut received = 0;
    for _ in 0..volume(100) {
        let mut expected = (flows.sent()..flows.sent() + FLOWS).collect();
        thread::scope(|scope| {
            let scribbling = scope.spawn(|| {
                as_user(NOBODY, || {
                    for _ in 0..SCRIBBLES {
                        bad.scribble(&mut garbage);
                    }
                });
            });
            flows.send_round(&rig);
            scribbling.join().expect("garbage can be written");
        });
        received += receive(&mut good, arrived(&rig, 0) - received, &mut expected);
        assert_others_have_all(&rig, &flows);
    }
    let statistics = good.1.statistics().expect("it is a socket");
    assert_eq!(
        (statistics.rx_dropped, statistics.rx_ring_full),
        (0, Some(0))
    );

    // The kernel used it: nothing else ever named a frame to receive into.
    let theirs = sockopt::xdp_statistics(&bad.lease).expect("it is a socket");
    assert!(theirs.rx_dropped < arrived(&rig, 1), "{theirs:?}");

    // The queue is as good as before.
    bad.lease.close().expect("the daemon is there");
    drop((bad.rings, bad.mapped));
    let mut again = open(&bad_client, &bad_memory, 1);
    let before = arrived(&rig, 1);
    let mut expected = (flows.sent()..flows.sent() + FLOWS).collect();
    flows.send_round(&rig);
    receive(&mut good, arrived(&rig, 0) - received, &mut expected);
    let count = receive(&mut again, arrived(&rig, 1) - before, &mut expected);
    assert!(count > 0, "some flow is on each queue");
    assert_others_have_all(&rig, &flows);
    assert_sends(&rig, &mut good, &memory);
    assert_sends(&rig, &mut again, &bad_memory);
    drop((good, again));
    assert_eq!(rig.chain().order(), ["ahead", "behind"]);
}

/// The daemon answers, and the chain's members have every packet that is theirs.
#[track_caller]
fn assert_others_have_all(rig: &Rig, flows: &Flows) {
    let arrived = [0, 1, 2, 3].map(|queue| arrived(rig, queue));
    assert_eq!(arrived.iter().sum::<u64>(), flows.sent());
    let chain = rig.chain();
    let packets = |name| chain.member(name).packets;
    assert_eq!(packets("ahead").pass, flows.sent());
    assert_eq!(packets("xsk-redirect").redirect, arrived[0] + arrived[1]);
    assert_eq!(packets("behind").drop, arrived[2] + arrived[3]);
    let states = socket::states(rig);
    assert_eq!(states, [0, 1].map(|queue| (queue, "active".to_owned())));
}

/// Receives so many of the expected datagrams, each once and unchanged; returns how many.
fn receive((_, socket): &mut Lent<'_>, count: u64, expected: &mut BTreeSet<u64>) -> u64 {
    let mut missing = count;
    as_user(NOBODY, || {
        wait_until("all datagrams are there", DEADLINE, || {
            for packet in socket.halves().0.receive(64) {
                let number = number_of(&packet);
                assert!(expected.remove(&number), "{number} comes once");
                missing = missing.checked_sub(1).expect("no more came to the hook");
            }
            missing == 0
        });
    });
    count
}

/// What the application sends arrives at the far end.
fn assert_sends<'u>(rig: &Rig, (lease, socket): &mut Lent<'u>, memory: &'u Umem) {
    let tap = Tap::on(&rig.pair.far);
    let mut packet = frame(100);
    packet[99] = lease.queue().to_le_bytes()[0];
    as_user(NOBODY, || {
        let mut frame = memory
            .allocate()
            .expect("there are more than the rings hold");
        assert!(frame.write(&packet));
        let (_, sender) = socket.halves();
        sender.send(frame).expect("there is room");
        sender.flush().expect("the interface is up");
    });
    wait_until("the packet is there", DEADLINE, || {
        tap.try_next().as_ref() == Some(&packet)
    });
}

/// An active socket whose owner wants no packets.
struct Scribbler {
    lease: SocketLease,
    rings: RawRings,
    /// What a bare socket's frames are in.
    mapped: Option<MmapRaw>,
}

impl Scribbler {
    const QUEUE: u32 = 1;
    const RING: usize = 64;

    fn open(client: &Client, memory: &Umem) -> Self {
        let request = request(Self::QUEUE);
        let rings = |lease: &SocketLease| {
            RawRings::of(lease.as_fd(), [Self::RING; 4]).expect("they are its own")
        };
        let opened = client.open_socket(&request, memory);
        let scribbler = if is_too_old(&opened) {
            let lease = client.open_bare_socket(&request).expect("it is allowed");
            let mapped = register(&lease, memory);
            // While the socket isn't bound they can be mapped on any kernel.
            let rings = rings(&lease);
            let copy = SocketAddrXdpFlags::XDP_COPY;
            let address = SocketAddrXdp::new(copy, lease.ifindex(), lease.queue());
            rustix::net::bind(&lease, &address).expect("the queue is free");
            Self {
                lease,
                rings,
                mapped: Some(mapped),
            }
        } else {
            let lease = opened.expect("the queue is free");
            Self {
                rings: rings(&lease),
                lease,
                mapped: None,
            }
        };
        scribbler.rings.put_first_frame();
        scribbler.lease.activate().expect("it is bound");
        scribbler
    }

    /// Writes garbage, and has the kernel work with it.
    fn scribble(&self, garbage: &mut Garbage) {
        let garbage = &*garbage;
        self.rings
            .scribble(|place| garbage.entry(place), || garbage.index());
        // Whatever the kernel says of it.
        let _ = rustix::net::send(&self.lease, &[], SendFlags::DONTWAIT);
        let _ = rustix::net::recv(&self.lease, &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }
}

/// Makes a bare socket ready to be bound, with this memory's frames.
fn register(lease: &SocketLease, memory: &Umem) -> MmapRaw {
    let entries = u32::try_from(Scribbler::RING).expect("it is small");
    let length = memory.layout().length();
    let mapped = MmapOptions::new().len(length).map_raw(&memory.as_fd());
    let mapped = mapped.expect("it is the application's");
    let registration = XdpUmemReg {
        addr: mapped.as_ptr() as u64,
        len: length as u64,
        chunk_size: memory.layout().frame_size(),
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(lease, registration).expect("it is within the limit");
    sockopt::set_xdp_umem_fill_ring_size(lease, entries).expect("it is a size");
    sockopt::set_xdp_umem_completion_ring_size(lease, entries).expect("it is a size");
    sockopt::set_xdp_rx_ring_size(lease, entries).expect("it is a size");
    sockopt::set_xdp_tx_ring_size(lease, entries).expect("it is a size");
    mapped
}

/// Numbers without any pattern, the same each time (`xorshift64`).
struct Garbage(Cell<u64>);

impl Garbage {
    fn next(&self) -> u64 {
        let mut number = self.0.get();
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        self.0.set(number);
        number
    }

    fn index(&self) -> u32 {
        u32::try_from(self.next() >> 32).expect("it was shifted")
    }

    /// A word of a ring's entry: anything, or an address or a length that could be one.
    ///
    /// The first entry always names a packet: the kernel looks through everything between both
    /// indices, which may be four thousand million entries, until it finds one.
    fn entry(&self, place: usize) -> u64 {
        let next = self.next();
        match (place, next % 4) {
            (0, _) => 0,
            (1, _) => 60,
            (_, 0) => next,
            (_, 1) => next >> 8 & 0xf_ffff,
            (_, 2) => next >> 8 & 0x7ff,
            (_, _) => next >> 8 & 0x7ff << 32,
        }
    }
}
