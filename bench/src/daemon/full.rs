//! One interface with as many members as a chain can have.

use std::time::Instant;

use libdispatch::Program;
use serde::{Deserialize, Serialize};
use tests::{Daemon, Pair};

use super::clock::{milliseconds, run};
use super::{client, fill};
use crate::Result;
use crate::sample::Sample;
use crate::table::{Table, number};

const MEMBERS: usize = 128;
const ROUNDS: usize = 5;

/// What a full chain takes, in milliseconds.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Times {
    add: Vec<f64>,
    list: Vec<f64>,
    restart: Vec<f64>,
}

impl Times {
    /// Measures on a kernel that takes freplace: others have room for fewer.
    pub(super) fn measure(object: &str) -> Result<Self> {
        let mut daemon = Daemon::start();
        let pair = Pair::new();
        let client = client(&daemon, &pair.near)?;
        let interface = &pair.near.name;
        fill(&client, interface, object, MEMBERS - 1)?;
        let last = Program::from_file(object)?.name("last").kept();
        let mut times = Self::default();
        for _ in 0..ROUNDS {
            times.add.push(milliseconds(|| {
                Ok(client.change(interface).register(&last).apply()?)
            })?);
            times
                .list
                .push(milliseconds(|| run(daemon.ctl_command().arg("list")))?);
            daemon.kill();
            let start = Instant::now();
            daemon.restart();
            run(daemon.ctl_command().arg("status"))?;
            times.restart.push(start.elapsed().as_secs_f64() * 1000.0);
            client.change(interface).unregister("last").apply()?;
        }
        Ok(times)
    }

    /// For people.
    pub(super) fn table(&self, kernel: &str) -> Table {
        let title =
            format!("One interface with {MEMBERS} members, in ms, emulated; kernel {kernel}");
        let mut table = Table::new(&title, ["", "median", "spread"]);
        for (name, values) in [
            ("adding the last", &self.add),
            ("dispatchctl list", &self.list),
            ("restart", &self.restart),
        ] {
            let sample = Sample::of(values.iter().copied());
            table.row([
                name.to_owned(),
                number(sample.median),
                number(sample.spread),
            ]);
        }
        table
    }
}
