//! What a root is built from and told.

use std::fmt;

use dispatcher_abi::{Engine, FinalVerdict, OnMiss, SLOTS, VerdictMask};

use crate::{AttachType, Chain, Member};

/// What a root is built from and told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Which root program.
    pub program: RootProgram,
    /// The attach type that it is loaded with, and that its program array then takes.
    pub attach: AttachType,
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
            program: RootProgram::smallest(members().map(|member| member.form.engine)),
            attach: chain.attach,
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

/// A root program, by its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootProgram {
    /// Each slot can tail-call its member. Without it each slot is freplaced.
    pub tail_calls: bool,
    /// It copies packets and verdicts for readers that look on. No root is built so yet.
    pub tap: bool,
    /// How many slots it has.
    pub slots: u16,
}

impl RootProgram {
    /// `dispatcher`: each slot tail-calls its member or is freplaced.
    pub const DISPATCHER: Self = Self {
        tail_calls: true,
        tap: false,
        slots: 32,
    };

    /// `dispatcher_ext`: each slot is freplaced.
    const fn ext(slots: u16) -> Self {
        Self {
            tail_calls: false,
            tap: false,
            slots,
        }
    }

    /// `dispatcher_ext` with 16, 64 and 128 slots. Kernels before 6.8 verify unused slots too, so
    /// the smallest that fits is taken.
    pub const EXT: [Self; 3] = [Self::ext(16), Self::ext(64), Self::ext(128)];

    /// The smallest that runs members by these engines.
    fn smallest(engines: impl Iterator<Item = Engine> + Clone) -> Self {
        let largest = Self::largest(engines.clone());
        let members = engines.count();
        let fits = |program: &Self| !largest.tail_calls && members <= usize::from(program.slots);
        Self::EXT.into_iter().find(fits).unwrap_or(largest)
    }

    /// The largest that runs members by these engines.
    pub(crate) fn largest(mut engines: impl Iterator<Item = Engine>) -> Self {
        if engines.any(|engine| engine == Engine::Tailcall) {
            Self::DISPATCHER
        } else {
            Self::EXT[2]
        }
    }
}

const _: () = assert!(RootProgram::DISPATCHER.slots as usize == SLOTS);

impl fmt::Display for RootProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tail_calls {
            return f.write_str("dispatcher");
        }
        write!(f, "dispatcher_ext_{}", self.slots)
    }
}
