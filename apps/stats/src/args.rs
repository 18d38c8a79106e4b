//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use libdispatch::Priority;

/// Shows what arrives at an interface: packets and bytes per protocol, and what became of them in
/// every slot of the interface's chain.
///
/// Registers a program that counts and lets every packet through: it may say nothing but "pass",
/// so it can never drop one. It sees what the members before it let through. It is removed when
/// stats ends, by SIGINT, SIGTERM or SIGHUP.
///
/// On a terminal the table is drawn again and again; into a file or a pipe, one block follows
/// another.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help())]
pub(crate) struct Args {
    /// The interface, in the network namespace that stats is started in
    pub(crate) interface: String,
    /// How long to count before showing, and before showing again
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
    /// Print JSON, one document on one line for each interval
    #[arg(long)]
    pub(crate) json: bool,
    /// End after the first interval
    #[arg(long)]
    pub(crate) once: bool,
    /// Where the program runs in the chain: lower first
    #[arg(long, value_name = "K", default_value_t = 10)]
    pub(crate) priority: Priority,
    #[arg(long, value_name = "PATH", help = shell::SOCKET_HELP)]
    pub(crate) socket: Option<PathBuf>,
}

fn after_help() -> String {
    let examples = "Examples:\n  stats eth0\n  stats eth0 --interval 10 --json >> traffic.jsonl\n  \
                    stats eth0 --once";
    format!("{}\n\n{examples}", shell::EXIT_CODES)
}

/// A hundredth of a second is as often as it makes sense to ask the daemon, a day is for ever.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.01..=86400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected 0.01 to 86400 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
