//! One interface's chain and its members.

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, Priority, VerdictMask,
};

use crate::{
    Abilities, CodeId, ConnectionId, Engines, Form, Generation, Interface, MemberId, Obstacle,
    Slot, Source,
};

/// The ordered programs of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The interface.
    pub interface: Interface,
    /// Which build runs.
    pub generation: Generation,
    /// Where the hook is.
    pub mode: Mode,
    /// What it returns when every slot chained on.
    pub final_verdict: FinalVerdict,
    /// Whether verdicts are counted for each slot.
    pub counters: bool,
    /// Which engine members get that don't say.
    pub engine: EngineChoice,
    /// The members in run order: sorted by (priority, tie). A member's place is its slot.
    pub members: Vec<Member>,
}

/// One registered program in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its code.
    pub code: CodeId,
    /// Its name, unique in the chain.
    pub name: String,
    /// What its code was loaded from.
    pub source: Source,
    /// The kernel's id of its program: for listings; decides nothing.
    pub program_id: u32,
    /// Lower runs first.
    pub priority: Priority,
    /// What it was registered with.
    pub requested_priority: Priority,
    /// Orders equal priorities, lower first.
    pub tie: i64,
    /// Verdicts after which the next slot runs.
    pub chain_call: VerdictMask,
    /// What it may decide.
    pub allowed: VerdictMask,
    /// What happens when it did not run.
    pub on_miss: OnMiss,
    /// Which engine it was registered for.
    pub requested_engine: EngineChoice,
    /// What its code can be loaded as.
    pub abilities: Abilities,
    /// What its code was loaded as, and so how its slot calls it.
    pub form: Form,
    /// Tail calls it may make itself for one packet.
    pub tail_depth: u32,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// How long it outlives its connection, in milliseconds.
    pub linger_ms: u32,
    /// Who registered it.
    pub owner: Owner,
    /// What it is doing.
    pub state: MemberState,
    /// The group it shares maps in, with its owner's other members.
    pub share_group: Option<String>,
    /// What its client re-claims it with.
    pub token: [u8; 16],
}

/// Who registered a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The process.
    pub pid: u32,
    /// What it called itself.
    pub client: String,
    /// The connection that it belongs to: [`ConnectionId`] 0 once that is gone.
    pub connection: ConnectionId,
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It runs, and its client is there (or it needs none).
    Running,
    /// It runs, its client is gone, and it will be removed when its linger time is over.
    Lingering,
}

impl Chain {
    /// Why a member runs by tail call though the kernel has freplace and nobody asked for tail
    /// calls; `None` if that isn't so.
    pub fn tail_call_reason(&self, member: &Member, engines: Engines) -> Option<Obstacle> {
        let asked = match member.requested_engine {
            EngineChoice::Auto => self.engine,
            EngineChoice::Freplace | EngineChoice::Tailcall => member.requested_engine,
        };
        let is_odd = engines.freplace
            && member.form.engine == Engine::Tailcall
            && asked != EngineChoice::Tailcall;
        member.abilities.obstacle.filter(|_| is_odd)
    }

    /// The member of this name and its slot.
    pub fn member(&self, name: &str) -> Option<(Slot, &Member)> {
        self.slots().find(|(_, member)| member.name == name)
    }

    /// Every member and its slot, 0 first.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Member)> {
        (0..).map(Slot).zip(&self.members)
    }
}
