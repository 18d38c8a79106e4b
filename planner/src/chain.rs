//! One interface's chain and its members.

use std::convert::Infallible;
use std::fmt;

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, OnMiss, Priority, VerdictMask,
};

use crate::limits;
use crate::{
    Abilities, AttachType, Authority, Build, ChainId, ChainKey, CodeId, ConnectionId, Engines,
    Form, Interface, MemberId, Moment, Obstacle, Requester, Revision, Slot, Source,
};

/// The ordered programs of one interface. It may have no members ([`Chain::parked`]), and it may
/// not be on a hook ([`Chain::standing`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its number, which never changes.
    pub id: ChainId,
    /// Where its pins are. That never changes either.
    pub dir: ChainDir,
    /// The interface, as it was last seen.
    pub interface: Interface,
    /// Whether the interface runs the chain.
    pub standing: Standing,
    /// What holds the hook.
    pub hook: Hook,
    /// How often somebody changed it.
    pub revision: Revision,
    /// The root that runs.
    pub build: Build,
    /// The last number that a build of this chain had, also one that failed.
    pub last_build: Build,
    /// Where the hook is.
    pub mode: Mode,
    /// What it returns when every slot chained on.
    pub final_verdict: FinalVerdict,
    /// Whether verdicts are counted for each slot.
    pub counters: bool,
    /// Which engine members get that don't say.
    pub engine: EngineChoice,
    /// The attach type of its roots, fixed while its hook lives: a link can't be updated from one
    /// type to the other, and a program array takes one.
    pub attach: AttachType,
    /// It stays on its hook without members.
    pub parked: bool,
    /// The members in run order: sorted by (priority, tie). A member's place is its slot.
    pub members: Vec<Member>,
}

/// Where a chain's pins are, in the daemon's directory on the bpffs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainDir {
    /// Where the chain was when it was made.
    pub key: ChainKey,
    /// Tells it from a former chain of the same interface that isn't all freed yet; 0 if there was
    /// none.
    pub again: u64,
}

/// `<netns cookie>-<ifindex>`, and `-<again>` unless that is 0.
impl fmt::Display for ChainDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        match self.again {
            0 => Ok(()),
            again => write!(f, "-{again}"),
        }
    }
}

/// Whether a chain's interface runs it, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    InForce,
    /// It doesn't: the chain waits for its hook.
    Waiting(Waiting),
}

/// Why a chain is not on its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The interface is not there.
    NoInterface,
    /// The hook is empty, and attaching the chain failed.
    Detached,
    /// The hook runs somebody else's program.
    Taken(HookProgram),
}

/// A program on a hook that is none of the daemon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookProgram {
    /// The kernel's id of it.
    pub id: u32,
    /// Its name in the kernel.
    pub name: String,
}

impl fmt::Display for HookProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name } = self;
        if name.is_empty() {
            return write!(f, "without a name (id {id})");
        }
        write!(f, "{name} (id {id})")
    }
}

/// What holds an interface's XDP hook for a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A pinned `bpf_link`.
    Link,
    /// A netlink attachment, which names the program that it expects to replace.
    Netlink,
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
    /// The connection that it belongs to; `None` if to none, or once that is gone.
    pub connection: Option<ConnectionId>,
}

impl Owner {
    /// The side that asks, as an owner.
    pub fn of(authority: &Authority) -> Self {
        match &authority.requester {
            Requester::Daemon { pid } => Self {
                uid: 0,
                pid: *pid,
                client: DAEMON.to_owned(),
                connection: None,
            },
            Requester::Client(client) => Self {
                uid: client.uid,
                pid: client.pid,
                client: client.name.clone(),
                connection: Some(client.connection),
            },
        }
    }
}

/// What the daemon calls itself as an owner.
const DAEMON: &str = "dispatchd";

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It runs, and its client is there (or it needs none).
    Running,
    /// It runs, its client is gone, and it will be removed.
    Lingering {
        /// The end of the linger time.
        until: Moment,
    },
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

    /// As what each member's code has to be loaded. `is_fresh`: members whose code is loaded anyway;
    /// `upgrade`: the others too, if all can take packets of several buffers.
    pub(crate) fn forms<E>(
        &self,
        upgrade: bool,
        is_fresh: impl Fn(&Member) -> bool,
        engine_of: impl Fn(&Member) -> Result<Engine, E>,
    ) -> Result<Vec<Form>, E> {
        let members = || self.members.iter();
        let is_plain = |member: &Member| {
            member.form.engine == Engine::Tailcall && !member.form.frags && !is_fresh(member)
        };
        let frags =
            members().all(|member| member.abilities.frags) && (upgrade || !members().any(is_plain));
        let form = |member: &Member| {
            let engine = engine_of(member)?;
            Ok(Form {
                engine,
                frags: match engine {
                    Engine::Freplace => member.abilities.frags,
                    Engine::Tailcall => frags,
                },
                attach: self.attach,
            })
        };
        members().map(form).collect()
    }

    /// Whether it is as every plan leaves a chain: each member's code is loaded as the chain needs it,
    /// and a packet can run them all. Any other chain could not even lose a member.
    pub(crate) fn is_settled(&self) -> bool {
        let engine = |member: &Member| Ok::<_, Infallible>(member.form.engine);
        let Ok(forms) = self.forms(false, |_| false, engine);
        let mut pairs = self.members.iter().zip(&forms);
        pairs.all(|(member, form)| member.form == *form) && limits::check(self, &forms).is_ok()
    }

    /// The chain's members that run the redirect program: one at most.
    pub fn redirect(&self) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.source.is_redirect())
    }

    /// The member of this number.
    pub fn member_by_id(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
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
