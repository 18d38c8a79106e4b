//! What a root is built from and told.

use std::fmt;

use dispatcher_abi::{Engine, FinalVerdict, OnMiss, SLOTS, VerdictMask};

use crate::{Chain, Member};

/// What a root is built from and told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Which root program.
    pub kind: RootKind,
    /// Whether it takes packets of several buffers.
    pub frags: bool,
    /// The occupied slots, 0 first.
    pub slots: Vec<RootSlot>,
    /// What it returns when every slot chained on.
    pub final_verdict: FinalVerdict,
    /// Whether it counts.
    pub counters: bool,
}

impl Root {
    /// The root that a chain needs.
    pub fn of(chain: &Chain) -> Self {
        let members = || chain.members.iter();
        Self {
            kind: RootKind::smallest(members().map(|member| member.form.engine)),
            frags: members().all(|member| member.form.frags),
            slots: members().map(RootSlot::of).collect(),
            final_verdict: chain.final_verdict,
            counters: chain.counters,
        }
    }
}

/// How a root treats one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootSlot {
    /// Verdicts after which the next slot runs.
    pub chain_call: VerdictMask,
    /// What the member may decide.
    pub allowed: VerdictMask,
    /// What happens when it did not run.
    pub on_miss: OnMiss,
}

impl RootSlot {
    /// How a root treats the slot of this member.
    pub fn of(member: &Member) -> Self {
        Self {
            chain_call: member.chain_call,
            allowed: member.allowed,
            on_miss: member.on_miss,
        }
    }
}

/// A root program, by its number of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// `dispatcher`: each slot tail-calls its member or is freplaced.
    Dispatcher,
    /// `dispatcher_ext`: each slot is freplaced; 16 slots.
    Ext16,
    /// `dispatcher_ext` with 64 slots.
    Ext64,
    /// `dispatcher_ext` with 128 slots.
    Ext128,
}

impl RootKind {
    /// How many slots it has.
    pub const fn slots(self) -> usize {
        match self {
            Self::Dispatcher => SLOTS,
            Self::Ext16 => 16,
            Self::Ext64 => 64,
            Self::Ext128 => 128,
        }
    }

    /// The smallest that runs members by these engines.
    fn smallest(engines: impl Iterator<Item = Engine> + Clone) -> Self {
        let largest = Self::largest(engines.clone());
        let members = engines.count();
        if largest == Self::Dispatcher {
            return largest;
        }
        let smaller = [Self::Ext16, Self::Ext64];
        let fitting = smaller.into_iter().find(|kind| members <= kind.slots());
        fitting.unwrap_or(largest)
    }

    /// The largest that runs members by these engines.
    pub(crate) fn largest(mut engines: impl Iterator<Item = Engine>) -> Self {
        if engines.any(|engine| engine == Engine::Tailcall) {
            Self::Dispatcher
        } else {
            Self::Ext128
        }
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dispatcher => "dispatcher",
            Self::Ext16 => "dispatcher_ext_16",
            Self::Ext64 => "dispatcher_ext_64",
            Self::Ext128 => "dispatcher_ext_128",
        })
    }
}
