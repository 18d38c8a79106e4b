//! The command line's grammar.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use firewall_abi::Room;
use libdispatch::Priority;

/// Allows and denies packets that arrive at an interface, by source prefix, protocol and
/// destination port.
///
/// Registers a program in the interface's chain and loads the rules. When the rules file changes,
/// or on SIGHUP, the rules become the file's, while packets flow: each packet is decided by the old
/// rules or by the new ones. A file with errors changes nothing. Single rules are added and removed
/// by the commands, in place. On SIGUSR1 the rules that decided most packets are named. The
/// program is removed when firewall ends, by SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = after_help(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) run: Option<RunArgs>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Registers and filters.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The interface, in the network namespace that firewall is started in
    pub(crate) interface: String,
    /// The rules
    #[arg(value_name = "RULES-FILE")]
    pub(crate) rules: PathBuf,
    /// Where the program runs in the chain: lower first
    #[arg(long, value_name = "K", default_value_t = 20)]
    pub(crate) priority: Priority,
    /// Room for so many rules, or twice as many as the file has, whichever is more; a rule for any
    /// source counts twice
    #[arg(long, value_name = "N", default_value_t = Room::OBJECT.entries)]
    pub(crate) room: u32,
    /// Only read the rules, and say what is wrong with them
    #[arg(long)]
    pub(crate) check: bool,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(long, value_name = "PATH", help = shell::SOCKET_HELP)]
    pub(crate) socket: Option<PathBuf>,
    #[arg(long, value_name = "PATH", help = CONTROL_HELP)]
    pub(crate) control: Option<PathBuf>,
}

/// What a running firewall is told.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add rules to a running firewall, or change their action
    Add(Change),
    /// Remove rules from a running firewall
    Remove(Change),
    /// Show a running firewall's rules, and how many packets each decided: a rules file
    List {
        #[command(flatten)]
        target: Target,
        /// Only those N rules that decided most
        #[arg(long, value_name = "N")]
        top: Option<usize>,
    },
}

/// Which firewall, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The interface, in the network namespace that the command is given in
    pub(crate) interface: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the firewall takes commands, if it was told
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

/// Rules that come or go.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) target: Target,
    /// A rule, as in a file; or `-`: rules from standard input, one a line, which come into force
    /// together
    #[arg(required = true)]
    pub(crate) rule: Vec<String>,
}

const CONTROL_HELP: &str = "Where commands are taken [default: a socket in /run/firewall, or for \
users other than root in $XDG_RUNTIME_DIR/firewall]";

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
    let examples = "\
Examples:
  firewall eth0 rules.txt --check
  firewall eth0 rules.txt
  firewall add eth0 deny 10.0.0.0/8
  firewall remove eth0 deny 10.0.0.0/8
  firewall list eth0 --top 10";
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
