//! The daemon's command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use dispatcher_abi::EngineChoice;
use parse_size::Config;
use planner::{Level, ORPHAN_LINGER_MS, Policy, SocketLimits};

/// A day: no client that comes back takes longer.
const RESTART_LINGER_MAX: i64 = 24 * 60 * 60;

/// Owns the XDP hooks and runs several programs on each.
///
/// dispatchd keeps what it runs pinned in a bpffs: it can be stopped, killed and started again
/// without a packet noticing. Stopping it leaves the chains running; `--flush` removes them.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Args {
    /// The socket that clients connect to.
    #[arg(
        long,
        value_name = "PATH",
        env = "DISPATCHD_SOCKET",
        default_value = "/run/dispatchd/dispatchd.sock"
    )]
    pub socket: PathBuf,

    /// A mounted bpffs, in which everything that runs is pinned.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,

    /// How slots call their members: `freplace` refuses to start where the kernel doesn't take it,
    /// `tailcall` turns freplace off.
    #[arg(long, value_name = "ENGINE", default_value = "auto", value_parser = engine)]
    pub engine: EngineChoice,

    /// Lets a user other than root in: `UID` may use the built-in redirect program, `UID:load` may
    /// load its own objects, which the kernel keeps from reading its memory, `UID:load-trusted` may
    /// load any object that root may: it can read all of the kernel's memory. May be given more than
    /// once.
    #[arg(long = "allow-uid", value_name = "UID[:load|:load-trusted]")]
    pub allow_uid: Vec<AllowUid>,

    /// Lets a user bind `AF_XDP` sockets itself, which may be to any queue of an interface: only root
    /// may otherwise. May be given more than once.
    #[arg(long = "allow-bare", value_name = "UID")]
    pub allow_bare: Vec<u32>,

    /// How many `AF_XDP` sockets a user other than root may have at once.
    #[arg(long, value_name = "N", default_value_t = SocketLimits::default().sockets)]
    pub max_sockets: usize,

    /// How much memory the sockets of a user other than root may pin at once: bytes, or a number with
    /// `K`, `M` or `G`, powers of 1024.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size)]
    pub max_umem: u64,

    /// How many seconds members and sockets wait for their clients after the daemon was started again:
    /// members that were registered to linger longer wait longer.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = ORPHAN_LINGER_MS / 1000,
        value_parser = clap::value_parser!(u32).range(..=RESTART_LINGER_MAX)
    )]
    pub restart_linger: u32,

    /// Take every chain off its interface when the daemon stops.
    #[arg(long)]
    pub detach_on_exit: bool,

    /// How logs are written to standard error; `DISPATCHD_LOG` sets the level (info).
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Remove what is pinned and stop: of every interface, or of INTERFACE in this network
    /// namespace. Only when no daemon runs.
    #[arg(long, value_name = "INTERFACE", num_args = 0..=1, default_missing_value = "")]
    pub flush: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The value of `--allow-uid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowUid {
    uid: u32,
    level: Level,
}

impl FromStr for AllowUid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (uid, level) = match text.split_once(':') {
            None => (text, Level::Redirect),
            Some((uid, "load")) => (uid, Level::Load),
            Some((uid, "load-trusted")) => (uid, Level::LoadTrusted),
            Some((_, other)) => {
                return Err(format!(
                    "unknown grant {other:?}: `load` and `load-trusted` are known"
                ));
            }
        };
        let uid = uid
            .parse()
            .map_err(|_| format!("{uid:?} is not a user's number"))?;
        Ok(Self { uid, level })
    }
}

fn engine(word: &str) -> Result<EngineChoice, String> {
    word.parse().map_err(|_| {
        let known: Vec<_> = EngineChoice::ALL.iter().map(|known| known.name()).collect();
        format!("one of {}", known.join(", "))
    })
}

fn size(text: &str) -> Result<u64, String> {
    let parsed = Config::new().with_binary().parse_size(text);
    parsed.map_err(|error| format!("{error}: a number, or one with K, M or G"))
}

impl Args {
    /// What a user may have.
    pub fn socket_limits(&self) -> SocketLimits {
        SocketLimits {
            sockets: self.max_sockets,
            bytes: self.max_umem,
        }
    }

    /// How long what belongs to clients waits for them after a start.
    pub fn restart_linger_ms(&self) -> u32 {
        self.restart_linger * 1000
    }

    /// Who may do what. The larger grant wins where a uid is named twice.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy {
            sockets: self.socket_limits(),
            ..Policy::default()
        };
        for allowed in &self.allow_uid {
            let level = policy.levels.entry(allowed.uid).or_insert(allowed.level);
            *level = allowed.level.max(*level);
        }
        for uid in &self.allow_bare {
            policy.levels.entry(*uid).or_insert(Level::Redirect);
            policy.bare.insert(*uid);
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn who_may_bind_sockets_may_also_use_the_redirect_program() {
        let args = Args::try_parse_from([
            "dispatchd",
            "--allow-uid",
            "8:load",
            "--allow-bare",
            "8",
            "--allow-bare",
            "9",
        ]);
        let policy = args.expect("a valid command line").policy();
        assert_eq!(policy.levels.get(&8), Some(&Level::Load));
        assert_eq!(policy.levels.get(&9), Some(&Level::Redirect));
        let may_bare = |uid| policy.grant(uid, None).verbs.contains(planner::Verb::Bare);
        assert!(may_bare(0) && may_bare(8) && may_bare(9));
        assert!(!may_bare(10));
    }

    #[test]
    fn limits_are_numbers_and_sizes() {
        let limits = |arguments: &[&str]| {
            let words = ["dispatchd"].iter().chain(arguments);
            Args::try_parse_from(words).map(|args| args.socket_limits())
        };
        assert_eq!(limits(&[]).unwrap(), SocketLimits::default());
        let sizes = [
            ("0", 0),
            ("131072", 1 << 17),
            ("256M", 256 << 20),
            ("1.5GiB", 3 << 29),
        ];
        for (size, bytes) in sizes {
            let limits = limits(&["--max-sockets", "3", "--max-umem", size]).unwrap();
            assert_eq!(limits, SocketLimits { sockets: 3, bytes });
        }
        for wrong in ["", "M", "-1", "1X", "99E"] {
            limits(&["--max-umem", wrong]).expect_err(wrong);
        }
    }

    #[test]
    fn clients_have_half_a_minute_to_come_back_or_as_long_as_the_operator_says() {
        let linger_ms = |arguments: &[&str]| {
            let words = ["dispatchd"].iter().chain(arguments);
            Args::try_parse_from(words).map(|args| args.restart_linger_ms())
        };
        assert_eq!(linger_ms(&[]).unwrap(), 30_000);
        for (seconds, ms) in [("0", 0), ("1", 1000), ("86400", 86_400_000)] {
            assert_eq!(linger_ms(&["--restart-linger", seconds]).unwrap(), ms);
        }
        for wrong in ["", "-1", "1.5", "1m", "86401"] {
            linger_ms(&["--restart-linger", wrong]).expect_err(wrong);
        }
    }

    #[test]
    fn a_uid_is_allowed_with_or_without_objects() {
        let uids = ["7", "8:load", "9:load-trusted", "9:load", "9"];
        let words = uids.map(|uid| ["--allow-uid", uid]).concat();
        let args = Args::try_parse_from(["dispatchd"].iter().chain(&words));
        let policy = args.expect("a valid command line").policy();
        assert_eq!(policy.levels.get(&7), Some(&Level::Redirect));
        assert_eq!(policy.levels.get(&8), Some(&Level::Load));
        assert_eq!(policy.levels.get(&9), Some(&Level::LoadTrusted));
        for wrong in ["x", "7:all", "-1", "", ":load"] {
            let args = Args::try_parse_from(["dispatchd", "--allow-uid", wrong]);
            assert!(args.is_err(), "{wrong:?}");
        }
    }
}
