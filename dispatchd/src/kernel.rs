//! What can be done to the kernel, in our words: plans' steps are carried out, nothing is chosen.

use std::io;

mod cleanup;
mod commit;
mod counters;
mod flush;
#[expect(unsafe_code, reason = "membarrier(2)")]
mod grace;
pub(crate) mod hook;
mod linux;
mod mend;
#[expect(unsafe_code, reason = "options and ioctls that no crate here has")]
pub(crate) mod netns;
mod observe;
mod open;
mod pinned;
mod pins;
mod prepare;
mod probe;
mod published;
#[expect(unsafe_code, reason = "ethtool by ioctl(2)")]
pub(crate) mod queues;
mod redirect;
mod registry;
mod remnants;
mod repin;
mod root;
mod totals;
#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
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
