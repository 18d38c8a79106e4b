//! Texts for people, as data: their words are the client's. Each of these travels as
//! [`Open`], so that a client of today passes over the news of a later daemon.

use dispatcher_abi::{Engine, FinalVerdict, Mode};
use serde::{Deserialize, Serialize};

use crate::{Open, Unreadable, Variants};

/// Something that the caller should know about what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A member got code that runs by tail call though the kernel has freplace.
    RunsByTailCall {
        /// The member.
        member: String,
        /// What rules out freplace.
        reason: Open<EngineReason>,
    },
    /// The driver has no native XDP, so that generic mode is used.
    NoNativeMode {
        /// The interface.
        interface: String,
        /// The kernel's own words.
        error: String,
    },
    /// Packets are too large for native mode with these members, so that generic mode is used.
    NoNativeFrags {
        /// The interface.
        interface: String,
        /// The members that don't take packets of several buffers.
        members: Vec<String>,
    },
    /// An object can't be kept: what would load its member again will be refused.
    ObjectNotKept {
        /// The system's own words.
        error: String,
    },
}

impl Variants for Note {
    const COUNT: u32 = 4;
}

/// Why a program can't take the place of a slot's function, and so runs by tail call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineReason {
    /// The kernel compares prototypes, and the object says nothing of types.
    NoTypes,
    /// The prototype is another than a slot's.
    Prototype,
    /// The kernel refused it as an extension, and not as an XDP program.
    Refused,
    /// An extension can read the kernel's memory, and the member's user may not.
    Untrusted,
    /// A later daemon found a reason that this one has no word for.
    Other,
}

impl Variants for EngineReason {
    const COUNT: u32 = 5;
}

/// Why an engine can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeReason {
    /// The daemon was told not to use it.
    TurnedOff,
    /// It was tried, and failed.
    Failed {
        /// How, with the kernel's own words.
        error: String,
    },
}

impl Variants for ProbeReason {
    const COUNT: u32 = 2;
}

/// A step of a plan, in the order of its execution. Everything before the commit is built aside,
/// where packets don't see it; the one commit is what they see; what follows only frees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Aside: pins a member's code.
    PinCode {
        /// The member.
        member: String,
        /// Its code: 1 is what it was registered with, each replacement adds one.
        code: u32,
        /// It is the code that the member has, loaded again with its maps.
        reloaded: bool,
    },
    /// Aside: builds a root.
    BuildRoot {
        /// The build.
        build: u64,
        /// The root program.
        root: String,
        /// Its occupied slots.
        slots: u16,
        /// What it returns when every slot chained on.
        final_verdict: FinalVerdict,
        /// Whether it counts.
        counters: bool,
        /// Whether it takes packets of several buffers.
        frags: bool,
    },
    /// Aside: puts a member into a slot.
    FillSlot {
        /// The slot.
        slot: u16,
        /// The member.
        member: String,
        /// How the slot calls it.
        engine: Engine,
    },
    /// Aside: writes the members down.
    WriteRegistry {
        /// The build that they are the members of.
        build: u64,
    },
    /// Commit: attaches the first build.
    Attach {
        /// The build.
        build: u64,
        /// The interface.
        interface: String,
        /// The hook of the driver, the stack or the card.
        mode: Mode,
    },
    /// Commit: swaps one build for another.
    Swap {
        /// The interface.
        interface: String,
        /// The build that runs.
        from: u64,
        /// The build that runs afterwards.
        to: u64,
    },
    /// Commit: detaches, and attaches in another mode. In between packets meet no program.
    Reattach {
        /// The interface.
        interface: String,
        /// The build that runs.
        from: u64,
        /// The build that runs afterwards.
        to: u64,
        /// Where the hook was.
        old_mode: Mode,
        /// Where it will be.
        mode: Mode,
    },
    /// Commit: takes the chain off its interface.
    Detach {
        /// The build that runs.
        build: u64,
        /// The interface.
        interface: String,
    },
    /// Commit: puts a new list of members in place; the build runs on.
    ReplaceRegistry {
        /// The build.
        build: u64,
        /// The interface.
        interface: String,
    },
    /// Afterwards: waits for packets that are still inside what ran before.
    Grace,
    /// Afterwards: adds a build's counts to its members' totals.
    FoldCounters {
        /// The build.
        build: u64,
        /// The members.
        members: Vec<String>,
    },
    /// Afterwards: frees a build.
    RetireBuild {
        /// The build.
        build: u64,
    },
    /// Afterwards: frees code that was replaced.
    RemoveCode {
        /// The member.
        member: String,
        /// The code.
        code: u32,
    },
    /// Afterwards: frees a member and its maps.
    RemoveMember {
        /// The member.
        member: String,
    },
    /// Afterwards: frees what is left of the chain.
    RemoveChain {
        /// The interface.
        interface: String,
    },
}

impl Variants for Step {
    const COUNT: u32 = 15;
}

/// Something that is wrong with the daemon or a chain, until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// A chain is not on its hook, which was empty at the last look.
    NotAttached {
        /// The chain.
        chain: u64,
        /// Its interface.
        interface: String,
    },
    /// A chain can't be read.
    ChainUnreadable {
        /// The chain, if its registry says so much.
        chain: Option<u64>,
        /// Its interface, or what its directory is called.
        interface: String,
        /// Its directory.
        pins: String,
        /// What is wrong with its pins.
        why: Open<Unreadable>,
    },
    /// The object of a member is lost: what would load the member again will be refused.
    ObjectMissing {
        /// The member's interface.
        interface: String,
        /// The member.
        member: String,
    },
    /// A chain is not on its hook, which runs somebody else's program.
    HookTaken {
        /// The chain.
        chain: u64,
        /// Its interface.
        interface: String,
        /// The kernel's id of the program.
        program_id: u32,
        /// Its name in the kernel.
        program: String,
    },
}

impl Variants for Warning {
    const COUNT: u32 = 4;
}
