//! Who may do what.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Chain, ConnectionId, Member, Refusal, RootAct};

/// Who asks, as the socket's peer credentials say.
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
    /// What it may do.
    pub rights: Rights,
}

/// What a user other than root is granted on the daemon's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `--allow-uid UID`: the built-in redirect program.
    Redirect,
    /// `--allow-uid UID:load`: its own objects too.
    Load,
    /// `--allow-uid UID:load-trusted`: its own objects, also those that read the kernel's memory.
    LoadTrusted,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Root: everything.
    All,
    /// What was granted, on its own members.
    Granted(Grant),
    /// Nothing.
    None,
}

/// Who may do what: root everything, others what they were granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Grants by uid.
    pub grants: BTreeMap<u32, Grant>,
    /// Users that may bind `AF_XDP` sockets themselves, as root may.
    pub bare: BTreeSet<u32>,
}

impl Rights {
    /// Whether programs may read the kernel's memory: call every helper, follow every pointer.
    pub fn reads_the_kernel(self) -> bool {
        match self {
            Self::All | Self::Granted(Grant::LoadTrusted) => true,
            Self::Granted(Grant::Redirect | Grant::Load) | Self::None => false,
        }
    }
}

impl Policy {
    /// What this user may do.
    pub fn rights(&self, uid: u32) -> Rights {
        if uid == 0 {
            return Rights::All;
        }
        self.grants
            .get(&uid)
            .map_or(Rights::None, |grant| Rights::Granted(*grant))
    }

    /// Whether this user may bind `AF_XDP` sockets itself.
    pub fn may_bare(&self, uid: u32) -> bool {
        uid == 0 || self.bare.contains(&uid)
    }
}

impl Client {
    /// Whether it may ask for changes at all.
    pub(crate) fn may_ask(&self) -> Result<(), Refusal> {
        match self.rights {
            Rights::All | Rights::Granted(_) => Ok(()),
            Rights::None => Err(Refusal::NoRights { uid: self.uid }),
        }
    }

    /// Whether it may load objects of its own.
    pub(crate) fn may_load(&self) -> Result<(), Refusal> {
        match self.rights {
            Rights::All | Rights::Granted(Grant::Load | Grant::LoadTrusted) => Ok(()),
            Rights::Granted(Grant::Redirect) => Err(Refusal::RedirectOnly { uid: self.uid }),
            Rights::None => Err(Refusal::NoRights { uid: self.uid }),
        }
    }

    /// Whether it may change this member: root every one, others their own.
    pub(crate) fn may_change(&self, chain: &Chain, member: &Member) -> Result<(), Refusal> {
        match self.rights {
            Rights::All => Ok(()),
            Rights::Granted(_) if member.owner.uid == self.uid => Ok(()),
            Rights::Granted(_) => Err(Refusal::NotOwner {
                uid: self.uid,
                interface: chain.interface.name.clone(),
                member: member.name.clone(),
                owner: member.owner.uid,
            }),
            Rights::None => Err(Refusal::NoRights { uid: self.uid }),
        }
    }

    /// Whether it may do what concerns every member.
    pub(crate) fn must_be_root(&self, chain: &Chain, act: RootAct) -> Result<(), Refusal> {
        match self.rights {
            Rights::All => Ok(()),
            Rights::Granted(_) | Rights::None => Err(Refusal::RootOnly {
                uid: self.uid,
                interface: chain.interface.name.clone(),
                act,
            }),
        }
    }
}
