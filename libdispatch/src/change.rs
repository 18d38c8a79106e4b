//! Several operations on one chain, in one swap.

use dispatcher_abi::{Engine, Mode, ModeChoice};
use protocol::{MemberRef, Open, Operation};

use crate::{
    Client, Configuration, Error, Note, Position, Program, Settings, Step, claim::ClaimNumber,
    program::Object, token, words,
};

/// A set of operations on one interface: all of it happens, in one swap, or nothing.
///
/// ```no_run
/// # use libdispatch::{Client, Position, Program};
/// # fn example(client: &Client, program: &Program) -> Result<(), libdispatch::Error> {
/// let changed = client
///     .change("eth0")
///     .expect_revision(7)
///     .unregister("old")
///     .register(program)
///     .reorder("stats", Position::First)
///     .apply()?;
/// println!("revision {}", changed.revision);
/// # Ok(())
/// # }
/// ```
///
/// Members registered here have no guard: attached ones stay as long as the [`Client`], unless
/// they are unregistered by name.
#[derive(Clone, Debug)]
#[must_use = "a change does nothing until it is applied"]
pub struct Change<'a> {
    client: &'a Client,
    wire: protocol::Change,
    objects: Vec<Object>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(client: &'a Client, interface: &str) -> Self {
        Self {
            client,
            wire: protocol::Change {
                interface: Some(interface.to_owned()),
                ..protocol::Change::default()
            },
            objects: Vec::new(),
        }
    }

    /// A change of the chain that a member is in, whatever its interface is called by now. The first
    /// operation names the member by its id.
    pub(crate) fn of_member(client: &'a Client) -> Self {
        Self {
            client,
            wire: protocol::Change::default(),
            objects: Vec::new(),
        }
    }

    /// Refuse if the chain is at another revision by now. A chain that doesn't exist is at 0.
    pub fn expect_revision(mut self, revision: u64) -> Self {
        self.wire.expected_revision = Some(revision);
        self
    }

    /// Plan, and say what would be done; do nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.wire.dry_run = dry_run;
        self
    }

    /// Where the hook is to be, if this change makes the chain; refused if it runs in another
    /// mode. Overrides the programs' own.
    pub fn mode(mut self, mode: ModeChoice) -> Self {
        self.wire.mode = Some(mode);
        self
    }

    /// Adds a member.
    pub fn register(mut self, program: &Program) -> Self {
        self.wire.mode = self.wire.mode.or(program.mode);
        self.objects.push(program.object.clone());
        self.with(Operation::Register(Box::new(
            program.registration(token::draw()),
        )))
    }

    /// Removes a member.
    pub fn unregister(self, name: impl Into<String>) -> Self {
        let member = name.into().into();
        self.with(Operation::Unregister { member })
    }

    /// Removes every member, and the chain with them.
    pub fn unregister_all(self) -> Self {
        self.with(Operation::UnregisterAll)
    }

    /// Moves one member. Nothing is reloaded.
    pub fn reorder(self, name: impl Into<String>, to: Position) -> Self {
        self.with(Operation::Move {
            member: name.into().into(),
            to: to.into(),
        })
    }

    /// Gives the whole order: every member's name, once, first to run first. Nothing is reloaded.
    pub fn order<N: AsRef<str>>(self, names: &[N]) -> Self {
        let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        self.with(Operation::Order { names })
    }

    /// Changes a running member.
    pub fn set(self, name: impl Into<String>, settings: Settings) -> Self {
        self.with(Operation::Set {
            member: name.into().into(),
            settings: settings.into(),
        })
    }

    /// New code in the same slot. Maps of the same name and shape keep their contents. Of the
    /// program, only what concerns its object counts: function, map sizes, globals, tail calls.
    pub fn replace(self, name: impl Into<String>, program: &Program) -> Self {
        self.replace_member(name.into().into(), program)
    }

    pub(crate) fn replace_member(mut self, member: Open<MemberRef>, program: &Program) -> Self {
        self.objects.push(program.object.clone());
        self.with(Operation::Replace {
            member,
            source: program.source(),
        })
    }

    /// Changes the chain itself.
    pub fn configure(self, configuration: Configuration) -> Self {
        self.with(Operation::Configure(configuration.into()))
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: nothing changed. [`Error::Disconnected`] and [`Error::TimedOut`]: it is
    /// unknown whether it was done; [`Client::list`] shows. A change that registers something and
    /// loses its connection is asked again by itself, and taken up if it had been done.
    pub fn apply(self) -> Result<Changed, Error> {
        self.apply_and_claim().map(|(changed, _)| changed)
    }

    /// The same, with the claims of the attached members that it registered, in their order.
    pub(crate) fn apply_and_claim(self) -> Result<(Changed, Vec<ClaimNumber>), Error> {
        let (changed, claims) = self.client.session().change(self.wire, &self.objects)?;
        self.client.start_keeper();
        Ok((changed.into(), claims))
    }

    pub(crate) fn with(mut self, operation: Operation) -> Self {
        self.wire.operations.push(operation);
        self
    }
}

/// What a change did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The chain's own id; 0 if the chain is gone.
    pub chain: u64,
    /// The chain's revision now; 0 if the chain is gone.
    pub revision: u64,
    /// The build that runs now; 0 if the chain is gone.
    pub build: u64,
    /// Where the hook is; `None` if the chain is gone.
    pub mode: Option<Mode>,
    /// What the caller should know, such as why the mode is generic.
    pub notes: Vec<Note>,
    /// The members that were registered or replaced, in the order of the operations.
    pub members: Vec<Registered>,
    /// The steps.
    pub plan: Vec<Step>,
    /// Members that were loaded again, with a new program id.
    pub reloads: Vec<String>,
}

/// A member that was registered or got new code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Its id, unique in the daemon.
    pub id: u64,
    /// Its slot.
    pub slot: u16,
    /// The kernel's id of its program; `None` in a dry run.
    pub program_id: Option<u32>,
    /// Which engine runs it.
    pub engine: Engine,
    /// It was there already: the daemon had done this very change before, and its answer was lost.
    pub taken_up: bool,
}

impl From<protocol::Changed> for Changed {
    fn from(changed: protocol::Changed) -> Self {
        Self {
            chain: changed.chain,
            revision: changed.revision,
            build: changed.build,
            mode: changed.mode,
            notes: words::all(changed.notes),
            members: words::all(changed.members),
            plan: words::all(changed.plan),
            reloads: changed.reloads,
        }
    }
}

impl From<protocol::Registered> for Registered {
    fn from(member: protocol::Registered) -> Self {
        Self {
            name: member.name,
            id: member.id,
            slot: member.slot,
            program_id: Some(member.program_id).filter(|id| *id != 0),
            engine: member.form.engine,
            taken_up: member.taken_up,
        }
    }
}
