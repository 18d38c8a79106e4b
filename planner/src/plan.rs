//! What must happen, in the only order that is safe.

use dispatcher_abi::{Engine, Mode};

use crate::{
    Build, Chain, ChainDir, ChainId, ChainKey, CodeId, LoadId, MemberId, Obsolete, Root, Slot,
};

/// One change, as steps. A plain value: it can be printed, compared and dry-run.
///
/// `prepare` builds beside the live build, where no packet looks. `commit` is the one atomic
/// step that packets see. `cleanup` frees what the commit made unreachable; it may fail without
/// harm, since reconciling finishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The chain that changes.
    pub chain: ChainId,
    /// Where its pins are.
    pub dir: ChainDir,
    /// Where its interface is.
    pub site: ChainKey,
    /// Its interface's name, for messages.
    pub interface: String,
    /// The build that runs after the commit. The same as before if only metadata changes; 0 if
    /// the last member goes.
    pub build: Build,
    /// Built aside; undone by discarding it.
    pub prepare: Vec<Prepare>,
    /// The step that packets see.
    pub commit: Commit,
    /// What is left to free, in order.
    pub cleanup: Vec<Cleanup>,
    /// The chain afterwards; `None` if its last member goes.
    pub next: Option<Chain>,
    /// Names of members whose code is loaded again, with a new program id.
    pub reloads: Vec<String>,
    /// Members that go, and their names, which `next` doesn't have.
    pub removes: Vec<(MemberId, String)>,
}

/// A step that packets don't see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepare {
    /// Pins what the loader holds as this member's code, with its maps.
    PinCode {
        /// The member.
        member: MemberId,
        /// Its code.
        code: CodeId,
        /// What the loader holds.
        load: LoadId,
    },
    /// Loads a root, with its own program array and counters, and pins them.
    BuildRoot {
        /// The root's build.
        build: Build,
        /// What it is told.
        root: Root,
    },
    /// Puts a member into a slot of the root that is being built.
    FillSlot {
        /// The root's build.
        build: Build,
        /// The slot.
        slot: Slot,
        /// The member.
        member: MemberId,
        /// Its code.
        code: CodeId,
        /// How the slot calls it.
        engine: Engine,
    },
    /// Writes the chain as it will be ([`Plan::next`]) into the build's registry. For a
    /// build that is live already, this writes beside the present registry; the commit puts
    /// it in its place.
    WriteRegistry {
        /// The build.
        build: Build,
    },
}

/// The step that packets see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Attaches the first build of a chain.
    Attach {
        /// What is attached.
        build: Build,
        /// The hook of the driver, the stack or the card.
        mode: Mode,
    },
    /// Replaces one build by another, if that one is what runs.
    Swap {
        /// What must run now.
        from: Build,
        /// What runs afterwards.
        to: Build,
    },
    /// Detaches and attaches in another mode: the interface is without a program in between.
    Reattach {
        /// What runs now.
        from: Build,
        /// What runs afterwards.
        to: Build,
        /// Where it was.
        old_mode: Mode,
        /// Where it will be.
        mode: Mode,
    },
    /// Takes the chain off its interface.
    Detach {
        /// What runs now.
        build: Build,
    },
    /// Puts a new registry in the place of a live build's: metadata only.
    Registry {
        /// The build.
        build: Build,
    },
}

/// A step after the commit. None of them is needed for packets to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Waits until no packet is inside what ran before.
    Grace,
    /// Adds what a build that no longer runs has counted to its members' totals, each stamped
    /// with the build so that it is added once.
    FoldCounters {
        /// The build.
        build: Build,
        /// Its members by slot, 0 first: those that are still members.
        members: Vec<(Slot, MemberId)>,
    },
    /// Frees a build: its root, program array, counters, registry.
    RetireBuild {
        /// The build.
        build: Build,
    },
    /// Frees a registry that was written beside a live build's and never put in its place.
    RemoveDraft {
        /// The live build.
        build: Build,
    },
    /// Frees code that was replaced.
    RemoveCode {
        /// The member.
        member: MemberId,
        /// The code that it no longer runs.
        code: CodeId,
    },
    /// Frees a member: its program, its maps, its totals.
    RemoveMember {
        /// The member.
        member: MemberId,
    },
    /// Frees what is left of a chain without members.
    RemoveChain,
}

impl Plan {
    /// What is left to free of its prepare steps if its commit is never done, however far they got.
    pub fn undo(&self) -> Obsolete {
        let live = match self.commit {
            Commit::Registry { build } | Commit::Detach { build } => Some(build),
            Commit::Swap { from, .. } | Commit::Reattach { from, .. } => Some(from),
            Commit::Attach { .. } => None,
        };
        let mut steps: Vec<Cleanup> = self
            .prepare
            .iter()
            .map(|step| match step {
                // Code 1 is what a member is registered with; any other replaces code that runs.
                Prepare::PinCode { member, code, .. } if *code == CodeId(1) => {
                    Cleanup::RemoveMember { member: *member }
                }
                Prepare::PinCode { member, code, .. } => Cleanup::RemoveCode {
                    member: *member,
                    code: *code,
                },
                Prepare::WriteRegistry { build } if live == Some(*build) => {
                    Cleanup::RemoveDraft { build: *build }
                }
                Prepare::BuildRoot { build, .. }
                | Prepare::FillSlot { build, .. }
                | Prepare::WriteRegistry { build } => Cleanup::RetireBuild { build: *build },
            })
            .collect();
        if live.is_none() && !self.prepare.is_empty() {
            steps.push(Cleanup::RemoveChain);
        }
        Obsolete::of(&steps)
    }

    /// Whether it makes a chain where there was none.
    pub fn is_first(&self) -> bool {
        matches!(self.commit, Commit::Attach { .. })
    }

    /// The root that it builds; `None` if only metadata changes or the chain goes.
    pub fn root(&self) -> Option<&Root> {
        self.prepare.iter().find_map(|step| match step {
            Prepare::BuildRoot { root, .. } => Some(root),
            Prepare::PinCode { .. } | Prepare::FillSlot { .. } | Prepare::WriteRegistry { .. } => {
                None
            }
        })
    }

    /// The member that gets what the loader holds under this id.
    pub fn member_of(&self, load: LoadId) -> Option<MemberId> {
        self.prepare.iter().find_map(|step| match step {
            Prepare::PinCode {
                member, load: held, ..
            } => (*held == load).then_some(*member),
            Prepare::BuildRoot { .. }
            | Prepare::FillSlot { .. }
            | Prepare::WriteRegistry { .. } => None,
        })
    }
}
