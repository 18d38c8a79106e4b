//! What most tests need: one daemon, one cable.

use std::fs;
use std::path::{Path, PathBuf};

use libdispatch::{Client, Error};

use crate::{Chain, Daemon, End, Output, Pair, PairOptions, PinnedMap, PinnedProgram, object, pin};

/// A daemon and a veth pair whose near end is the interface under test.
pub struct Rig {
    /// The daemon.
    pub daemon: Daemon,
    /// The cable.
    pub pair: Pair,
}

/// An interface, seen through a daemon.
#[derive(Clone, Copy)]
pub struct Port<'a> {
    daemon: &'a Daemon,
    end: &'a End,
}

impl Rig {
    /// A daemon and a plain pair.
    pub fn new() -> Self {
        Self::with(&[], &PairOptions::default())
    }

    /// A daemon with these arguments and a pair like this.
    pub fn with(arguments: &[&str], options: &PairOptions) -> Self {
        Self {
            pair: Pair::with(options),
            daemon: Daemon::with(arguments),
        }
    }

    /// The interface under test.
    pub fn port(&self) -> Port<'_> {
        Port::new(&self.daemon, &self.pair.near)
    }

    /// See [`Port::ctl`].
    pub fn ctl(&self, verb: &str, arguments: &[&str]) -> Output {
        self.port().ctl(verb, arguments)
    }

    /// See [`Port::load`].
    #[track_caller]
    pub fn load(&self, source: &str, name: &str, arguments: &[&str]) -> Output {
        self.port().load(source, name, arguments)
    }

    /// See [`Port::try_load`].
    pub fn try_load(&self, path: &Path, name: &str, arguments: &[&str]) -> Output {
        self.port().try_load(path, name, arguments)
    }

    /// See [`Port::load_verdict`].
    #[track_caller]
    pub fn load_verdict(&self, name: &str, verdict: u32, arguments: &[&str]) -> Output {
        self.port().load_verdict(name, verdict, arguments)
    }

    /// See [`Port::chain`].
    #[track_caller]
    pub fn chain(&self) -> Chain {
        self.port().chain()
    }

    /// See [`Port::try_chain`].
    pub fn try_chain(&self) -> Option<Chain> {
        self.port().try_chain()
    }

    /// See [`Port::root`].
    pub fn root(&self) -> PinnedProgram {
        self.port().root()
    }

    /// See [`Port::jump`].
    pub fn jump(&self) -> PinnedMap {
        self.port().jump()
    }

    /// See [`Port::map`].
    pub fn map(&self, member: &str, map: &str) -> PinnedMap {
        self.port().map(member, map)
    }

    /// See [`Port::client`].
    pub fn client(&self, name: &str) -> Client {
        self.port().client(name)
    }

    /// Sends this frame so many times, as fast as can be.
    pub fn send(&self, frame: &[u8], count: u64) {
        self.pair.send(frame, count);
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Port<'a> {
    /// This interface, seen through this daemon.
    pub fn new(daemon: &'a Daemon, end: &'a End) -> Self {
        Self { daemon, end }
    }

    /// Runs `dispatchctl VERB INTERFACE ARGUMENTS… --netns NAME`.
    pub fn ctl(self, verb: &str, arguments: &[&str]) -> Output {
        let place = ["--netns", self.end.netns.name()];
        self.daemon
            .ctl(&[&[verb, &self.end.name], arguments, &place].concat())
    }

    /// Loads `tests/objects/<source>.c` under a name, which must succeed.
    #[track_caller]
    pub fn load(self, source: &str, name: &str, arguments: &[&str]) -> Output {
        let output = self.try_load(&object(source), name, arguments);
        output.done();
        output
    }

    /// Loads an object under a name.
    pub fn try_load(self, path: &Path, name: &str, arguments: &[&str]) -> Output {
        let path = path.to_str().expect("a path is text");
        self.ctl("load", &[&[path, "--name", name], arguments].concat())
    }

    /// Loads a member that says `verdict` of every packet.
    #[track_caller]
    pub fn load_verdict(self, name: &str, verdict: u32, arguments: &[&str]) -> Output {
        let global = format!("verdict={verdict}");
        self.load(
            "verdict",
            name,
            &[&["--global", &global], arguments].concat(),
        )
    }

    /// The interface's chain; `None` if it has none.
    pub fn try_chain(self) -> Option<Chain> {
        let cookie = self.end.netns.cookie();
        self.daemon
            .chains()
            .into_iter()
            .find(|chain| (chain.netns.cookie, chain.ifindex) == (cookie, self.end.index))
    }

    /// The interface's chain.
    #[track_caller]
    pub fn chain(self) -> Chain {
        self.try_chain().expect("the interface has a chain")
    }

    /// The directory of the chain's pins.
    pub fn pins(self) -> PathBuf {
        let key = format!("{}-{}", self.end.netns.cookie(), self.end.index);
        self.daemon.bpffs().path().join("dispatchd").join(key)
    }

    /// The root that runs, to be tried on packets.
    pub fn root(self) -> PinnedProgram {
        PinnedProgram::open(&self.live().join("root"))
    }

    /// The program array of the root that runs.
    pub fn jump(self) -> PinnedMap {
        PinnedMap::open(&self.live().join("jump"))
    }

    /// The id of the link that holds the hook.
    pub fn link(self) -> u32 {
        pin::link_id(&self.pins().join("link"))
    }

    /// One of a member's own maps, as its newest code uses it.
    pub fn map(self, member: &str, map: &str) -> PinnedMap {
        let id = self.chain().member(member).id;
        let directory = self.pins().join(format!("member-{id}"));
        let suffix = Path::new("maps").join(map);
        let bpffs = self.daemon.bpffs();
        let found = bpffs
            .pins()
            .into_iter()
            .map(|pin| bpffs.path().join(pin))
            .filter(|pin| pin.starts_with(&directory) && pin.ends_with(&suffix))
            .max();
        PinnedMap::open(&found.unwrap_or_else(|| panic!("{member} has no map {map}")))
    }

    /// A connection of a client to whom the interface's namespace is home.
    pub fn client(self, name: &str) -> Client {
        self.try_client(name).expect("the daemon answers")
    }

    /// The same, if the daemon wants it.
    pub fn try_client(self, name: &str) -> Result<Client, Error> {
        let home = self.end.netns.path();
        let home = home.to_str().expect("a path is text");
        let client = Client::builder().socket(self.daemon.socket());
        client.netns(home).name(name).connect()
    }

    /// The number of the build that runs: the one whose root the interface runs.
    pub fn build(self) -> u64 {
        let hook = self.end.xdp_program();
        let names = fs::read_dir(self.pins()).expect("the chain has pins");
        let mut builds = names.filter_map(|name| {
            let name = name.expect("it can be read").file_name();
            name.to_str()?.strip_prefix("gen-")?.parse().ok()
        });
        let is_live = |build: &u64| {
            let root = self.pins().join(format!("gen-{build}")).join("root");
            root.exists() && Some(PinnedProgram::open(&root).id()) == hook
        };
        builds
            .find(is_live)
            .expect("the interface runs a root that is pinned")
    }

    fn live(self) -> PathBuf {
        self.pins().join(format!("gen-{}", self.build()))
    }
}
