//! The application: how long it takes to load many rules, and to change one while packets flow.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tests::{LiveFrames, Pair, Rig, Signal, binary, ipv4_udp};

use super::rules::{file, prefixes};
use super::{MANY, nft, text};
use crate::Result;
use crate::sample::Sample;
use crate::table::{Table, number};

const LOADS: usize = 5;
const CHANGES: usize = 100;
/// nft reads the whole set before it changes one element: some seconds each time.
const NFT_CHANGES: usize = 4;
/// In no rule of [`prefixes`], or in one: it doesn't matter.
const ADDRESS: &str = "198.51.100.7";

/// What was measured, in rounds.
pub(super) struct Application {
    /// Seconds from starting the application until the rules are in force.
    pub(super) load: Vec<f64>,
    pub(super) nft_load: Vec<f64>,
    /// Microseconds from when the application had a command until packets were judged by it.
    pub(super) change: Vec<f64>,
    /// Microseconds that nft ran to change one element.
    pub(super) nft_change: Vec<f64>,
    pub(super) table: Table,
}

/// A running firewall.
struct Running {
    child: Child,
    /// Open, so that it can go on talking.
    _output: BufReader<ChildStdout>,
}

/// Measures both in turns.
pub(super) fn measure() -> Result<Application> {
    let rig = Rig::new();
    let other = Pair::new();
    let prefixes = prefixes(MANY);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("rules.txt");
    std::fs::write(&path, file(&prefixes))?;
    let path = text(&path)?;

    let (mut load, mut nft_load) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let start = Instant::now();
        let running = Running::start(&rig, &path)?;
        load.push(start.elapsed().as_secs_f64());
        running.end()?;
        nft_load.push(nft::load(&other.near, &prefixes)?);
    }

    let running = Running::start(&rig, &path)?;
    let source = LiveFrames::into(&rig.pair.far);
    let signal = Signal::default();
    let packet = ipv4_udp([203, 0, 113, 9], [10, 99, 0, 1], 9);
    let changes = thread::scope(|scope| {
        let stream = source.stream(scope, &signal, &packet, 4096);
        let changes = changes(&rig, &other);
        stream.stop();
        changes
    });
    running.end()?;
    let Changes {
        within,
        answered,
        whole,
        nft: nft_change,
    } = changes?;
    let mut table = Table::new(
        &format!("{MANY} rules: one changed while packets flow, microseconds"),
        ["", "median", "spread"],
    );
    for (what, values) in [
        ("firewall: until packets are judged by it", &within),
        ("firewall: until it is answered", &answered),
        ("firewall add: the whole process", &whole),
        ("nft add element: the whole process", &nft_change),
    ] {
        let sample = Sample::of(values.iter().copied());
        table.row([
            what.to_owned(),
            number(sample.median),
            number(sample.spread),
        ]);
    }
    Ok(Application {
        load,
        nft_load,
        change: within,
        nft_change,
        table,
    })
}

/// Microseconds that changes took.
#[derive(Default)]
struct Changes {
    within: Vec<f64>,
    answered: Vec<f64>,
    whole: Vec<f64>,
    nft: Vec<f64>,
}

fn changes(rig: &Rig, other: &Pair) -> Result<Changes> {
    let mut changes = Changes::default();
    for round in 0..CHANGES {
        let (ours, theirs) = if round % 2 == 0 {
            ("add", "add")
        } else {
            ("remove", "delete")
        };
        let rule = format!("deny {ADDRESS}");
        let start = Instant::now();
        let answer = rig.pair.near.netns.run(|| {
            let mut command = Command::new(binary("firewall"));
            command.args([ours, "xd0", &rule, "--json"]).output()
        })?;
        changes.whole.push(start.elapsed().as_secs_f64() * 1e6);
        if !answer.status.success() {
            return Err(String::from_utf8_lossy(&answer.stderr).into());
        }
        let answer: Value = serde_json::from_slice(&answer.stdout)?;
        let time = |field: &str| answer[field].as_f64().ok_or("the answer has its times");
        changes.within.push(time("us")?);
        changes.answered.push(time("total_us")?);
        if round < NFT_CHANGES {
            let took = nft::change(&other.near, theirs, ADDRESS)?;
            changes.nft.push(took * 1e6);
        }
    }
    Ok(changes)
}

impl Running {
    /// Starts it and waits until its rules are in force.
    fn start(rig: &Rig, rules: &str) -> Result<Self> {
        let mut child = rig.pair.near.netns.run(|| {
            Command::new(binary("firewall"))
                .args(["xd0", rules])
                .env("DISPATCHD_SOCKET", rig.daemon.socket())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        })?;
        let output = child.stdout.take().ok_or("it has an output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if !line.contains(&format!(" {MANY} rules")) {
            child.kill()?;
            return Err(format!("the firewall said: {line}").into());
        }
        // It says what it does, which nobody reads: 200 lines fit into the pipe.
        Ok(Self {
            child,
            _output: output,
        })
    }

    fn end(mut self) -> Result<()> {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}
