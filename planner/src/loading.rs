//! What is loaded for a change, one program after the other, and what is tried after a refusal.

use dispatcher_abi::{Engine, EngineChoice};

use crate::{
    Authority, BuiltIn, Change, CodeId, Facts, Form, LoadId, MemberId, Needs, Obstacle, Operation,
    Outline, Refusal, Reload, State, Verb, needs,
};

/// The loads of one change, as far as they are.
///
/// The kernel may refuse a program as an extension and take it as an XDP program: then it is loaded
/// so. A change is never refused for the lack of an upgrade that it doesn't need.
#[derive(Clone, Debug)]
pub struct Loading {
    authority: Authority,
    change: Change,
    outlines: Vec<Outline>,
    /// The failure of each object's load as an extension, by number.
    refused: Vec<Option<usize>>,
    /// Members that could take packets of several buffers are loaded again so.
    upgrade: bool,
    needs: Needs,
    reloaded: Vec<Facts>,
    fresh: Vec<Facts>,
    failures: usize,
}

/// One program to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOrder {
    /// What the program is called until it is a member's code.
    pub load: LoadId,
    /// Which program.
    pub code: Code,
    /// What is known of it.
    pub outline: Outline,
    /// How it is loaded.
    pub form: Form,
    /// Whether it may call every helper, and is loaded with the daemon's capabilities.
    pub trusted: bool,
    /// Maps that it uses instead of new ones.
    pub maps: Maps,
    /// The member and the code that it is to replace.
    pub replaces: Option<(MemberId, CodeId)>,
}

/// A program to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// Of the change's objects, by number in the order of the operations that take one.
    Fresh(usize),
    /// A member's present code.
    Again(Box<Reload>),
    /// A program of the daemon's own.
    BuiltIn(BuiltIn),
}

/// Maps that a program uses instead of new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maps {
    /// Other programs', where name and shape agree.
    Shared(Vec<MapsOf>),
    /// All of this code's, whose successor it is.
    Own(MemberId, CodeId),
}

/// The program that has the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapsOf {
    /// A member's code.
    Member(MemberId, CodeId),
    /// A program that was loaded for the same change.
    Load(LoadId),
}

/// What comes next in a change's loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// This program is to be loaded.
    Load(Box<LoadOrder>),
    /// All is loaded: what [`decide`](crate::decide) needs.
    Ready {
        /// Of the operations that take some.
        facts: Vec<Facts>,
        /// Of the members that were loaded again.
        reloaded: Vec<Facts>,
    },
    /// The change is refused.
    Refused(Refusal),
    /// The change fails with the failure of this number, 0 the first that was reported.
    Failed(usize),
}

impl Loading {
    /// The loads of a change, whose objects were looked at.
    pub fn new(authority: Authority, change: Change, outlines: Vec<Outline>) -> Self {
        Self {
            authority,
            refused: vec![None; outlines.len()],
            change,
            outlines,
            upgrade: true,
            needs: Needs::default(),
            reloaded: Vec::new(),
            fresh: Vec::new(),
            failures: 0,
        }
    }

    /// What decides it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Goes on with another change that loads the same.
    pub fn change_to(&mut self, change: Change) {
        self.change = change;
    }

    /// The change.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// Works out what has to be loaded, from the first program on: also once the chain was changed
    /// in between. `load`: what the next program is called.
    pub fn begin(&mut self, state: &State, load: LoadId) -> LoadStep {
        self.reloaded.clear();
        self.fresh.clear();
        let needs = needs(
            state,
            &self.authority,
            &self.change,
            &self.outlines,
            self.upgrade,
        );
        match needs {
            Ok(needs) => self.needs = needs,
            Err(refusal) => {
                let first = self.refused.iter().flatten().next();
                return first.map_or(LoadStep::Refused(refusal), |first| LoadStep::Failed(*first));
            }
        }
        self.next(state, load)
    }

    /// A program was loaded. `load`: what the next one is called.
    pub fn loaded(&mut self, state: &State, facts: Facts, load: LoadId) -> LoadStep {
        if self.reloaded.len() < self.needs.reloads.len() {
            self.reloaded.push(facts);
        } else {
            self.fresh.push(facts);
        }
        self.next(state, load)
    }

    /// A program could not be loaded; `by_kernel`: the kernel looked at it and turned it down.
    /// `load`: what the next one is called.
    pub fn failed(&mut self, state: &State, by_kernel: bool, load: LoadId) -> LoadStep {
        let failure = self.failures;
        self.failures += 1;
        if self.reloaded.len() < self.needs.reloads.len() {
            if !self.upgrade {
                return LoadStep::Failed(failure);
            }
            self.upgrade = false;
            return self.begin(state, load);
        }
        let index = self.fresh.len();
        let as_extension = self.needs.forms[index].engine == Engine::Freplace;
        if as_extension && by_kernel && self.may_tail_call(index) {
            // If it is not fit for a tail call either, this is what was wrong.
            self.refused[index] = Some(failure);
            self.outlines[index].abilities.obstacle = Some(Obstacle::Refused);
            return self.begin(state, load);
        }
        LoadStep::Failed(self.refused[index].unwrap_or(failure))
    }

    fn next(&self, state: &State, load: LoadId) -> LoadStep {
        if let Some(reload) = self.needs.reloads.get(self.reloaded.len()) {
            return LoadStep::Load(Box::new(LoadOrder {
                load,
                code: Code::Again(Box::new(reload.clone())),
                outline: reload.outline.clone(),
                form: reload.form,
                trusted: reload.source.is_trusted(),
                maps: Maps::Own(reload.member, reload.code),
                replaces: Some((reload.member, reload.code)),
            }));
        }
        let index = self.fresh.len();
        let Some(form) = self.needs.forms.get(index) else {
            return LoadStep::Ready {
                facts: self.fresh.clone(),
                reloaded: self.reloaded.clone(),
            };
        };
        let replaces = self.replaces(state, index);
        LoadStep::Load(Box::new(LoadOrder {
            load,
            code: match self.built_in(index) {
                Some(built_in) => Code::BuiltIn(built_in),
                None => Code::Fresh(index),
            },
            outline: self.outlines[index].clone(),
            form: *form,
            trusted: self.authority.may(Verb::LoadTrusted),
            maps: Maps::Shared(match replaces {
                Some((member, code)) => vec![MapsOf::Member(member, code)],
                None => self.shared_maps(state, index),
            }),
            replaces,
        }))
    }

    /// The operation that takes the object of this number.
    fn operation(&self, index: usize) -> Option<&Operation> {
        let mut operations = self.change.operations.iter();
        operations
            .by_ref()
            .filter(|operation| operation.takes_facts())
            .nth(index)
    }

    fn built_in(&self, index: usize) -> Option<BuiltIn> {
        match self.operation(index) {
            Some(Operation::Register(registration)) => registration.built_in,
            _ => None,
        }
    }

    /// Whether a tail-call slot would do where freplace is refused for this program.
    fn may_tail_call(&self, index: usize) -> bool {
        let engine = match self.operation(index) {
            Some(Operation::Register(registration)) => registration.engine,
            _ => EngineChoice::Auto,
        };
        let obstacle = self.outlines[index].abilities.obstacle;
        engine == EngineChoice::Auto && obstacle.is_none()
    }

    /// The member's code that an object is to replace, if it is the requester's to replace.
    fn replaces(&self, state: &State, index: usize) -> Option<(MemberId, CodeId)> {
        let Some(Operation::Replace { name }) = self.operation(index) else {
            return None;
        };
        let (_, member) = state.at(self.change.interface.key)?.member(name)?;
        let may = self.authority.may_have(member.owner.uid);
        may.then_some((member.id, member.code))
    }

    /// The programs in the share group of an object's member: of this change, and those that run.
    fn shared_maps(&self, state: &State, index: usize) -> Vec<MapsOf> {
        let group = |index| match self.operation(index) {
            Some(Operation::Register(registration)) => registration.share_group.as_ref(),
            _ => None,
        };
        let Some(wanted) = group(index) else {
            return Vec::new();
        };
        let loaded = self.fresh.iter().enumerate();
        let here = loaded
            .filter(|(other, _)| group(*other) == Some(wanted))
            .map(|(_, facts)| MapsOf::Load(facts.load));
        let members = state.chains.values().flat_map(|chain| &chain.members);
        let uid = self.authority.uid();
        let running = members
            .filter(|member| member.owner.uid == uid && member.share_group.as_ref() == Some(wanted))
            .map(|member| MapsOf::Member(member.id, member.code));
        here.chain(running).collect()
    }
}
