//! What can be done to the kernel, in our words: plans' steps are carried out, nothing is chosen.

use std::io;

mod cleanup;
mod commit;
mod counters;
mod flush;
mod grace;
pub(crate) mod hook;
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

pub use linux::{CommitError, Linux, Staged};
pub use mend::MendError;
pub use open::OpenError;
pub(crate) use pins::Pins;
pub use probe::{probe_frags, probe_freplace, probe_tailcall};
pub use published::{ChainCounters, ChainView, MemberMap};
pub(crate) use redirect::{RedirectMaps, object as redirect_object};
pub(crate) use remnants::Remnants;
pub use repin::Repinned;
pub use root::Template;

use planner::{Call, FailureKind};

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {subject}")]
pub struct KernelError {
    /// What was called.
    pub call: Call,
    /// What it was called on, such as `the XDP hook of eth0`.
    pub subject: String,
    /// What its errno means here.
    pub kind: FailureKind,
    /// The errno.
    pub source: io::Error,
}

impl KernelError {
    /// A thread that could not be started.
    pub(crate) fn thread(purpose: &str, source: io::Error) -> Self {
        Self {
            call: Call::Clone,
            subject: format!("a thread for {purpose}"),
            kind: FailureKind::Failed,
            source,
        }
    }
}
