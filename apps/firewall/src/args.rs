//! The command line's grammar.

use std::path::PathBuf;

use clap::Parser;
use libdispatch::Priority;

/// Allows and denies packets that arrive at an interface, by source prefix, protocol and
/// destination port.
///
/// Registers a program in the interface's chain and loads the rules. When the rules file changes,
/// or on SIGHUP, only what differs is changed, while packets flow: at every moment each packet is
/// decided by the old rules or by the new ones. A file with errors changes nothing. The program is
/// removed when firewall ends, by SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help())]
pub(crate) struct Args {
    /// The interface, in the network namespace that firewall is started in
    pub(crate) interface: String,
    /// The rules
    #[arg(value_name = "RULES-FILE")]
    pub(crate) rules: PathBuf,
    /// Where the program runs in the chain: lower first
    #[arg(long, value_name = "K", default_value_t = 20)]
    pub(crate) priority: Priority,
    /// Only read the rules, and say what is wrong with them
    #[arg(long)]
    pub(crate) check: bool,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, value_name = "PATH", help = shell::SOCKET_HELP)]
    pub(crate) socket: Option<PathBuf>,
}

const RULES: &str = "\
Rules, one a line:
  allow|deny  [PREFIX|any]  [tcp|udp|icmp|icmpv6|protocol NUMBER]  [port NUMBER]
  default allow|deny        (allow, if there is none)

  deny  10.0.0.0/8            # all from there
  allow 10.1.2.3              # but this one
  deny  10.1.0.0/16 tcp port 22
  deny  udp port 53           # from anywhere, IPv4 and IPv6
  allow 2001:db8::/32 icmpv6
  default deny

Of the rules that match a packet the one with the longest prefix decides; of those with equal
prefixes the one with protocol and port, then the one with the protocol. Their order has no
meaning.";

fn after_help() -> String {
    let examples = "Examples:\n  firewall eth0 rules.txt --check\n  firewall eth0 rules.txt";
    format!("{RULES}\n\n{}\n\n{examples}", shell::EXIT_CODES)
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
    fn the_rules_in_the_help_are_rules() {
        let rules = RULES.lines().filter(|line| {
            let words = line.trim_start();
            let example = words.starts_with("allow ") || words.starts_with("deny ");
            example || words == "default deny"
        });
        let text: Vec<&str> = rules.collect();
        let policy = crate::parse::parse(&text.join("\n")).unwrap();
        assert_eq!(policy.rules.len(), 5);
    }
}
