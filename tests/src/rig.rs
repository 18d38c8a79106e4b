//! What most tests need: one daemon, one cable.

use std::path::{Path, PathBuf};

use libdispatch::{Client, Error};

use crate::{Chain, Daemon, Output, Pair, PairOptions, PinnedMap, PinnedProgram, object};

/// A daemon and a veth pair whose near end is the interface under test.
pub struct Rig {
    /// The daemon.
    pub daemon: Daemon,
    /// The cable.
    pub pair: Pair,
}

impl Rig {
    /// A daemon and a plain pair.
    pub fn new() -> Self {
        Self::with(&[], &PairOptions::default())
    }

    /// A daemon with these arguments and a pair like this.
    pub fn with(arguments: &[&str], options: &PairOptions) -> Self {
        let pair = Pair::with(options);
        Self {
            daemon: Daemon::with(arguments),
            pair,
        }
    }

    /// Runs `dispatchctl VERB INTERFACE ARGUMENTS… --netns NAME`.
    pub fn ctl(&self, verb: &str, arguments: &[&str]) -> Output {
        let near = &self.pair.near;
        let place = ["--netns", near.netns.name()];
        self.daemon
            .ctl(&[&[verb, &near.name], arguments, &place].concat())
    }

    /// Loads `tests/objects/<source>.c` under a name, which must succeed.
    #[track_caller]
    pub fn load(&self, source: &str, name: &str, arguments: &[&str]) -> Output {
        let output = self.try_load(&object(source), name, arguments);
        output.done();
        output
    }

    /// Loads an object under a name.
    pub fn try_load(&self, path: &Path, name: &str, arguments: &[&str]) -> Output {
        let path = path.to_str().expect("a path is text");
        self.ctl("load", &[&[path, "--name", name], arguments].concat())
    }

    /// Loads a member that says `verdict` of every packet.
    #[track_caller]
    pub fn load_verdict(&self, name: &str, verdict: u32, arguments: &[&str]) -> Output {
        let global = format!("verdict={verdict}");
        self.load(
            "verdict",
            name,
            &[&["--global", &global], arguments].concat(),
        )
    }

    /// The interface's chain; `None` if it has none.
    pub fn try_chain(&self) -> Option<Chain> {
        let near = &self.pair.near;
        let cookie = near.netns.cookie();
        self.daemon
            .chains()
            .into_iter()
            .find(|chain| (chain.netns.cookie, chain.ifindex) == (cookie, near.index))
    }

    /// The interface's chain.
    #[track_caller]
    pub fn chain(&self) -> Chain {
        self.try_chain().expect("the interface has a chain")
    }

    /// The directory of the chain's pins.
    pub fn pins(&self) -> PathBuf {
        let near = &self.pair.near;
        let key = format!("{}-{}", near.netns.cookie(), near.index);
        self.daemon.bpffs().path().join("dispatchd").join(key)
    }

    /// The root that runs, to be tried on packets; found by the generation that is listed.
    pub fn root(&self) -> PinnedProgram {
        PinnedProgram::open(&self.live().join("root"))
    }

    /// The program array of the root that runs.
    pub fn jump(&self) -> PinnedMap {
        PinnedMap::open(&self.live().join("jump"))
    }

    /// One of a member's own maps.
    pub fn map(&self, member: &str, map: &str) -> PinnedMap {
        let id = self.chain().member(member).id;
        let directory = self.pins().join(format!("member-{id}"));
        let suffix = Path::new("maps").join(map);
        let found = self
            .daemon
            .bpffs()
            .pins()
            .into_iter()
            .map(|pin| self.daemon.bpffs().path().join(pin))
            .filter(|pin| pin.starts_with(&directory) && pin.ends_with(&suffix))
            .max();
        PinnedMap::open(&found.unwrap_or_else(|| panic!("{member} has no map {map}")))
    }

    /// A connection of a client to whom the interface's namespace is home.
    pub fn client(&self, name: &str) -> Client {
        self.try_client(name).expect("the daemon answers")
    }

    /// The same, if the daemon wants it.
    pub fn try_client(&self, name: &str) -> Result<Client, Error> {
        let home = self.pair.near.netns.path();
        let home = home.to_str().expect("a path is text");
        Client::builder()
            .socket(self.daemon.socket())
            .netns(home)
            .name(name)
            .connect()
    }

    /// Sends this frame so many times, as fast as can be.
    pub fn send(&self, frame: &[u8], count: u64) {
        self.pair.send(frame, count);
    }

    fn live(&self) -> PathBuf {
        self.pins().join(format!("gen-{}", self.chain().generation))
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}
