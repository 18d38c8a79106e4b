//! Several operations on one chain, in one swap.

use dispatcher_abi::{Engine, Mode, ModeChoice};
use protocol::Operation;

use crate::{
    Client, Configuration, Error, Position, Program, Settings, claim::ClaimNumber, program::Object,
};

/// A set of operations on one interface: all of it happens, in one swap, or nothing.
///
/// ```no_run
/// # use libdispatch::{Client, Position, Program};
/// # fn example(client: &Client, program: &Program) -> Result<(), libdispatch::Error> {
/// let changed = client
///     .change("eth0")
///     .expect_generation(7)
///     .unregister("old")
///     .register(program)
///     .reorder("stats", Position::First)
///     .apply()?;
/// println!("generation {}", changed.generation);
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
                interface: interface.to_owned(),
                expected_generation: None,
                dry_run: false,
                mode: None,
                operations: Vec::new(),
            },
            objects: Vec::new(),
        }
    }

    /// Refuse if the chain is at another generation by now. A chain that doesn't exist is at 0.
    pub fn expect_generation(mut self, generation: u64) -> Self {
        self.wire.expected_generation = Some(generation);
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
        self.with(Operation::Register(Box::new(program.registration())))
    }

    /// Removes a member.
    pub fn unregister(self, name: impl Into<String>) -> Self {
        self.with(Operation::Unregister { name: name.into() })
    }

    /// Removes every member, and the chain with them.
    pub fn unregister_all(self) -> Self {
        self.with(Operation::UnregisterAll)
    }

    /// Moves one member. Nothing is reloaded.
    pub fn reorder(self, name: impl Into<String>, to: Position) -> Self {
        self.with(Operation::Move {
            name: name.into(),
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
            name: name.into(),
            settings: settings.into(),
        })
    }

    /// New code in the same slot. Maps of the same name and shape keep their contents. Of the
    /// program, only what concerns its object counts: function, map sizes, globals, tail calls.
    pub fn replace(mut self, name: impl Into<String>, program: &Program) -> Self {
        self.objects.push(program.object.clone());
        self.with(Operation::Replace {
            name: name.into(),
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
    /// unknown whether it was done; [`Client::list`] shows.
    pub fn apply(self) -> Result<Changed, Error> {
        self.apply_and_claim().map(|(changed, _)| changed)
    }

    /// The same, with the claims of the attached members that it registered, in their order.
    pub(crate) fn apply_and_claim(self) -> Result<(Changed, Vec<ClaimNumber>), Error> {
        let (changed, claims) = self.client.session().change(self.wire, &self.objects)?;
        self.client.start_keeper();
        Ok((changed.into(), claims))
    }

    fn with(mut self, operation: Operation) -> Self {
        self.wire.operations.push(operation);
        self
    }
}

/// What a change did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The chain's generation now; 0 if the chain is gone.
    pub generation: u64,
    /// Where the hook is; `None` if the chain is gone.
    pub mode: Option<Mode>,
    /// What the caller should know, such as why the mode is generic.
    pub notes: Vec<String>,
    /// The members that were registered or replaced, in the order of the operations.
    pub members: Vec<Registered>,
    /// The steps, for people to read.
    pub plan: Vec<String>,
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
}

impl From<protocol::Changed> for Changed {
    fn from(changed: protocol::Changed) -> Self {
        Self {
            generation: changed.generation,
            mode: changed.mode,
            notes: changed.notes,
            members: changed.members.into_iter().map(Registered::from).collect(),
            plan: changed.plan,
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
            engine: member.engine,
        }
    }
}
