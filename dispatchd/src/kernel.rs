//! What the executor can do to the kernel, in our words.

use std::io;

mod cleanup;
mod commit;
mod counters;
#[cfg(test)]
pub(crate) mod fake;
mod flush;
mod grace;
mod hook;
mod linux;
mod mend;
pub(crate) mod netns;
mod observe;
mod open;
mod pinned;
mod pins;
mod prepare;
mod probe;
mod published;
pub(crate) mod queues;
mod redirect;
mod registry;
mod remnants;
mod repin;
mod root;
mod totals;
pub(crate) mod xsk;

pub use linux::{Linux, Staged};
pub use open::OpenError;
pub use probe::{probe_frags, probe_freplace, probe_tailcall};
pub use published::{ChainCounters, MemberMap};
pub(crate) use redirect::{RedirectMaps, object as redirect_object};
pub(crate) use remnants::Remnants;
pub use repin::Repinned;
pub use root::Template;

use planner::{ChainDir, Cleanup, Mend, Observed, Plan, Prepare};

/// The kernel's side of plans: steps are carried out, nothing is chosen.
pub trait Kernel {
    /// Carries out one step that packets don't see.
    fn prepare(&mut self, plan: &Plan, step: &Prepare) -> Result<(), KernelError>;

    /// Carries out the plan's commit: after it, packets see the plan's build; or nothing
    /// changed and the error says why.
    fn commit(&mut self, plan: &Plan) -> Result<(), KernelError>;

    /// Carries out one step that frees what packets no longer see. Repeating it is harmless, and
    /// so is a step whose subject is gone.
    fn cleanup(&mut self, chain: ChainDir, step: &Cleanup) -> Result<(), KernelError>;

    /// Frees what a plan's prepare steps made, as far as they got.
    fn discard(&mut self, plan: &Plan);

    /// What is pinned and what really runs. Looking changes nothing.
    fn observe(&mut self) -> Result<Observed, KernelError>;

    /// Carries out one step that makes the pins of a chain that was found whole. Repeating it is
    /// harmless.
    fn mend(&mut self, chain: ChainDir, step: &Mend) -> Result<(), KernelError>;
}

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {subject}")]
pub struct KernelError {
    /// What was called, such as `BPF_LINK_UPDATE`.
    pub call: &'static str,
    /// What it was called on, such as `the XDP hook of eth0`.
    pub subject: String,
    /// What its errno means here.
    pub kind: KernelErrorKind,
    /// The errno.
    pub source: io::Error,
}

/// What an errno means for the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelErrorKind {
    /// The interface can't run XDP in this mode.
    Mode,
    /// The hook holds a program that isn't ours, or another one than expected.
    Busy,
    /// The interface or its namespace is gone, or somebody detached our link.
    Gone,
    /// Everything else.
    Failed,
}
