//! A million packets for lent sockets whose rings, frames and batches are of random sizes.

mod lent;
mod xsk;

use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lent::{Lent, NOBODY, client, open_as};
use libdispatch::xsk::{Options, Packet, Receiver, Sender, Socket, Umem};
use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tests::{DEADLINE, PairOptions, Tap, as_user, patience, stay_on_this_cpu, volume, wait_until};
use xsk::{assert_sound, index, number_of, numbered, turn};

const ROUNDS: u64 = 10;
/// Entries of a ring.
const RINGS: [u32; 6] = [64, 128, 256, 512, 1024, 2048];
/// Packets that are received at once, at most.
const BATCH: RangeInclusive<usize> = 1..=300;

/// What a round is like.
#[derive(Debug)]
struct Shape {
    options: Options,
    frames: u32,
    /// Packets that are on the way at once. If they are more than there is room for, some are lost.
    window: u64,
}

/// Well within what a veth queues, and what a tap may have on the way.
const WINDOW: RangeInclusive<u64> = 8..=128;

/// What became of a round's packets.
#[derive(Debug, Default)]
struct Seen {
    received: u64,
    lost: u64,
    echoed: u64,
    /// The number of the last one.
    last: Option<u64>,
}

/// What came back.
#[derive(Debug, Default)]
struct Echoes {
    count: u64,
    last: Option<u64>,
}

/// Set this variable to what was printed to have the same rounds again.
const SEED_VARIABLE: &str = "TEST_SEED";

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn whatever_the_sizes_each_packet_comes_with_its_bytes_or_is_counted_as_lost_and_no_frame_is() {
    let count = volume(1_000_000) / ROUNDS;
    let seed = env::var(SEED_VARIABLE).map_or_else(
        |_| RandomState::new().hash_one(0),
        |text| text.parse().expect("it is a number"),
    );
    println!("{SEED_VARIABLE}={seed}");
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let rig = lent::rig(&PairOptions::default());
    let client = client(&rig, "random");
    for _ in 0..volume(ROUNDS) {
        let shape = Shape::random(&mut random);
        let tap = Tap::on(&rig.pair.far);
        let umem = Umem::builder().frames(shape.frames).build();
        let umem = umem.expect("there is memory");
        let (lease, mut socket) = open_as(&client, &umem, 0, &shape.options);
        let start = Instant::now();
        let seen = as_user(NOBODY, || {
            round(&tap, &mut socket, &shape, count, &mut random)
        });
        println!("{shape:?}: {seen:?}, {:?}", start.elapsed());
        assert_eq!(seen.received + seen.lost, count);
        assert!(seen.received > 0 && seen.echoed > 0);
        let counted = rig.chain().member("xsk-redirect").packets;
        assert_eq!((counted.redirect, counted.total()), (count, count));
        assert_nothing_is_missing(&umem, (lease, socket), shape.frames);
        assert_eq!(rig.try_chain(), None);
    }
}

impl Shape {
    fn random(random: &mut TestRng) -> Self {
        let mut ring = || RINGS[random.random_range(0..RINGS.len())];
        let options = Options {
            fill: ring(),
            completion: ring(),
            rx: ring(),
            tx: ring(),
            ..Options::default()
        };
        // At most 3072, which an application may register itself where it has to: `RLIMIT_MEMLOCK` is
        // 8 MiB.
        let frames = ring();
        Self {
            options,
            frames: frames + random.random_range(0..=frames / 2),
            window: random.random_range(WINDOW),
        }
    }
}

/// All packets come while they are sent, and what is sent back is seen to come back.
fn round(
    tap: &Tap,
    socket: &mut Socket<'_>,
    shape: &Shape,
    count: u64,
    random: &mut TestRng,
) -> Seen {
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let source = scope.spawn(|| send_all(tap, count, shape.window, &done));
        let seen = receive_all(socket, count, &done, random);
        let mut echoes = source.join().expect("the other end sends all");
        wait_until("all that was sent back is there", DEADLINE, || {
            socket.halves().1.flush().expect("the interface is up");
            echoes.take_from(tap);
            echoes.count == seen.echoed
        });
        seen
    })
}

/// Sends them, never more than the window ahead of what is done.
fn send_all(tap: &Tap, count: u64, window: u64, done: &AtomicU64) -> Echoes {
    let mut echoes = Echoes::default();
    for number in 0..count {
        let waiting = Waiting::default();
        while number >= done.load(Ordering::Relaxed) + window {
            waiting.go_on();
        }
        tap.send(&packet(number));
        echoes.take_from(tap);
    }
    echoes
}

impl Echoes {
    fn take_from(&mut self, tap: &Tap) {
        while let Some(mut packet) = tap.try_next() {
            turn(&mut packet);
            assert_is_next(&packet, &mut self.last);
            self.count += 1;
        }
    }
}

fn receive_all(
    socket: &mut Socket<'_>,
    count: u64,
    done: &AtomicU64,
    random: &mut TestRng,
) -> Seen {
    // The other end asserts that echoes come in the order in which they are sent here.
    stay_on_this_cpu();
    let mut seen = Seen::default();
    let mut waiting = Waiting::default();
    while seen.received + seen.lost < count {
        let before = seen.received;
        let (receiver, sender) = socket.halves();
        let batch = random.random_range(BATCH);
        match random.random_range(0..3) {
            0 => seen.look(receiver, batch),
            1 => seen.look_and_take(receiver, sender, batch),
            _ => seen.take_all(receiver, sender, batch),
        }
        sender.flush().expect("the interface is up");
        if seen.received == before {
            let statistics = socket.statistics().expect("any socket has them");
            seen.lost = statistics.rx_dropped + statistics.rx_ring_full.expect("since 5.9");
            waiting.go_on();
        } else {
            waiting = Waiting::default();
        }
        done.store(seen.received + seen.lost, Ordering::Relaxed);
    }
    seen
}

impl Seen {
    fn look(&mut self, receiver: &mut Receiver<'_>, batch: usize) {
        receiver.receive_each(batch, |packet| {
            self.see(&packet);
        });
    }

    fn look_and_take<'u>(
        &mut self,
        receiver: &mut Receiver<'u>,
        sender: &mut Sender<'u>,
        batch: usize,
    ) {
        receiver.receive_each(batch, |packet| match self.see(&packet) % 5 {
            0 => self.echo(sender, packet.take()),
            1 => {
                drop(packet.take());
            }
            _ => {}
        });
    }

    fn take_all<'u>(&mut self, receiver: &mut Receiver<'u>, sender: &mut Sender<'u>, batch: usize) {
        let mut packets = receiver.receive(batch);
        while let Some(packet) = packets.next() {
            match self.see(&packet) % 5 {
                0 => self.echo(sender, packet),
                1 => drop(packet),
                _ => packets.recycle(packet),
            }
        }
    }

    /// Its number, of which it has the bytes.
    fn see(&mut self, packet: &[u8]) -> u64 {
        self.received += 1;
        assert_is_next(packet, &mut self.last)
    }

    fn echo<'u>(&mut self, sender: &mut Sender<'u>, mut packet: Packet<'u>) {
        turn(&mut packet);
        self.echoed += u64::from(sender.send(packet).is_ok());
    }
}

/// A packet has exactly the bytes of its number, which is above the last one's. Returns it.
fn assert_is_next(bytes: &[u8], last: &mut Option<u64>) -> u64 {
    let number = number_of(bytes);
    assert!(*last < Some(number), "{number} after {last:?}");
    assert_eq!(bytes, packet(number));
    *last = Some(number);
    number
}

/// Mostly small ones, so that it doesn't take long.
fn packet(number: u64) -> Vec<u8> {
    let more = if number.is_multiple_of(61) { 1455 } else { 140 };
    numbered(number, 60 + index(number * 7 % more))
}

/// Each frame is where it can be used again, and nothing false was seen.
fn assert_nothing_is_missing(umem: &Umem, (lease, mut socket): Lent<'_>, frames: u32) {
    let (receiver, sender) = socket.halves();
    wait_until("all packets are sent", DEADLINE, || {
        sender.flush().expect("the interface is up");
        umem.tally().transmit == 0
    });
    sender.reap();
    assert_eq!(receiver.receive(1).count(), 0);
    receiver
        .wait(Some(Duration::ZERO))
        .expect("the interface is up");
    assert_sound(umem, &mut socket, frames);
    assert_eq!(umem.free(), index(umem.tally().ours.into()));
    drop((socket, lease));
    assert_eq!(umem.free(), index(umem.tally().ours.into()));
}

/// For what is there within microseconds, and has to be there within a [`DEADLINE`].
struct Waiting {
    since: Instant,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            since: Instant::now(),
        }
    }
}

impl Waiting {
    fn go_on(&self) {
        assert!(self.since.elapsed() < patience(DEADLINE), "nothing comes");
        thread::yield_now();
    }
}
