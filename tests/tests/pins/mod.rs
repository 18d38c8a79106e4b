//! One daemon, three chains, and what happens to the pins of one of them while no daemon runs.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{
    Daemon, Listed, Output, Pair, Pinnable, PinnedMap, Port, Tap, Unreadable, binary, frame,
    grace_period, some_of,
};

pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;

/// See the module.
pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    /// The interface whose chain drops everything, and whose pins are spoilt.
    pub(crate) victim: Pair,
    /// The others.
    pub(crate) others: [Pair; 2],
}

/// The pins of the chain that is spoilt. Its live build is 1, and so is its member.
pub(crate) struct Pins<'a> {
    pub(crate) stage: &'a Stage,
    directory: PathBuf,
}

impl Stage {
    /// With members that are tail-called.
    pub(crate) fn new() -> Self {
        Self::with(&["--engine", "tailcall"])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let stage = Self {
            daemon: Daemon::with(arguments),
            victim: Pair::new(),
            others: [Pair::new(), Pair::new()],
        };
        stage.victim().load_verdict("guard", DROP, &[]);
        for other in &stage.others {
            Port::new(&stage.daemon, &other.near).load_verdict("first", PASS, &[]);
        }
        stage
    }

    pub(crate) fn victim(&self) -> Port<'_> {
        Port::new(&self.daemon, &self.victim.near)
    }

    pub(crate) fn pins(&self) -> Pins<'_> {
        Pins {
            stage: self,
            directory: self.victim().pins(),
        }
    }

    /// Spoils the victim's pins while no daemon runs. The hook is held in between, whatever becomes
    /// of the pinned link.
    pub(crate) fn spoil(&mut self, spoil: impl FnOnce(&Pins<'_>)) -> Pinnable {
        let link = Pinnable::at(&self.victim().pins().join("link"));
        self.daemon.kill();
        spoil(&self.pins());
        self.daemon.restart();
        link
    }

    /// Packets for the victim are dropped.
    pub(crate) fn assert_filters(&self) {
        let near = Tap::on(&self.victim.near);
        self.victim.send(&frame(64), 100);
        grace_period();
        assert_eq!(near.try_next(), None, "a packet got through");
    }

    /// The other chains are listed, and changed as ever.
    pub(crate) fn assert_others_go_on(&self) {
        for other in some_of(&self.others) {
            let port = Port::new(&self.daemon, &other.near);
            assert_eq!(port.chain().order(), ["first"]);
            port.load_verdict("second", PASS, &["--priority", "60"]);
            port.ctl("reorder", &["second", "--first"]).done();
            assert_eq!(port.chain().order(), ["second", "first"]);
            port.ctl("unload", &["second"]).done();
            assert_eq!(port.chain().order(), ["first"]);
        }
    }

    /// The victim's chain is left alone for a reason with these words, which everybody says alike who
    /// says it; its packets are treated as before, and so are all others.
    #[track_caller]
    pub(crate) fn assert_left_alone(&self, words: &[&str], root: Option<u32>) {
        let why = self.logged();
        for word in words {
            assert!(why.contains(word), "no {word:?} in {why:?}");
        }
        let chain = self.unreadable();
        let victim = &self.victim.near;
        assert_eq!(chain.netns.cookie, victim.netns.cookie(), "{chain:?}");
        assert_eq!(chain.netns.name.as_deref(), Some(victim.netns.name()));
        assert_eq!((&*chain.interface, chain.ifindex), ("xd0", victim.index));
        // The first chain that was made.
        assert!(chain.id.is_none_or(|id| id == 1), "{chain:?}");
        let pins = self.victim().pins();
        assert_eq!(chain.pins, pins);
        assert_eq!(chain.unreadable.why, why);
        if let Some(pin) = &chain.unreadable.pin {
            assert!(why.contains(pin), "{chain:?}");
        }
        let said = format!("{why}, below {}", pins.display());
        let listed = self.victim().ctl("list", &[]);
        let title = format!("UNREADABLE: {said}");
        assert!(listed.done().stdout.contains(&title), "{listed}");
        let status = self.daemon.ctl(&["status", "--json"]).done().json();
        let warning = format!("the chain of xd0 can't be read: {said}");
        assert_eq!(status["warnings"], serde_json::json!([warning]));
        let remedy = "dispatchd --flush xd0";
        let refused = self
            .victim()
            .try_load(&tests::object("verdict"), "late", &[]);
        refused.refused(&["xd0", "can't be read", &said, remedy]);
        let refused = self.victim().ctl("unload", &["--all", "--json"]);
        let error = &refused.refused(&[&said, remedy]).json()["error"];
        let text = |field: &str| error[field].as_str().expect("a text").to_owned();
        assert!(text("message").contains(&said), "{refused}");
        assert!(!text("message").contains("--flush"), "{refused}");
        assert!(text("remedy").contains(remedy), "{refused}");
        assert_eq!(victim.xdp_program(), root, "nothing was touched");
        self.assert_filters();
        self.assert_others_go_on();
    }

    /// What the log says of the chain that can't be read, the last time it does.
    #[track_caller]
    fn logged(&self) -> String {
        let log = self.daemon.log();
        let mut lines = log.lines().rev();
        let line = lines.find(|line| line.contains("this chain can't be read"));
        let line = line.unwrap_or_else(|| panic!("it is not said in {log}"));
        assert!(line.contains("interface=\"xd0\""), "{line}");
        let (_, why) = line.split_once("why=").expect("it says why");
        why.to_owned()
    }

    /// The one chain that is listed as one that can't be read.
    #[track_caller]
    pub(crate) fn unreadable(&self) -> Unreadable {
        let listed = self.daemon.listed().into_iter();
        let mut unreadable = listed.filter_map(|listed| match listed {
            Listed::Unreadable(chain) => Some(chain),
            Listed::Chain(_) => None,
        });
        let chain = unreadable.next().expect("one chain can't be read");
        assert_eq!(unreadable.next(), None, "and no other");
        chain
    }

    /// `dispatchd --flush xd0` where the victim is.
    pub(crate) fn flush_victim(&self) -> Output {
        let bpffs = self.daemon.bpffs().path();
        let mut command = Command::new(binary("dispatchd"));
        command.arg("--bpffs").arg(bpffs).args(["--flush", "xd0"]);
        let output = self.victim.near.netns.run(|| command.output());
        output.expect("dispatchd can be started").into()
    }
}

impl Pins<'_> {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub(crate) fn replace(&self, name: &str, by: &Pinnable) {
        by.pin(&self.path(name));
    }

    pub(crate) fn directory(&self, name: &str) {
        fs::create_dir(self.path(name)).expect("root may make a directory");
    }

    /// The bytes of the live build's registry.
    pub(crate) fn registry(&self) -> Vec<u8> {
        bytes(&self.path("gen-1/registry"))
    }

    pub(crate) fn write_registry(&self, bytes: &[u8]) {
        self.replace("gen-1/registry", &Pinnable::array(bytes));
    }
}

/// The one value of a pinned map.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    let map = PinnedMap::open(path);
    map.get(&0_u32.to_ne_bytes()).expect("it has one element")
}

/// A registry of this version as a later one would write it, which says which version can read it,
/// and ends in an option of this number.
pub(crate) fn by_later_version(registry: &[u8], reader: u32, option: u32) -> Vec<u8> {
    let (mut later, options) = (registry.to_vec(), 1_u64.to_le_bytes());
    let end = later.len() - options.len();
    assert_eq!(later[end..], [0; 8], "a chain's record ends in no options");
    later[end..].copy_from_slice(&options);
    later.extend(option.to_le_bytes());
    later.extend(4_u64.to_le_bytes());
    later.extend([1, 2, 3, 4]);
    let length = u32::try_from(later.len() - 16).expect("it is small");
    for (word, value) in [(1, 9_u32), (2, reader), (3, length)] {
        later[4 * word..][..4].copy_from_slice(&value.to_le_bytes());
    }
    later
}
