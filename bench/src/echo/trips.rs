//! Who asks: one question at a time.

use std::hint;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::ops::Range;
use std::time::{Duration, Instant};

use tests::{DEADLINE, Pair};

use super::answerer::{NEAR, PORT};
use crate::Result;
use crate::cpus::pin;

/// Round trips of one run, beside those before everybody is warm.
const TRIPS: u64 = 3000;
const WARMUP: u64 = 300;
/// Bytes of a datagram.
pub(super) const BYTES: usize = 64;
/// Between an answer and the next question: long enough for an answerer that sleeps to sleep.
const PAUSE: Duration = Duration::from_micros(200);

/// No answer takes so long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(1);

const FAR: &str = "10.1.0.2";

/// What round trips took, in microseconds.
#[derive(Default)]
pub(super) struct Trips {
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) quickest: f64,
    /// Percent of the questions that the kernel processed because it was polled.
    pub(super) polled: f64,
}

/// Asks until somebody answers, and then again and again.
pub(super) fn ask(pair: &Pair, cpu: usize) -> Result<Trips> {
    let (times, polled) = pair.far.netns.run(|| {
        pin(cpu)?;
        let socket = UdpSocket::bind((FAR, 0))?;
        socket.connect((NEAR, PORT))?;
        socket.set_nonblocking(true)?;
        let started = Instant::now();
        while let Err(error) = trip(&socket, 0) {
            // Nobody is there yet, and a packet on its way is lost when a chain begins.
            if started.elapsed() > DEADLINE {
                return Err(error);
            }
        }
        trips(&socket, 1..WARMUP)?;
        let before = pair.near.netns.busy_polled();
        let times = trips(&socket, WARMUP..WARMUP + TRIPS)?;
        io::Result::Ok((times, pair.near.netns.busy_polled() - before))
    })?;
    Ok(Trips::of(times, polled))
}

/// Asks these questions, each a pause after the answer before.
fn trips(socket: &UdpSocket, numbers: Range<u64>) -> io::Result<Vec<Duration>> {
    let trips = numbers.map(|number| {
        let time = trip(socket, number);
        let answered = Instant::now();
        while answered.elapsed() < PAUSE {
            hint::spin_loop();
        }
        time
    });
    trips.collect()
}

/// Asks once and waits, awake, for the answer.
fn trip(socket: &UdpSocket, number: u64) -> io::Result<Duration> {
    let mut question = [0; BYTES];
    question[..8].copy_from_slice(&number.to_ne_bytes());
    let mut answer = [0; BYTES];
    let began = Instant::now();
    socket.send(&question)?;
    loop {
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length] == question => return Ok(began.elapsed()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if began.elapsed() > PATIENCE {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl Trips {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn of(mut times: Vec<Duration>, polled: u64) -> Self {
        let polled = 100.0 * polled as f64 / times.len() as f64;
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
        Self {
            median: at(50),
            p99: at(99),
            quickest: at(0),
            polled,
        }
    }
}
