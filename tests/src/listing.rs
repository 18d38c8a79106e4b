//! What `dispatchctl list --json` shows.

use std::path::PathBuf;

use serde::Deserialize;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Chains {
    /// Every chain, also those that can't be read.
    pub chains: Vec<Listed>,
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Listed {
    /// A chain.
    Chain(Chain),
    /// One that can't be read.
    Unreadable(Unreadable),
}

/// A chain that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Unreadable {
    /// Its own id, if its registry says it.
    pub id: Option<u64>,
    /// The interface's name.
    pub interface: String,
    /// Its index in its namespace.
    pub ifindex: u32,
    /// Its namespace.
    pub netns: NetNsView,
    /// Whether the hook is said to run it.
    pub attached: bool,
    /// The directory of its pins.
    pub pins: PathBuf,
    /// What is wrong with it.
    pub unreadable: Wrong,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Wrong {
    /// In English.
    pub why: String,
    /// The kind of reason.
    pub reason: String,
    /// The pin that it is about.
    pub pin: Option<String>,
}

/// One interface's chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Chain {
    /// The interface's name.
    pub interface: String,
    /// Its index in its namespace.
    pub ifindex: u32,
    /// Its namespace.
    pub netns: NetNsView,
    /// Where the hook is.
    pub mode: String,
    /// What holds it, if the chain does.
    pub hook: Option<String>,
    /// Its revision: how often users have changed it.
    pub generation: u64,
    /// What it returns when every slot chained on.
    pub final_verdict: String,
    /// Whether it takes packets of several buffers.
    pub frags: bool,
    /// In run order.
    pub members: Vec<Member>,
}

/// A namespace, as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NetNsView {
    /// `SO_NETNS_COOKIE`.
    pub cookie: u64,
    /// Its name under `/run/netns`.
    pub name: Option<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its slot.
    pub slot: Option<u16>,
    /// Its id, unique in the daemon.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its function.
    pub program: String,
    /// The kernel's id of its program.
    pub program_id: Option<u32>,
    /// The number it runs by.
    pub priority: u32,
    /// The number it was registered with.
    pub requested_priority: u32,
    /// Verdicts after which the next slot runs.
    pub chain_call: Vec<String>,
    /// Verdicts it may decide.
    pub allowed: Vec<String>,
    /// How it is called.
    pub engine: String,
    /// Why by tail call where the kernel has freplace.
    pub engine_reason: Option<String>,
    /// What it is doing.
    pub state: String,
    /// Who registered it.
    pub owner: Owner,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// Its object.
    pub sha256: Option<String>,
    /// Where it is pinned; empty if a daemon of the first version was asked.
    #[serde(default)]
    pub pins: Pins,
    /// What became of packets in it.
    pub packets: Packets,
}

/// Where a member is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Pins {
    /// Its program.
    pub program: PathBuf,
    /// The directory of its maps.
    pub maps: PathBuf,
}

/// How long a member stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Until it is removed.
    Kept,
    /// As long as its client.
    Attached,
}

/// Who registered a member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The process.
    pub pid: u32,
    /// What it called itself.
    pub client: String,
}

/// What became of packets in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Packets {
    /// ABORTED.
    pub aborted: u64,
    /// DROP.
    pub drop: u64,
    /// PASS.
    pub pass: u64,
    /// TX.
    pub tx: u64,
    /// REDIRECT.
    pub redirect: u64,
    /// 31.
    #[serde(rename = "continue")]
    pub no_opinion: u64,
    /// Every other value.
    pub other: u64,
    /// The member did not run.
    pub missed: u64,
    /// The member said what it may not.
    pub overruled: u64,
}

impl Packets {
    /// All that reached the slot.
    pub fn total(&self) -> u64 {
        self.all().iter().sum()
    }

    /// Whether no count is below its earlier one.
    pub fn is_not_below(&self, earlier: &Self) -> bool {
        self.all()
            .iter()
            .zip(earlier.all())
            .all(|(now, then)| *now >= then)
    }

    fn all(&self) -> [u64; 9] {
        [
            self.aborted,
            self.drop,
            self.pass,
            self.tx,
            self.redirect,
            self.no_opinion,
            self.other,
            self.missed,
            self.overruled,
        ]
    }
}

impl Chain {
    /// The members' names, first to run first.
    pub fn order(&self) -> Vec<&str> {
        self.members
            .iter()
            .map(|member| member.name.as_str())
            .collect()
    }

    /// One member.
    #[track_caller]
    pub fn member(&self, name: &str) -> &Member {
        self.members
            .iter()
            .find(|member| member.name == name)
            .unwrap_or_else(|| panic!("{name} is not in {:?}", self.order()))
    }

    /// The chain without what packets change, to compare.
    #[must_use]
    pub fn without_packets(mut self) -> Self {
        for member in &mut self.members {
            member.packets = Packets::default();
        }
        self
    }
}
