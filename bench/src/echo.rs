//! How long an answer takes: UDP echo by `xsk-echo`, which has its queue from the daemon and no privilege, beside
//! UDP echo by an ordinary socket.
//!
//! Who asks never sleeps while it waits, on the first CPU; who answers is on the last. So what differs
//! from row to row is the answerer's side alone: how a packet gets to it, whether it has to be
//! woken, and how its answer leaves.
//!
//! The interface interrupts as it always does: having it wait for who polls (`napi_defer_hard_irqs`)
//! helps only where the kernel lets sockets poll their queue, as the table's last column says.

mod answerer;
mod trips;

use tests::{DEADLINE, PairOptions, Rig, wait_until};

use crate::Result;
use crate::application::NOBODY;
use crate::cpus::Cpus;
use crate::figure::{Figure, Target};
use crate::group::{Measured, Setup};
use crate::sample::Sample;
use crate::table::{Table, number};

use answerer::Answerer;
use trips::{Trips, ask};

/// The names of this group's figures.
pub(crate) const FIGURES: [&str; 2] = ["xsk.echo_us", "xsk.echo_busy_us"];

const ROUNDS: usize = 12;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// An ordinary socket, and the kernel's network stack.
    Stack,
    /// `xsk-echo`, which sleeps until packets are there.
    Sleeps,
    /// `xsk-echo --busy-poll`.
    Polls,
}

impl Who {
    const ALL: [Self; 3] = [Self::Stack, Self::Sleeps, Self::Polls];

    fn words(self) -> &'static str {
        match self {
            Self::Stack => "UDP socket, blocking",
            Self::Sleeps => "xsk-echo",
            Self::Polls => "xsk-echo --busy-poll",
        }
    }
}

/// Measures on this machine.
pub(crate) fn measure(_: &Setup) -> Result<Measured> {
    let options = PairOptions {
        addresses: true,
        ..PairOptions::default()
    };
    let rig = Rig::with(&["--allow-uid", &NOBODY.to_string()], &options);
    let cpus = Cpus::find()?;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let mut trips = Who::ALL.map(|_| Trips::default());
        for step in 0..Who::ALL.len() {
            // None is always the first on a machine that is warm, or not yet.
            let place = (round + step) % Who::ALL.len();
            trips[place] = run(Who::ALL[place], &rig, cpus)?;
        }
        rounds.push(trips);
    }
    let [sleeps, polls] = FIGURES;
    let median = |who: Who| of(&rounds, who, |trips| trips.median);
    let figure = |name, who, peer: &str, beside: Who| Figure {
        name,
        unit: "µs",
        ours: median(who),
        peer: peer.to_owned(),
        peer_value: median(beside).median,
        target: Target::None,
    };
    Ok(Measured {
        figures: vec![
            figure(sleeps, Who::Sleeps, "a blocking UDP socket", Who::Stack),
            figure(polls, Who::Polls, "without busy polling", Who::Sleeps),
        ],
        tables: vec![table(&rounds)],
    })
}

/// One run, which leaves the interface as it was.
fn run(who: Who, rig: &Rig, cpus: Cpus) -> Result<Trips> {
    let answerer = Answerer::start(who, rig, cpus.last)?;
    let trips = ask(&rig.pair, cpus.first)?;
    answerer.end()?;
    // The daemon takes the chain away a moment later, and what is on the cable is lost then.
    let near = &rig.pair.near;
    wait_until("the chain is gone", DEADLINE, || {
        near.xdp_program().is_none()
    });
    Ok(trips)
}

/// What one answerer's runs say.
fn of(rounds: &[[Trips; 3]], who: Who, field: fn(&Trips) -> f64) -> Sample {
    let column = Who::ALL.iter().position(|known| *known == who);
    let column = column.unwrap_or_default();
    Sample::of(rounds.iter().map(|round| field(&round[column])))
}

fn table(rounds: &[[Trips; 3]]) -> Table {
    let title = format!("Round trips of {} bytes of UDP, µs", trips::BYTES);
    let headings = [
        "",
        "median",
        "spread",
        "p99",
        "spread",
        "quickest",
        "polled, %",
    ];
    let mut table = Table::new(&title, headings);
    for who in Who::ALL {
        let median = of(rounds, who, |trips| trips.median);
        let p99 = of(rounds, who, |trips| trips.p99);
        table.row([
            who.words().to_owned(),
            number(median.median),
            number(median.spread),
            number(p99.median),
            number(p99.spread),
            number(of(rounds, who, |trips| trips.quickest).median),
            number(of(rounds, who, |trips| trips.polled).median),
        ]);
    }
    table
}
