//! The command line's grammar.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use libdispatch::{EngineChoice, FinalVerdict, ModeChoice, OnMiss, Priority, VerdictMask};

use crate::values::{self, Global, Interfaces, MapSize, TailCall};

/// Shows and changes the chains of XDP programs that dispatchd runs.
///
/// An interface's chain is an ordered list of members: programs that share its XDP hook. A change
/// is all or nothing, and packets see all of it at once.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[arg(long, global = true, value_name = "PATH", help = SOCKET, help_heading = "Global options")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const SOCKET: &str =
    "Where dispatchd listens [default: $DISPATCHD_SOCKET, else /run/dispatchd/dispatchd.sock]";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed; the reason is on standard error
  2  the command line makes no sense
  3  dispatchd can't be reached

Examples:
  dispatchctl list
  dispatchctl load eth0 firewall.o --priority 20
  dispatchctl reorder eth0 firewall --first";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Status(StatusArgs),
    List(ListArgs),
    Show(ShowArgs),
    Load(LoadArgs),
    Unload(UnloadArgs),
    Reorder(ReorderArgs),
    Set(SetArgs),
    Replace(ReplaceArgs),
    Config(ConfigArgs),
}

/// Shows the daemon: version, uptime, what its kernel can do
///
/// An engine is how the root program calls a member. The daemon tries both when it starts and says
/// here what came of it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatchctl status")]
pub(crate) struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Lists the chains: members in the order in which packets meet them
///
/// Members run by priority, lower first; equal priorities run in the order of registration. A
/// priority in parentheses is the one that was asked for, before a reorder changed it. Packets are
/// counted by what became of them in the member: its verdict, "continue" for no opinion, "missed"
/// if it could not be run, "overruled" if it said what it may not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dispatchctl list\n  dispatchctl list eth0 --json\n  \
    dispatchctl list veth1 --netns blue"
)]
pub(crate) struct ListArgs {
    /// Only this interface [default: every interface of every network namespace]
    pub(crate) interface: Option<String>,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shows everything about one member, its maps too
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatchctl show eth0 firewall")]
pub(crate) struct ShowArgs {
    /// The interface
    pub(crate) interface: String,
    /// The member
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Loads programs and puts them into chains, as kept members
///
/// The members stay until they are unloaded or the machine reboots. All objects go into an
/// interface's chain with one swap. With several interfaces, there is one swap for each; if one is
/// refused, the interfaces before it are put back.
///
/// Priority and chain-call actions that are not given come from the object, if it says them (as
/// libxdp's objects do), else from the defaults below.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    dispatchctl load eth0 firewall.o --priority 20 --map-size RULES=4096\n  \
    dispatchctl load eth0,eth1 count.o --share-group counts --allowed pass\n  \
    dispatchctl load eth0 a.o b.o --dry-run")]
pub(crate) struct LoadArgs {
    /// The interface; several, separated by commas
    #[arg(value_name = "INTERFACE[,INTERFACE...]")]
    pub(crate) interfaces: Interfaces,
    /// The object files
    #[arg(required = true, value_name = "OBJECT")]
    pub(crate) objects: Vec<PathBuf>,
    /// The member's name [default: the program's function]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where they run: lower first [default: 50]
    #[arg(long, value_name = "K")]
    pub(crate) priority: Option<Priority>,
    /// The verdicts after which the next member runs: aborted, drop, pass, tx, redirect and other,
    /// separated by commas, or all, or none [default: pass]
    #[arg(long, value_name = "VERDICTS", value_parser = values::verdicts)]
    pub(crate) chain_call: Option<VerdictMask>,
    /// The verdicts that they may decide; any other counts as no opinion [default: all]
    #[arg(long, value_name = "VERDICTS", value_parser = values::verdicts)]
    pub(crate) allowed: Option<VerdictMask>,
    /// What happens to a packet for which a member could not be run [default: abort]
    #[arg(long, value_parser = values::words(OnMiss::ALL, OnMiss::name))]
    pub(crate) on_miss: Option<OnMiss>,
    /// Where the hook is, for a new chain; refused if a chain runs in another mode
    /// [default: auto]
    #[arg(long, value_parser = values::words(ModeChoice::ALL, ModeChoice::name))]
    pub(crate) mode: Option<ModeChoice>,
    /// How the members are called [default: auto]
    #[arg(long, value_parser = values::words(EngineChoice::ALL, EngineChoice::name))]
    pub(crate) engine: Option<EngineChoice>,
    /// Share maps of equal name and shape with every member in this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) share_group: Option<String>,
    /// How many tail calls a program makes itself for one packet, at most
    /// [default: 1 if the object holds a program array, else 0]
    #[arg(long, value_name = "CALLS")]
    pub(crate) tail_depth: Option<u32>,
    #[command(flatten)]
    pub(crate) code: CodeArgs,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// How an object is loaded.
#[derive(Debug, Args)]
pub(crate) struct CodeArgs {
    /// The program's function in the object [default: its only program]
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) program: Option<String>,
    /// How many entries a map has; can be repeated
    #[arg(long = "map-size", value_name = "MAP=ENTRIES")]
    pub(crate) map_sizes: Vec<MapSize>,
    /// The value of a global variable: an integer (42, -1, 0x2a) or bytes (hex:0a0b); can be
    /// repeated
    #[arg(long = "global", value_name = "NAME=VALUE")]
    pub(crate) globals: Vec<Global>,
    /// Put a function of the object into one of its program arrays; can be repeated
    #[arg(long = "tail-call", value_name = "MAP:INDEX=FUNCTION")]
    pub(crate) tail_calls: Vec<TailCall>,
    /// The program takes packets of several buffers (jumbo frames), though its section isn't
    /// called xdp.frags; a chain takes them if all its members do
    #[arg(long)]
    pub(crate) frags: bool,
}

/// Removes members from a chain, in one swap
///
/// With the last member the chain goes, and the interface has no XDP program any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dispatchctl unload eth0 firewall\n  \
    dispatchctl unload eth0 --all")]
pub(crate) struct UnloadArgs {
    /// The interface
    pub(crate) interface: String,
    /// The members
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// Remove every member
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// Reorders a chain without loading anything: same program ids, same maps, one swap
///
/// Either one member and where it goes, or every member's name in the new order. Priorities follow
/// the order: a member that moves beside another takes over its priority.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("position").args(["priority", "first", "last", "before", "after"]),
    after_help = "Examples:\n  dispatchctl reorder eth0 firewall --first\n  \
        dispatchctl reorder eth0 stats --after firewall\n  \
        dispatchctl reorder eth0 firewall stats balancer"
)]
pub(crate) struct ReorderArgs {
    /// The interface
    pub(crate) interface: String,
    /// The member that moves, or every member in the new order
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Give it this priority
    #[arg(long, value_name = "K")]
    pub(crate) priority: Option<Priority>,
    /// Run it before every other
    #[arg(long)]
    pub(crate) first: bool,
    /// Run it after every other
    #[arg(long)]
    pub(crate) last: bool,
    /// Run it just before this member
    #[arg(long, value_name = "NAME")]
    pub(crate) before: Option<String>,
    /// Run it just after this member
    #[arg(long, value_name = "NAME")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// Changes a running member, without loading anything
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("setting")
        .args(["chain_call", "allowed", "on_miss"])
        .multiple(true)
        .required(true),
    after_help = "Examples:\n  dispatchctl set eth0 stats --allowed pass\n  \
        dispatchctl set eth0 firewall --chain-call pass,tx"
)]
pub(crate) struct SetArgs {
    /// The interface
    pub(crate) interface: String,
    /// The member
    pub(crate) name: String,
    /// The verdicts after which the next member runs: aborted, drop, pass, tx, redirect and other,
    /// separated by commas, or all, or none
    #[arg(long, value_name = "VERDICTS", value_parser = values::verdicts)]
    pub(crate) chain_call: Option<VerdictMask>,
    /// The verdicts that it may decide; any other counts as no opinion
    #[arg(long, value_name = "VERDICTS", value_parser = values::verdicts)]
    pub(crate) allowed: Option<VerdictMask>,
    /// What happens to a packet for which it could not be run
    #[arg(long, value_parser = values::words(OnMiss::ALL, OnMiss::name))]
    pub(crate) on_miss: Option<OnMiss>,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// Puts new code into a member's slot
///
/// Name, priority and settings stay; maps of the same name and shape keep their contents.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatchctl replace eth0 firewall firewall-2.o")]
pub(crate) struct ReplaceArgs {
    /// The interface
    pub(crate) interface: String,
    /// The member
    pub(crate) name: String,
    /// The object file with the new code
    pub(crate) object: PathBuf,
    #[command(flatten)]
    pub(crate) code: CodeArgs,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// Changes a chain's own settings
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("configuration")
        .args(["final_verdict", "counters", "engine", "mode"])
        .multiple(true)
        .required(true),
    after_help = "Examples:\n  dispatchctl config eth0 --final-verdict last\n  \
        dispatchctl config eth0 --counters off"
)]
pub(crate) struct ConfigArgs {
    /// The interface
    pub(crate) interface: String,
    /// What the chain returns when every member chained on: PASS, or the last verdict
    #[arg(long, value_parser = values::words(FinalVerdict::ALL, FinalVerdict::name))]
    pub(crate) final_verdict: Option<FinalVerdict>,
    /// Whether packets are counted
    #[arg(long, value_parser = values::on_or_off())]
    pub(crate) counters: Option<bool>,
    /// How members are called: those that are there are loaded again, with their maps
    #[arg(long, value_parser = values::words(EngineChoice::ALL, EngineChoice::name))]
    pub(crate) engine: Option<EngineChoice>,
    /// Where the hook is. The interface is without a program for a moment
    #[arg(long, value_parser = values::words(ModeChoice::ALL, ModeChoice::name))]
    pub(crate) mode: Option<ModeChoice>,
    #[command(flatten)]
    pub(crate) changing: ChangingArgs,
}

/// Where interface names are resolved.
#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    /// The interface's network namespace: a name under /run/netns, or a path
    /// [default: the caller's own]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) netns: Option<String>,
}

/// What every changing command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every change")]
pub(crate) struct ChangingArgs {
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse if the chain is at another generation than this (0: there is no chain)
    #[arg(long, value_name = "N")]
    pub(crate) if_generation: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}
