//! A working copy of a chain, to which a change's operations are applied one by one.

use std::collections::BTreeMap;

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, PRIORITY_DEFAULT,
    REDIRECT_MEMBER, Verdict, VerdictMask, is_member_name,
};

use crate::engine::engine_for;
use crate::limits;
use crate::order::{self, Side};
use crate::{
    AttachType, Authority, Build, Chain, Change, CodeId, Configuration, Facts, Form, Hook,
    Interface, LoadId, Member, MemberId, MemberState, NoEngine, Operation, Owner, Position,
    Refusal, Registration, Revision, RootAct, Settings, Standing, State, Verb,
};

/// The chain as far as the operations got.
pub(crate) struct Draft<'a> {
    state: &'a State,
    authority: &'a Authority,
    before: Option<&'a Chain>,
    chain: Chain,
    next_member: MemberId,
    fresh: BTreeMap<MemberId, LoadId>,
    has_unnamed: bool,
    /// The chain's engine was chosen anew, and its members follow.
    engine_chosen: bool,
}

/// What a change makes of a chain.
pub(crate) struct Drafted<'a> {
    /// The chain as it is.
    pub(crate) before: Option<&'a Chain>,
    /// The chain as it will be, but for its build and for what has to be loaded again.
    pub(crate) after: Chain,
    /// As what the code of each member has to be loaded.
    pub(crate) forms: Vec<Form>,
    /// Members whose code is new, and where the loader holds it. Some may have gone again.
    pub(crate) fresh: BTreeMap<MemberId, LoadId>,
}

impl<'a> Draft<'a> {
    /// Copies the chain, or makes an empty one, if nothing speaks against the change as a whole.
    pub(crate) fn open(
        state: &'a State,
        authority: &'a Authority,
        change: &Change,
    ) -> Result<Self, Refusal> {
        authority.may_ask()?;
        let interface = || change.interface.name.clone();
        if change.operations.is_empty() {
            return Err(Refusal::NothingToDo {
                interface: interface(),
            });
        }
        let before = state.at(change.interface.key);
        let registers = |operation| matches!(operation, &Operation::Register(_));
        if before.is_none() && !change.operations.iter().any(registers) {
            return Err(Refusal::NoChain {
                interface: interface(),
            });
        }
        let actual = before.map_or(Revision(0), |chain| chain.revision);
        if let Some(expected) = change.expected_revision
            && expected != actual
        {
            return Err(Refusal::Revision {
                interface: interface(),
                expected,
                actual,
            });
        }
        for (name, id) in &change.expected_members {
            let present = before.and_then(|chain| chain.member(name));
            if present.is_none_or(|(_, member)| member.id != *id) {
                return Err(Refusal::NoMemberOfId { id: *id });
            }
        }
        Ok(Self {
            state,
            authority,
            before,
            chain: copy(state, before, change)?,
            next_member: state.next_member,
            fresh: BTreeMap::new(),
            has_unnamed: false,
            engine_chosen: false,
        })
    }

    /// Whether a member's name is left to an object that isn't loaded yet.
    pub(crate) fn has_unnamed(&self) -> bool {
        self.has_unnamed
    }

    /// Applies every operation of a change; `facts` has one for each that takes some.
    pub(crate) fn apply_all(&mut self, change: &Change, facts: &[Facts]) -> Result<(), Refusal> {
        let mut facts = facts.iter();
        for operation in &change.operations {
            let facts = if operation.takes_facts() {
                facts.next()
            } else {
                None
            };
            self.apply(operation, facts)?;
        }
        Ok(())
    }

    /// Applies one operation. `facts` is what the loader learned of the object that it takes;
    /// `None` if that isn't loaded yet.
    pub(crate) fn apply(
        &mut self,
        operation: &Operation,
        facts: Option<&Facts>,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::Register(registration) => self.register(registration, facts),
            Operation::Unregister { name } => {
                let index = self.own(name)?;
                self.chain.members.remove(index);
                Ok(())
            }
            Operation::UnregisterAll => self.unregister_all(),
            Operation::Move { name, to } => self.move_to(name, to),
            Operation::Order { names } => self.arrange(names),
            Operation::Set { name, settings } => self.set(name, settings),
            Operation::Replace { name } => self.replace(name, facts),
            Operation::Configure(configuration) => self.configure(configuration),
        }
    }

    /// The chain with every operation applied, if a packet can run it. `upgrade`: members that were
    /// loaded without frags for others' sake are loaded with it once all can.
    pub(crate) fn finish(self, upgrade: bool) -> Result<Drafted<'a>, Refusal> {
        if self.before.is_none() && self.chain.members.is_empty() {
            return Err(Refusal::EmptyChain {
                interface: self.interface(),
            });
        }
        let forms = self.forms(upgrade)?;
        limits::check(&self.chain, &forms)?;
        Ok(Drafted {
            before: self.before,
            after: self.chain,
            forms,
            fresh: self.fresh,
        })
    }

    /// As what each member's code has to be loaded.
    fn forms(&self, upgrade: bool) -> Result<Vec<Form>, Refusal> {
        let is_fresh = |member: &Member| self.fresh.contains_key(&member.id);
        self.chain.forms(upgrade, is_fresh, |member| {
            if self.engine_chosen || is_fresh(member) {
                self.engine_of(member)
            } else {
                Ok(member.form.engine)
            }
        })
    }

    /// The engine for a member whose code is loaded anew.
    fn engine_of(&self, member: &Member) -> Result<Engine, Refusal> {
        engine_for(
            self.state.engines,
            self.chain.engine,
            member.requested_engine,
            member.abilities.obstacle,
        )
        .map_err(|reason| self.no_engine(member.name.as_str(), reason))
    }

    fn register(
        &mut self,
        registration: &Registration,
        facts: Option<&Facts>,
    ) -> Result<(), Refusal> {
        self.authority.may_load(&self.interface())?;
        if self.before.is_none() {
            self.authority.check(Verb::CreateChain, &self.interface())?;
        }
        let name = self.new_name(registration, facts)?;
        let facts = facts.cloned().unwrap_or_else(Facts::unknown);
        let chain_call = registration.chain_call.or(facts.chain_call);
        let priority = registration.priority.or(facts.priority);
        let priority = priority.unwrap_or(PRIORITY_DEFAULT);
        let id = self.next_member;
        self.next_member = MemberId(id.0 + 1);
        self.fresh.insert(id, facts.load);
        self.chain.members.push(Member {
            id,
            code: CodeId(1),
            chain_call: chains_on(&name, chain_call.unwrap_or(VerdictMask::PASS))?,
            name,
            tail_depth: registration.tail_depth.unwrap_or(facts.least_tail_depth()),
            program_id: facts.program_id,
            source: facts.source,
            priority,
            requested_priority: priority,
            tie: order::youngest(&self.chain.members),
            allowed: registration.allowed.unwrap_or(VerdictMask::ALL),
            on_miss: registration.on_miss,
            requested_engine: registration.engine,
            abilities: facts.abilities,
            form: facts.form,
            lifetime: registration.lifetime,
            linger_ms: registration.linger_ms,
            owner: self.owner(registration.lifetime),
            state: MemberState::Running,
            share_group: registration.share_group.clone(),
            token: registration.token,
        });
        order::sort(&mut self.chain.members);
        Ok(())
    }

    /// The name of a member to be; empty while only its object knows it.
    fn new_name(
        &mut self,
        registration: &Registration,
        facts: Option<&Facts>,
    ) -> Result<String, Refusal> {
        let program = || facts.map(|facts| facts.source.program().to_owned());
        let Some(name) = registration.name.clone().or_else(program) else {
            self.has_unnamed = true;
            return Ok(String::new());
        };
        if !is_member_name(&name) {
            return Err(Refusal::BadName { name });
        }
        if name == REDIRECT_MEMBER && !self.authority.is_daemon() {
            return Err(Refusal::NameReserved { name });
        }
        if self.chain.member(&name).is_some() {
            return Err(Refusal::NameTaken {
                interface: self.interface(),
                name,
            });
        }
        Ok(name)
    }

    fn unregister_all(&mut self) -> Result<(), Refusal> {
        for member in &self.chain.members {
            self.authority.may_change(&self.chain, member)?;
        }
        self.chain.members.clear();
        Ok(())
    }

    fn move_to(&mut self, name: &str, to: &Position) -> Result<(), Refusal> {
        let mover = self.own(name)?;
        let (neighbour, side) = match to {
            Position::Priority(priority) => {
                order::set_priority(&mut self.chain.members, mover, *priority);
                return Ok(());
            }
            Position::First => (0, Side::Before),
            Position::Last => (self.chain.members.len() - 1, Side::After),
            Position::Before(neighbour) => (self.find(neighbour)?, Side::Before),
            Position::After(neighbour) => (self.find(neighbour)?, Side::After),
        };
        if neighbour != mover {
            order::put_beside(&mut self.chain.members, mover, neighbour, side);
        } else if matches!(to, Position::Before(_) | Position::After(_)) {
            return Err(Refusal::BesideItself { name: name.into() });
        }
        Ok(())
    }

    fn arrange(&mut self, names: &[String]) -> Result<(), Refusal> {
        self.authority.may_act(&self.chain, RootAct::Order)?;
        let mut order = Vec::with_capacity(self.chain.members.len());
        for name in names {
            let index = self.find(name)?;
            if order.contains(&index) {
                return Err(Refusal::OrderRepeats {
                    interface: self.interface(),
                    name: name.clone(),
                });
            }
            order.push(index);
        }
        if order.len() < self.chain.members.len() {
            let members = self.chain.members.iter().enumerate();
            return Err(Refusal::OrderIncomplete {
                interface: self.interface(),
                missing: members
                    .filter(|(index, _)| !order.contains(index))
                    .map(|(_, member)| member.name.clone())
                    .collect(),
            });
        }
        order::arrange(&mut self.chain.members, &order);
        Ok(())
    }

    fn set(&mut self, name: &str, settings: &Settings) -> Result<(), Refusal> {
        let index = self.own(name)?;
        let member = &mut self.chain.members[index];
        if let Some(chain_call) = settings.chain_call {
            member.chain_call = chains_on(name, chain_call)?;
        }
        member.allowed = settings.allowed.unwrap_or(member.allowed);
        member.on_miss = settings.on_miss.unwrap_or(member.on_miss);
        match settings.lifetime {
            Some(Lifetime::Kept) => {
                member.lifetime = Lifetime::Kept;
                member.owner.connection = None;
                member.state = MemberState::Running;
            }
            Some(Lifetime::Attached) if member.lifetime == Lifetime::Kept => {
                return Err(Refusal::KeptStays { name: name.into() });
            }
            Some(Lifetime::Attached) | None => {}
        }
        Ok(())
    }

    /// New code for a member. It keeps its tail depth, unless the new object is the first to hold a
    /// program array.
    fn replace(&mut self, name: &str, facts: Option<&Facts>) -> Result<(), Refusal> {
        self.authority.may_load(&self.interface())?;
        let index = self.own(name)?;
        let member = &mut self.chain.members[index];
        if self.fresh.contains_key(&member.id) {
            return Err(Refusal::ReplacesNewCode { name: name.into() });
        }
        let facts = facts.cloned().unwrap_or_else(Facts::unknown);
        if facts
            .replaces
            .is_some_and(|replaced| replaced != (member.id, member.code))
        {
            return Err(Refusal::ChangedMeanwhile { name: name.into() });
        }
        self.fresh.insert(member.id, facts.load);
        member.code = self.state.next_code(self.chain.dir, member.id, member.code);
        member.tail_depth = member.tail_depth.max(facts.least_tail_depth());
        member.program_id = facts.program_id;
        member.source = facts.source;
        member.abilities = facts.abilities;
        member.form = facts.form;
        Ok(())
    }

    fn configure(&mut self, configuration: &Configuration) -> Result<(), Refusal> {
        self.authority.may_act(&self.chain, RootAct::Configure)?;
        if let Some(engine) = configuration.engine {
            engine_for(self.state.engines, engine, EngineChoice::Auto, None)
                .map_err(|reason| self.no_engine("", reason))?;
            self.chain.engine = engine;
            self.engine_chosen = true;
        }
        if let Some(mode) = configuration.mode {
            self.authority.check(Verb::Mode, &self.interface())?;
            self.chain.mode = concrete(mode, &self.chain.interface)?.unwrap_or(self.chain.mode);
        }
        let chain = &mut self.chain;
        chain.final_verdict = configuration.final_verdict.unwrap_or(chain.final_verdict);
        chain.counters = configuration.counters.unwrap_or(chain.counters);
        Ok(())
    }

    /// A member's index.
    fn find(&self, name: &str) -> Result<usize, Refusal> {
        let found = self.chain.members.iter().position(|m| m.name == name);
        found.ok_or_else(|| Refusal::NoSuchMember {
            interface: self.interface(),
            name: name.into(),
        })
    }

    /// A member's index, if the client may change it.
    fn own(&self, name: &str) -> Result<usize, Refusal> {
        let index = self.find(name)?;
        self.authority
            .may_change(&self.chain, &self.chain.members[index])?;
        Ok(index)
    }

    /// The client, as the owner of a member.
    fn owner(&self, lifetime: Lifetime) -> Owner {
        let owner = Owner::of(self.authority);
        match lifetime {
            Lifetime::Attached => owner,
            Lifetime::Kept => Owner {
                connection: None,
                ..owner
            },
        }
    }

    /// `member` is empty while only its object knows its name.
    fn no_engine(&self, member: &str, reason: NoEngine) -> Refusal {
        let member = if member.is_empty() { "members" } else { member };
        Refusal::Engine {
            interface: self.interface(),
            member: member.into(),
            reason,
        }
    }

    fn interface(&self) -> String {
        self.chain.interface.name.clone()
    }
}

/// The chain as it is, or an empty one where the change would make it.
fn copy(state: &State, before: Option<&Chain>, change: &Change) -> Result<Chain, Refusal> {
    let asked = change.mode.unwrap_or(ModeChoice::Auto);
    let asked = concrete(asked, &change.interface)?;
    let Some(before) = before else {
        return Ok(Chain {
            id: state.next_chain,
            dir: state.new_dir(&change.interface, state.next_chain),
            interface: change.interface.clone(),
            standing: Standing::InForce,
            hook: Hook::Link,
            revision: Revision(0),
            build: Build(0),
            last_build: Build(0),
            mode: asked.unwrap_or(Mode::Native),
            final_verdict: FinalVerdict::Pass,
            counters: true,
            engine: EngineChoice::Auto,
            attach: AttachType::Xdp,
            parked: false,
            members: Vec::new(),
        });
    };
    if let Some(asked) = asked
        && asked != before.mode
    {
        return Err(Refusal::ModeDiffers {
            interface: change.interface.name.clone(),
            running: before.mode,
            asked,
        });
    }
    Ok(Chain {
        // The interface may have another name by now.
        interface: change.interface.clone(),
        ..before.clone()
    })
}

/// The mode that is asked for; `None` if any will do.
fn concrete(choice: ModeChoice, interface: &Interface) -> Result<Option<Mode>, Refusal> {
    match choice {
        ModeChoice::Auto => Ok(None),
        ModeChoice::Native => Ok(Some(Mode::Native)),
        ModeChoice::Generic => Ok(Some(Mode::Generic)),
        ModeChoice::Offload => Err(Refusal::NoOffload {
            interface: interface.name.clone(),
        }),
    }
}

/// The mask, if it can be a member's chain-call actions.
fn chains_on(member: &str, chain_call: VerdictMask) -> Result<VerdictMask, Refusal> {
    if chain_call.contains(Verdict::Other) {
        return Err(Refusal::ChainsOnOther {
            name: member.into(),
        });
    }
    Ok(chain_call)
}
