//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use xsk_echo::{Address, Mac, PORT_DEFAULT};

/// Answers pings and UDP echo in user space, for an interface whose packets it takes.
///
/// Has dispatchd give it all packets of one or all receive queues, which takes no privilege. The
/// kernel's network stack does not see them then: what is not answered is dropped. So that others still find the interface, it answers ARP
/// requests and neighbour solicitations as well.
///
/// Firewalls and others that are ahead in the interface's chain decide first.
///
/// Shows every second what came, and what became of it, until SIGINT, SIGTERM or SIGHUP.
/// From then on the kernel gets the packets again.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help())]
pub(crate) struct Args {
    /// The interface
    pub(crate) interface: String,
    /// The receive queue whose packets are taken
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "all")]
    pub(crate) queue: u32,
    /// All receive queues, each in a thread
    #[arg(long)]
    pub(crate) all: bool,
    /// Answer for this address, instead of all that the interface has; may be given again. The
    /// length of the network's prefix says which address is its broadcast address
    #[arg(long, value_name = "ADDRESS[/BITS]", conflicts_with_all = ["drop", "forward"])]
    pub(crate) address: Vec<Address>,
    /// The interface's Ethernet address, where it can't be looked up
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<Mac>,
    /// The UDP port that returns what it is sent
    #[arg(long, default_value_t = PORT_DEFAULT, conflicts_with_all = ["drop", "forward"])]
    pub(crate) port: u16,
    /// Drop everything
    #[arg(long, conflicts_with = "forward")]
    pub(crate) drop: bool,
    /// Send everything out of this interface; with the addresses in the Ethernet header exchanged,
    /// unless --to is given
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) forward: Option<String>,
    /// Who gets what is forwarded. It comes from the other interface's address
    #[arg(long, value_name = "MAC", requires = "forward")]
    pub(crate) to: Option<Mac>,
    /// Go on polling the queue for so long after its last packet before sleeping. Answers come
    /// sooner, for a CPU that is kept busy meanwhile
    #[arg(long, value_name = "MICROSECONDS", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) busy_poll: Option<u32>,
    /// The network namespace of the interfaces: a name, or a path with a slash
    #[arg(long, value_name = "NETNS")]
    pub(crate) netns: Option<String>,
    /// Print JSON, one document on one line for each second
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, value_name = "PATH", help = shell::SOCKET_HELP)]
    pub(crate) socket: Option<PathBuf>,
}

impl Args {
    /// How long a queue is polled after its last packet, if it is.
    pub(crate) fn busy_poll(&self) -> Option<Duration> {
        let microseconds = self.busy_poll?;
        Some(Duration::from_micros(microseconds.into()))
    }
}

fn after_help() -> String {
    let examples = "Examples:\n  xsk-echo eth0\n  xsk-echo eth0 --all --address 192.0.2.7/24 \
                    --port 4000\n  xsk-echo eth0 --drop --json\n  xsk-echo eth0 --forward eth1 --to \
                    02:00:00:00:00:02";
    format!("{}\n\n{examples}", shell::EXIT_CODES)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for wrong in [
            "xsk-echo eth0 --queue 1 --all",
            "xsk-echo eth0 --drop --forward eth1",
            "xsk-echo eth0 --drop --port 7",
            "xsk-echo eth0 --to 02:00:00:00:00:02",
            "xsk-echo eth0 --busy-poll 0",
            "xsk-echo eth0 --address 224.0.0.1",
            "xsk-echo eth0 --mac ff:ff:ff:ff:ff:ff",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let right = parse("xsk-echo eth0 --address 192.0.2.1/24 --address 2001:db8::1");
        assert_eq!(right.unwrap().address.len(), 2);
    }
}
