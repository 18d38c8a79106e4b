//! Who may do what, where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::BitOr;

use crate::{Chain, ConnectionId, Interface, Member, Refusal, RootAct, SocketLimits};

/// A client, as its socket's peer credentials say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The user, in the daemon's own user namespace.
    pub uid: u32,
    /// The process.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
    /// Its connection.
    pub connection: ConnectionId,
}

/// The side that asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The daemon itself: members of its own, and what it does when a time is over.
    Daemon {
        /// Its process.
        pid: u32,
    },
    /// A client.
    Client(Client),
}

/// A requester and what it may do at the interface in question: what every request is decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The side that asks.
    pub requester: Requester,
    /// What it may do.
    pub grant: Grant,
}

/// Something that a rule allows or doesn't. What a client has over its connection it may give back
/// without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verb {
    /// See chains and members.
    List,
    /// Be told what happens.
    Events,
    /// Read the metrics.
    Metrics,
    /// Get packets of a queue by the built-in redirect program.
    Redirect,
    /// Send packets by a socket.
    Send,
    /// Bind `AF_XDP` sockets itself.
    Bare,
    /// Register objects of its own, which are loaded with few capabilities.
    Load,
    /// Have them loaded with the daemon's capabilities: they can read the kernel's memory.
    LoadTrusted,
    /// Register programs that are loaded already.
    Loaded,
    /// Run a program that attaches XDP itself, in a chain.
    Run,
    /// Make a chain where there is none.
    CreateChain,
    /// Change a chain itself.
    Configure,
    /// Change where a chain's hook is.
    Mode,
    /// Give the order of everybody's members.
    ReorderOthers,
    /// Keep a chain without members.
    Park,
    /// Take over what a hook runs.
    Adopt,
    /// Take changes back.
    Rollback,
    /// Confirm changes.
    Confirm,
    /// See everybody's packets.
    ObservePackets,
    /// Ask what the chain does to a packet.
    Explain,
    /// Read what members' programs print.
    Logs,
}

/// A set of [`Verb`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u32);

impl Verbs {
    /// Every verb.
    pub const ALL: Self = Self(u32::MAX);

    /// These.
    pub fn of(verbs: &[Verb]) -> Self {
        Self(verbs.iter().fold(0, |bits, verb| bits | Self::bit(*verb)))
    }

    /// Whether this verb is among them.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & Self::bit(verb) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn bit(verb: Verb) -> u32 {
        1 << verb as u8
    }
}

impl BitOr for Verbs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a requester may do at an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What it may do.
    pub verbs: Verbs,
    /// Whether other users' members are its to change too.
    pub everybodys: bool,
    /// How many sockets it may have, and how much memory they may pin; `None`: as it likes.
    pub sockets: Option<SocketLimits>,
}

impl Grant {
    /// Everything.
    pub fn all() -> Self {
        Self {
            verbs: Verbs::ALL,
            everybodys: true,
            sockets: None,
        }
    }

    /// Whether it is good for anything.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }
}

/// What a user other than root is granted by the short forms on the daemon's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `--allow-uid UID`: the built-in redirect program.
    Redirect,
    /// `--allow-uid UID:load`: its own objects too.
    Load,
    /// `--allow-uid UID:load-trusted`: the same, loaded with the daemon's capabilities.
    LoadTrusted,
}

impl Level {
    fn verbs(self) -> Verbs {
        let redirect = Verbs::of(&[Verb::List, Verb::Redirect, Verb::Send]);
        let load = redirect | Verbs::of(&[Verb::Load, Verb::CreateChain]);
        match self {
            Self::Redirect => redirect,
            Self::Load => load,
            Self::LoadTrusted => load | Verbs::of(&[Verb::LoadTrusted]),
        }
    }
}

/// Who may do what: root everything, others what they were granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Levels by uid.
    pub levels: BTreeMap<u32, Level>,
    /// Users that may bind `AF_XDP` sockets themselves, as root may.
    pub bare: BTreeSet<u32>,
    /// What one user other than root may have of sockets.
    pub sockets: SocketLimits,
}

impl Policy {
    /// What this user may do at an interface; `None`: at any, for a client that connects.
    ///
    /// The command line's short forms don't tell interfaces apart.
    pub fn grant(&self, uid: u32, _site: Option<&Interface>) -> Grant {
        if uid == 0 {
            return Grant::all();
        }
        let Some(level) = self.levels.get(&uid) else {
            return Grant::default();
        };
        let bare = if self.bare.contains(&uid) {
            Verbs::of(&[Verb::Bare])
        } else {
            Verbs::default()
        };
        Grant {
            verbs: level.verbs() | bare,
            everybodys: false,
            sockets: Some(self.sockets),
        }
    }

    /// What decides a client's request at an interface.
    pub fn authority(&self, client: &Client, site: &Interface) -> Authority {
        Authority {
            requester: Requester::Client(client.clone()),
            grant: self.grant(client.uid, Some(site)),
        }
    }
}

impl Authority {
    /// The daemon's own.
    pub fn daemon(pid: u32) -> Self {
        Self {
            requester: Requester::Daemon { pid },
            grant: Grant::all(),
        }
    }

    /// The user that asks; root for the daemon itself.
    pub fn uid(&self) -> u32 {
        match &self.requester {
            Requester::Daemon { .. } => 0,
            Requester::Client(client) => client.uid,
        }
    }

    /// The connection over which it asks.
    pub fn connection(&self) -> Option<ConnectionId> {
        match &self.requester {
            Requester::Daemon { .. } => None,
            Requester::Client(client) => Some(client.connection),
        }
    }

    /// Whether the daemon itself asks.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self.requester, Requester::Daemon { .. })
    }

    /// Whether it may do this.
    pub fn may(&self, verb: Verb) -> bool {
        self.grant.verbs.contains(verb)
    }

    /// Whether it may have what is this user's.
    pub fn may_have(&self, owner: u32) -> bool {
        self.grant.everybodys || owner == self.uid()
    }

    /// Whether it may ask for anything at all.
    pub(crate) fn may_ask(&self) -> Result<(), Refusal> {
        if self.grant.is_empty() {
            return Err(Refusal::NoRights { uid: self.uid() });
        }
        Ok(())
    }

    /// Refuses what it may not do at an interface.
    pub fn check(&self, verb: Verb, interface: &str) -> Result<(), Refusal> {
        self.may_ask()?;
        if self.may(verb) {
            return Ok(());
        }
        Err(Refusal::NotGranted {
            uid: self.uid(),
            interface: interface.to_owned(),
            verb,
        })
    }

    /// Whether it may have members of its own.
    pub(crate) fn may_load(&self, interface: &str) -> Result<(), Refusal> {
        let checked = self.check(Verb::Load, interface);
        if checked.is_err() && self.may(Verb::Redirect) {
            return Err(Refusal::RedirectOnly { uid: self.uid() });
        }
        checked
    }

    /// Whether it may change this member: root every one, others their own.
    pub(crate) fn may_change(&self, chain: &Chain, member: &Member) -> Result<(), Refusal> {
        self.may_ask()?;
        if self.may_have(member.owner.uid) {
            return self.may_load(&chain.interface.name);
        }
        Err(Refusal::NotOwner {
            uid: self.uid(),
            interface: chain.interface.name.clone(),
            member: member.name.clone(),
            owner: member.owner.uid,
        })
    }

    /// Whether it may do what concerns every member.
    pub(crate) fn may_act(&self, chain: &Chain, act: RootAct) -> Result<(), Refusal> {
        let verb = match act {
            RootAct::Order => Verb::ReorderOthers,
            RootAct::Configure => Verb::Configure,
        };
        if self.may(verb) {
            return Ok(());
        }
        Err(Refusal::RootOnly {
            uid: self.uid(),
            interface: chain.interface.name.clone(),
            act,
        })
    }

    /// Whether it may bind sockets itself.
    pub(crate) fn may_bare(&self, interface: &str) -> Result<(), Refusal> {
        if self.may(Verb::Bare) {
            return Ok(());
        }
        Err(Refusal::BareNotAllowed {
            uid: self.uid(),
            interface: interface.to_owned(),
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "see chains",
            Self::Events => "be told of events",
            Self::Metrics => "read metrics",
            Self::Redirect => "receive packets by a socket",
            Self::Send => "send packets by a socket",
            Self::Bare => "bind sockets itself",
            Self::Load => "have members",
            Self::LoadTrusted => "have trusted members",
            Self::Loaded => "register programs that are loaded already",
            Self::Run => "run programs that attach themselves",
            Self::CreateChain => "make a chain",
            Self::Configure => "configure chains",
            Self::Mode => "change a chain's mode",
            Self::ReorderOthers => "give the order of others' members",
            Self::Park => "keep a chain without members",
            Self::Adopt => "take over what a hook runs",
            Self::Rollback => "take changes back",
            Self::Confirm => "confirm changes",
            Self::ObservePackets => "see packets",
            Self::Explain => "ask what becomes of a packet",
            Self::Logs => "read what programs print",
        })
    }
}
