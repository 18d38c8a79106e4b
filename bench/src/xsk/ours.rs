//! Our side: `xsk-echo`'s loop over a socket, with a clock around it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::XskMap;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use libdispatch::xsk::{Copies, Options, Socket, Umem};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};
use shell::{Signal, Signals};
use xsk_echo::{Counts, Forward, Task, treat_batch};

use super::Mode;
use super::race::Outcome;
use crate::Result;

/// Entries of the rings, and frames: as many as the peer has, for the reason that it says.
const RING: u32 = 2048;
const FILL: u32 = 2 * RING;
const FRAMES: u32 = RING;

/// Treats packets of an interface until SIGTERM; prints what the peer prints.
pub(crate) fn print(mode: Mode, interface: &str) -> Result<()> {
    let signals = Signals::take(&[Signal::SIGTERM])?;
    let umem = Umem::builder().frames(FRAMES).build()?;
    let options = Options {
        copies: Copies::Always,
        fill: FILL,
        ..Options::default().rings(RING)
    };
    let index = netdevice::name_to_index(
        socket(AddressFamily::INET, SocketType::DGRAM, None)?,
        interface,
    )?;
    let mut socket = Socket::open(&umem, index, 0, &options)?;
    // FILL is filled before anything can come.
    socket.wait(Some(Duration::ZERO))?;
    let _redirect = redirect(interface, &socket)?;
    println!("ready");
    let stop = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let ever = Instant::now() + Duration::from_secs(3600);
            let _ = signals.wait_until(ever);
            stop.store(true, Ordering::Relaxed);
        });
        treat(mode, &mut socket, &stop)
    })?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// The program that the peer gets from libxdp.
fn redirect(interface: &str, socket: &Socket<'_>) -> Result<Ebpf> {
    let path = tests::package_object("xsk_def_xdp_prog.o");
    let mut object = EbpfLoader::new().btf(None).load_file(path)?;
    let program = object.program_mut("xsk_def_prog");
    let program: &mut Xdp = program.ok_or("the object has its program")?.try_into()?;
    program.load()?;
    program.attach(interface, XdpMode::Driver)?;
    let map = object.map_mut("xsks_map").ok_or("the object has its map")?;
    let mut sockets = XskMap::try_from(map)?;
    sockets.set(
        0,
        std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(socket)),
        0,
    )?;
    Ok(object)
}

fn treat(mode: Mode, socket: &mut Socket<'_>, stop: &AtomicBool) -> Result<Outcome> {
    let task = match mode {
        Mode::Rxdrop => Task::Drop,
        Mode::L2fwd => Task::Forward(Forward::Swap),
    };
    let (receiver, sender) = socket.halves();
    let mut counts = Counts::default();
    let mut clock = Clock::start();
    while !stop.load(Ordering::Relaxed) {
        let before = ticks();
        let treated = treat_batch(&task, receiver, sender, &mut counts);
        if treated > 0 {
            clock.add(before, ticks(), treated);
        }
        if mode == Mode::L2fwd {
            sender.flush()?;
        }
    }
    Ok(clock.outcome(&counts))
}

/// Measures as the peer does.
struct Clock {
    began: (Instant, u64),
    first: Option<u64>,
    last: u64,
    batches: u64,
    /// Packets by the cycles that each took in its batch.
    spread: Vec<u64>,
}

/// From so many cycles on, batches are all counted as one.
const CYCLES: usize = 4096;

impl Clock {
    fn start() -> Self {
        Self {
            began: (Instant::now(), ticks()),
            first: None,
            last: 0,
            batches: 0,
            spread: vec![0; CYCLES + 1],
        }
    }

    fn add(&mut self, before: u64, after: u64, packets: usize) {
        self.first.get_or_insert(before);
        self.last = after;
        self.batches += 1;
        let packets = packets as u64;
        let share = usize::try_from((after - before) / packets).unwrap_or(CYCLES);
        self.spread[share.min(CYCLES)] += packets;
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "what is measured is shown in a few digits"
    )]
    fn outcome(&self, counts: &Counts) -> Outcome {
        let (instant, began) = self.began;
        let rate = (ticks() - began) as f64 / instant.elapsed().as_secs_f64();
        let mut below = 0;
        let median = self.spread.iter().position(|packets| {
            below += packets;
            2 * below >= counts.packets
        });
        Outcome {
            packets: counts.packets,
            bytes: counts.bytes,
            seconds: (self.last - self.first.unwrap_or(self.last)) as f64 / rate,
            batch: counts.packets as f64 / self.batches as f64,
            cycles: median.unwrap_or(CYCLES) as f64,
        }
    }
}

/// The time stamp counter.
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it, and this is what the peer reads too.
    unsafe { std::arch::x86_64::_rdtsc() }
}
